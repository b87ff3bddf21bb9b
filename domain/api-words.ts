/** The `message` of the Status object that a Kubernetes API server sends with a refusal; '' where it has none. */
export function serverWords(body: unknown): string {
  try {
    const status: unknown = typeof body === 'string' ? JSON.parse(body) : body;
    return typeof status === 'object' && status !== null && 'message' in status ? String(status.message) : '';
  } catch {
    return String(body).slice(0, 200);
  }
}

/** The innermost message: client libraries wrap what the network said. */
export function innermost(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // A websocket client rejects with an event, which is no Error.
  if (inner !== null && typeof inner === 'object' && 'message' in inner) return String(inner.message);
  return String(inner);
}
