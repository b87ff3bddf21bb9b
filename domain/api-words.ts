/** The `message` of the Status object that a Kubernetes API server sends with a refusal; '' where it has none. */
export function serverWords(body: unknown): string {
  try {
    const status: unknown = typeof body === 'string' ? JSON.parse(body) : body;
    return typeof status === 'object' && status !== null && 'message' in status ? String(status.message) : '';
  } catch {
    return String(body).slice(0, 200);
  }
}
