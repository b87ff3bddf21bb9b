/** The API server did not do what was asked; the message says why and what to do. */
export class ApiError extends Error {
  /** HTTP status; 0: no answer. */
  readonly status: number;
  constructor(message: string, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The innermost message: the client wraps what the network said. */
export function textOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // The websocket client rejects with an event, which is no Error.
  if (inner !== null && typeof inner === 'object' && 'message' in inner) return String(inner.message);
  return String(inner);
}
