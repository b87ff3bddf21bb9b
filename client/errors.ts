/** Exit codes, stable for scripts. */
export const exit = {
  ok: 0,
  /** Loss was found, explained or not. */
  loss: 1,
  /** Wrong words on the command line, or a file that is wrong. */
  usage: 2,
  /** Something that undrop needs failed: a node, the server, a tool. */
  failed: 3,
  /** A change did not help or was refused; nothing of it is left. */
  unchanged: 4,
  interrupted: 130,
} as const;

/** An error whose message is all that the user needs. */
export class UserError extends Error {
  readonly code: number;
  constructor(message: string, code: number = exit.usage) {
    super(message);
    this.code = code;
  }
}

/** The innermost message of a workflow's failure: what happened on the node, not how it travelled. */
export function failureOf(error: unknown): UserError {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const name = inner instanceof Error ? inner.name : '';
  if (name === 'CancelledFailure') return new UserError('the run was cancelled', exit.interrupted);
  return new UserError(inner instanceof Error ? inner.message : String(inner), exit.failed);
}
