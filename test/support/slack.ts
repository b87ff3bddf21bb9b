import { createHmac } from 'node:crypto';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';

/** Listens where Slack's Web API, or a program that is told by webhooks, would: it keeps what it is sent. */
export class Listener {
  readonly calls: { method: string; body: string; headers: Record<string, string | string[] | undefined> }[] = [];
  /** So long it takes for an answer. */
  slowMs = 0;
  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const method = (request.url ?? '').replace(/^\/api\//, '');
        this.calls.push({ method, body: Buffer.concat(chunks).toString(), headers: request.headers });
        response.setHeader('content-type', 'application/json');
        const ts = this.ts(this.calls.length - 1);
        const answer = JSON.stringify({ ok: true, ts, channel: 'C1', view: { id: 'V1' } });
        setTimeout(() => response.end(answer), this.slowMs);
      });
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/api/`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** What it named the message that a call made. */
  ts(at: number): string {
    return `17${at + 1}.1`;
  }

  /** What it was told by webhooks, each with a signature that is right. */
  told(secret: string): { type: string }[] {
    return this.calls
      .filter(({ method }) => method === 'hook')
      .map(
        ({ body, headers }) => new Webhook(secret).verify(body, headers as Record<string, string>) as { type: string },
      );
  }

  /** The newest call of a method whose body has a text, as fields. */
  last(method: string, having = ''): Record<string, string> | undefined {
    const call = this.calls.findLast((one) => one.method === method && decodeURIComponent(one.body).includes(having));
    return call && Object.fromEntries(new URLSearchParams(call.body));
  }
}

/** What Slack sends when somebody clicks or sends a form, signed as Slack signs. */
export function slackMessage(
  secret: string,
  payload: object,
  at = Date.now(),
): { body: string; headers: Record<string, string> } {
  const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
  const time = String(Math.floor(at / 1000));
  const signature = `v0=${createHmac('sha256', secret).update(`v0:${time}:${body}`).digest('hex')}`;
  return {
    body,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-slack-request-timestamp': time,
      'x-slack-signature': signature,
    },
  };
}
