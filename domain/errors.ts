/** The innermost message: what happened, and not how clients, activities and child workflows passed it on. */
export function innermost(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // A websocket client rejects with an event, which is no Error.
  if (inner !== null && typeof inner === 'object' && 'message' in inner) return String(inner.message);
  return String(inner);
}

/** What went wrong, in the words of the activity or child that failed and not of the engine around it. */
export function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}

const named = (name: string) => (error: unknown): boolean => error instanceof Error && error.name === name; // prettier-ignore
/** A workflow id is taken: by their ids workflows are locks, and start once. */
export const isTaken = named('WorkflowExecutionAlreadyStartedError');
/** Temporal knows no such workflow, or it has ended. */
export const isGone = named('WorkflowNotFoundError');
/** It has ended otherwise than with a result: failed, cancelled, terminated or timed out. */
export const isEnded = named('WorkflowFailedError');
