import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { stringify } from 'yaml';
import { type IncidentProgress, incidentId } from '../../domain/incident.ts';
import { openDatabase } from '../../gateway/database.ts';
import { Inbox } from '../../gateway/inbox.ts';
import { type Command, Commands } from './commands.ts';
import { freePort } from './port.ts';
import { Temporal } from './temporal.ts';

const token = 'a-secret-of-the-inbox-that-is-long-enough';
const headers = { 'content-type': 'application/cloudevents+json', authorization: `Bearer ${token}` };
/** Nobody listens there: diagnoses fail at once, and that is no matter here. */
const nowhere = { ssh: { host: '127.0.0.1', port: 1, user: 'nobody', knownHosts: '/dev/null' } };
const nodes = { a: { shell: nowhere, address: '127.0.0.1' }, b: { shell: nowhere, address: '127.0.0.1' } };

/** A Temporal server, a worker, and gateways as processes, over one database. */
export class Site {
  readonly folder = mkdtempSync(join(tmpdir(), 'undrop-t-inbox-'));
  readonly name: string;
  private readonly commands = new Commands();
  private readonly env: NodeJS.ProcessEnv;
  private readonly databaseUrl: string | undefined;
  private connection: Connection | undefined;
  private temporal_: Temporal | undefined;

  constructor(name: string, databaseUrl: string | undefined) {
    this.name = name;
    this.databaseUrl = databaseUrl;
    this.env = { UNDROP_DATA: this.folder, UNDROP_T_TOKEN: token, ...(databaseUrl && { DATABASE_URL: databaseUrl }) };
  }

  get temporal(): Temporal {
    if (!this.temporal_) throw new Error('the server is not there');
    return this.temporal_;
  }

  async open(): Promise<void> {
    this.temporal_ = new Temporal(this.folder, await freePort());
    await this.temporal.start();
    Object.assign(this.env, { TEMPORAL_ADDRESS: this.temporal.address });
    writeFileSync(join(this.folder, 'undrop.yaml'), stringify({ name: this.name, nodes }));
    const worker = this.commands.start(['worker', '-i', join(this.folder, 'undrop.yaml')], this.env);
    await worker.says('working on');
    this.connection = Connection.lazy({
      address: this.temporal.address,
      channelArgs: { 'grpc.max_reconnect_backoff_ms': 500 },
    });
  }

  async gateway(): Promise<Process> {
    const port = await freePort();
    const config = join(this.folder, `gateway-${port}.yaml`);
    const targets = { ends: 'inventory', allow: ['*'] };
    const auth = { scheme: 'bearer', secrets: [{ env: 'UNDROP_T_TOKEN' }] };
    writeFileSync(config, stringify({
      listen: { port }, incidents: { windowSeconds: 1, propose: false },
      sources: {
        events: { kind: 'cloudevents', auth, targets },
        alerts: { kind: 'alertmanager', auth, targets },
        few: { kind: 'alertmanager', auth, targets, perMinute: 2 },
      },
    })); // prettier-ignore
    const start = (): Command =>
      this.commands.start(['gateway', '-i', join(this.folder, 'undrop.yaml'), '-c', config, '--log-level', 'error'], this.env); // prettier-ignore
    const gateway = new Process(`http://127.0.0.1:${port}`, start);
    await gateway.start();
    return gateway;
  }

  /** What the incident knows of each problem whose name begins with a word. */
  async problems(word: string, target = 'a->b'): Promise<Record<string, string>> {
    if (!this.connection) throw new Error('not open');
    const { workflow } = new Client({ connection: this.connection });
    const progress = await workflow
      .getHandle(incidentId(this.name, target))
      .query<IncidentProgress>('progress')
      .catch(() => undefined);
    const found = progress?.problems.filter(({ problem }) => problem.startsWith(word)) ?? [];
    return Object.fromEntries(found.map(({ problem, status, times }) => [problem, `${status} ${times}x`]));
  }

  async close(): Promise<void> {
    await this.commands.end();
    await this.connection?.close();
    await this.temporal_?.kill();
    rmSync(this.folder, { recursive: true });
  }

  /** The inbox itself, where the database is a server that others may open too. */
  async inbox(): Promise<{ inbox: Inbox; close: () => Promise<void> }> {
    const database = await openDatabase(this.databaseUrl, this.folder);
    return { inbox: new Inbox(database), close: async () => database.close() };
  }
}

/** One gateway, which may be killed and started again. */
export class Process {
  readonly url: string;
  private readonly begin: () => Command;
  private command: Command | undefined;

  constructor(url: string, begin: () => Command) {
    this.url = url;
    this.begin = begin;
  }

  async start(): Promise<void> {
    this.command = this.begin();
    await this.command.says('listening');
  }

  async kill(): Promise<void> {
    this.command?.kill('SIGKILL');
    await this.command?.ended;
  }

  async send(
    { path, body }: { path: string; body: object },
    forged = false,
  ): Promise<{ status: number; retryAfter: string | null }> {
    const shown = forged ? { ...headers, authorization: 'Bearer forged' } : headers;
    const answer = await fetch(`${this.url}${path}`, { method: 'POST', headers: shown, body: JSON.stringify(body) });
    await answer.arrayBuffer();
    return { status: answer.status, retryAfter: answer.headers.get('retry-after') };
  }

  async ready(): Promise<boolean> {
    return (await fetch(`${this.url}/readyz`)).ok;
  }

  async waiting(): Promise<number> {
    return this.metric('undrop_inbox_waiting');
  }

  /** @param name of one metric, with its labels as the page writes them */
  async metric(name: string): Promise<number> {
    const lines = (await (await fetch(`${this.url}/metrics`)).text()).split('\n');
    return Number(lines.find((one) => one.startsWith(`${name} `))?.slice(name.length + 1));
  }
}
