import type { Command, Outcome, Running, Shell } from '../shell.ts';
import type { Agent } from './agents.ts';
import type { Cluster } from './cluster.ts';
import { ApiError } from './errors.ts';
import { ExecSession } from './session.ts';

/** A node that could not be reached is not tried again for this time: places and probers of a run ask one after another. */
const restMs = 10_000;
/** How long a node may take to open a session: beyond this it is named as unreachable. */
const openMs = 8_000;

/** Runs commands on a node by one kept session with the agent there; it is made at first use and again after it was lost. */
export class KubernetesShell implements Shell {
  private readonly cluster: () => Promise<Cluster>;
  private readonly node: string;
  private readonly agent: Agent;
  private readonly making: boolean;
  private session: Promise<ExecSession> | undefined;
  private failed: { at: number; error: unknown } | undefined;

  /**
   * @param cluster asked for at first use: the client library takes long to load
   * @param making whether an agent may be made where the node has none
   */
  constructor(cluster: () => Promise<Cluster>, node: string, agent: Agent, making = true) {
    this.cluster = cluster;
    this.node = node;
    this.agent = agent;
    this.making = making;
  }

  async start(command: Command, onStdout?: (text: string) => void): Promise<Running> {
    try {
      return (await this.opened()).start(command, onStdout);
    } catch (error) {
      return over({ kind: 'failed', why: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Whether a command would find an open session, so that it reaches even a node that accepts no new one. */
  async warm(): Promise<void> {
    await this.opened();
  }

  close(): void {
    const open = this.session;
    this.session = undefined;
    void open?.then(
      (session) => session.close(),
      () => {},
    );
  }

  private async opened(): Promise<ExecSession> {
    const seen = this.session;
    const known = seen && (await seen.catch(() => undefined));
    if (known && known.ended === undefined) return known;
    if (this.failed && performance.now() - this.failed.at < restMs) throw this.failed.error;
    // Several commands at once share the making of one.
    if (this.session === undefined || this.session === seen) this.session = this.open();
    const mine = this.session;
    try {
      return await mine;
    } catch (error) {
      if (this.session === mine) this.session = undefined;
      this.failed = { at: performance.now(), error };
      throw error;
    }
  }

  private async open(): Promise<ExecSession> {
    const cluster = await this.cluster();
    const container = await cluster.agents.on(this.node, this.agent, this.making);
    try {
      return await ExecSession.open(cluster.config, container, openMs);
    } catch (error) {
      const silent = error instanceof ApiError && error.status !== 401 && error.status !== 403;
      const more = silent ? await cluster.saysOf(this.node) : '';
      throw new ApiError([error instanceof Error ? error.message : String(error), more].filter(Boolean).join('; '));
    }
  }
}

const over = (outcome: Outcome): Running => ({
  write: () => {},
  end: () => {},
  kill: () => {},
  done: Promise.resolve(outcome),
});
