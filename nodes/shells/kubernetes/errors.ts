/** The API server did not do what was asked; the message says why and what to do. */
export class ApiError extends Error {
  /** HTTP status; 0: no answer. */
  readonly status: number;
  constructor(message: string, status = 0) {
    super(message);
    this.status = status;
  }
}

/** Nothing can be changed on this node: remediation is switched off, or its pod does not run. */
export class NoChanger extends ApiError {}
