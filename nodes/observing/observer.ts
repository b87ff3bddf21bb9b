import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterView } from '../../domain/cluster.ts';
import type { Edge, Evidence } from '../../domain/evidence.ts';
import { type ProbeResult, addProbes } from '../../domain/probe-result.ts';
import type { Probe } from '../../domain/probe.ts';
import type { Step } from '../../domain/runbook.ts';
import type { Path } from '../../domain/target.ts';
import type { ShellPool } from '../shells/pool.ts';
import { Edges } from './edges.ts';
import { Places } from './places.ts';
import { Sending, answerMs } from './sending.ts';

/** What a step adds to the evidence. */
export interface Part {
  step: string;
  after: Edge;
  probe?: ProbeResult;
  chip?: number;
}

/** Sees one path: samples its places and sends probes over it. Keeps its probers open from step to step. */
export class Observer {
  private readonly path: Path;
  private readonly edges: Edges;
  private readonly sending: Sending;

  /** @param run 16 hex digits that mark this run's datagrams */
  constructor(shells: Pick<ShellPool, 'of'>, path: Path, run: string) {
    const places = new Places(shells);
    this.path = path;
    this.edges = new Edges(places, path);
    this.sending = new Sending(places, path, run);
  }

  /** Samples all places at the same time. A place that cannot be read is named, and holds up no other. */
  async edge(mode: 'full' | 'light', signal?: AbortSignal): Promise<Edge> {
    return this.edges.take(mode, signal);
  }

  /** The first edge of a run. @param cluster what the API says of the target; then kube-proxy on the nodes is asked too */
  async begin(cluster?: ClusterView, signal?: AbortSignal): Promise<Edge> {
    const edge = await this.edge('full', signal);
    return cluster ? { ...edge, cluster, planes: await this.edges.planes() } : edge;
  }

  /** The sample after a step. A flow to a Service with session affinity binds its client, so whom to is read again. */
  private async after({ probe }: Step, { windows }: Evidence, signal?: AbortSignal): Promise<Edge> {
    const edge = await this.edge('light', signal);
    if (probe.route !== 'service' || windows[0]?.before.cluster?.service?.affinity !== 'ClientIP') return edge;
    return { ...edge, planes: await this.edges.planes(this.path.places[0]?.node) };
  }

  /** The control window: nothing is sent, so that what moves anyway is known. */
  async control(windowMs: number, signal?: AbortSignal): Promise<Part> {
    await sleep(windowMs, undefined, signal ? { signal } : {});
    return { step: 'control', after: await this.edge('light', signal) };
  }

  /**
   * After a step that failed, or was begun by another attempt: what it sent unseen must not be in the next step's window.
   * Keep it as a part like any other. Probers that may still be sending end.
   */
  async between(signal?: AbortSignal): Promise<Part> {
    this.close();
    return { step: 'between', after: await this.edge('light', signal) };
  }

  /**
   * Takes one step: sends its probe and samples afterwards. A coded step gives one part per chip.
   * @throws Error when a probe cannot be sent at all, naming the place and what is missing there
   */
  async take(step: Step, evidence: Evidence, signal?: AbortSignal): Promise<Part[]> {
    const { probe } = step;
    if (probe.chips === undefined) {
      const result = await this.sending.send(probe, evidence, signal);
      return [{ step: step.id, probe: result, after: await this.after(step, evidence, signal) }];
    }
    const parts: Part[] = [];
    for (const [chip, on] of balancedCode(probe.chips).entries()) {
      const length = (probe.count * 1000) / Math.max(1, probe.rate) + answerMs;
      const started = Date.now();
      const result = on ? await this.sending.send(probe, evidence, signal) : addProbes([]);
      // Every chip is equally long, so that background traffic moves a counter equally in each.
      await sleep(Math.max(0, length - (Date.now() - started)), undefined, signal ? { signal } : {});
      parts.push({ step: step.id, chip, probe: result, after: await this.edge('light', signal) });
    }
    return parts;
  }

  /** Sends a probe without looking at any place: to choose a path by. @throws Error when it cannot be sent */
  async quick(probe: Probe, signal?: AbortSignal): Promise<ProbeResult> {
    return this.sending.send(probe, { path: this.path, windows: [] }, signal);
  }

  /** Ends its probers; the next step begins new ones. */
  close(): void {
    this.sending.close();
  }
}

/** Half of the chips on, in random order: no rhythm of other traffic can match it by chance. */
function balancedCode(chips: number): boolean[] {
  const code = Array.from({ length: chips }, (_, index) => index % 2 === 0);
  for (let index = chips - 1; index > 0; index--) {
    const other = Math.floor(Math.random() * (index + 1));
    [code[index], code[other]] = [code[other] ?? true, code[index] ?? true];
  }
  return code;
}
