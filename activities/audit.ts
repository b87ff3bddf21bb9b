import { Context } from '@temporalio/activity';
import { z } from 'zod';
import { type AuditBatch, type AuditInput, type AuditNode, type AuditPlan, type NodeValues, batchSizeOf, cancelledFirst } from '../domain/audit.ts'; // prettier-ignore
import { Profile, profileOf } from '../domain/audit-profile.ts';
import { fits } from '../domain/globs.ts';
import { readNode } from '../nodes/sampling/audit.ts';
import { readProxy } from '../nodes/sampling/plane.ts';
import { Pace, Places, within } from './audit-pace.ts';
import { Batches } from './audit-batches.ts';
import { nodesOf } from './cluster-nodes.ts';
import { type Reported, newestAudit, reportOf } from './audit-report.ts';
import { type Deps, beating, hopeless, unlessStopped } from './deps.ts';
import { configured } from './resolve.ts';

/** Nodes that are begun at once: enough to be bound by them and not by us, few enough that none of them waits for our processor. */
const places = 50;
const beatMs = 500;
/** What was read is kept so often: a crash costs little more than this, and most batches end before. */
const keepMs = 1_000;
/** So much earlier a shell gives up by itself: it knows better what the node did not do. */
const tellMs = 200;

/** What a batch has so far: a second attempt goes on from here. */
interface Kept {
  values: Record<string, NodeValues>;
  failed: Record<string, string>;
}

export function auditActivities(deps: Deps) {
  const { inventory, shells, store } = deps;
  const crowd = new Places(places);
  const pace = new Pace(inventory.audit.perSecond);
  const atHand = new Batches(store);

  const read = async (name: string, deadlineMs: number, signal: AbortSignal): Promise<NodeValues> => {
    const shell = shells.of(name);
    const limits = { deadlineMs, signal };
    if (!inventory.kubernetes) return readNode(shell, limits);
    // Over one session at the same time, so that it is one round trip as well.
    const [values, plane] = await Promise.all([
      readNode(shell, limits),
      readProxy(shell, name, limits).catch((error: unknown) => textOf(error)),
    ]);
    return typeof plane === 'string' ? { ...values, missing: { ...values.missing, plane } } : { ...values, plane };
  };

  return {
    /** The nodes of an audit, how they are to be read, and the audit that they are compared with. */
    async auditNodes(input: Pick<AuditInput, 'only' | 'deadlineMs' | 'profile'>): Promise<AuditPlan> {
      return beating(async () => {
        await unlessStopped(deps);
        const profiles = profilesOf(deps, input.profile);
        const only = input.only ?? ['*'];
        const all = inventory.kubernetes
          ? await clusterNodes(deps)
          : Object.keys(inventory.nodes).map((name) => ({ name, group: '' }));
        const nodes = all
          .filter(({ name }) => only.some((glob) => fits(glob, name)))
          .map(({ name, group }): AuditNode => ({ name, group: profileOf(profiles, name)?.group ?? group }));
        if (nodes.length === 0) throw hopeless(`no node of ${inventory.name} matches ${only.join(', ')}`, 'NoNodes');
        const { deadlineSeconds, perSecond } = inventory.audit;
        const previous = await store.pointed(newestAudit(inventory.name));
        return {
          at: Date.now(),
          nodes,
          deadlineMs: Math.min(Math.max(input.deadlineMs ?? deadlineSeconds * 1000, 500), 60_000),
          batch: batchSizeOf(nodes.length),
          ...(perSecond !== undefined && { perSecond }),
          ...(previous !== undefined && { previous }),
        };
      });
    },

    /**
     * Reads the nodes of a batch, all at once, each within its deadline. A second attempt reads only what is left; when it
     * is cancelled it gives what it has.
     */
    async auditBatch(names: string[], deadlineMs: number): Promise<AuditBatch> {
      const context = Context.current();
      const signal = context.cancellationSignal;
      let checkpoint = digestIn(context.info.heartbeatDetails);
      const known = checkpoint === undefined ? undefined : await store.get<Kept>(checkpoint).catch(() => undefined);
      const kept: Kept = known ?? { values: {}, failed: {} };
      const count = (): number => Object.keys(kept.values).length + Object.keys(kept.failed).length;
      let saved = count();
      const save = async (): Promise<void> => {
        if (count() === saved) return;
        saved = count();
        checkpoint = await store.put(kept);
        context.heartbeat(checkpoint);
      };
      const beat = setInterval(() => context.heartbeat(checkpoint), beatMs);
      const keep = setInterval(() => void save().catch(() => {}), keepMs); // without, a second attempt only does more
      const one = async (name: string): Promise<void> => {
        if (Object.hasOwn(kept.values, name) || Object.hasOwn(kept.failed, name)) return;
        await pace.turn(signal);
        await crowd.use(async () => {
          signal.throwIfAborted();
          try {
            kept.values[name] = await within(deadlineMs, signal, (both) => read(name, deadlineMs - tellMs, both));
            return true;
          } catch (error) {
            signal.throwIfAborted();
            kept.failed[name] = textOf(error).replaceAll(/\s+/g, ' ').slice(0, 300);
            return false;
          }
        });
      };
      try {
        const ends = await Promise.allSettled(names.map(one));
        const broken = ends.find((end) => end.status === 'rejected');
        // A cancelled audit still tells what it has read; a worker that shuts down leaves the rest to another one.
        if (broken && !context.cancellationDetails?.cancelRequested) throw broken.reason;
        for (const name of names) if (!Object.hasOwn(kept.values, name)) kept.failed[name] ??= cancelledFirst;
        const failed = Object.entries(kept.failed).map(([node, why]) => ({ node, why }));
        const digest = await store.put(kept.values);
        atHand.keep(digest, kept.values);
        return { values: digest, done: names.length, failed };
      } finally {
        clearInterval(beat);
        clearInterval(keep);
      }
    },

    /** Judges all nodes against the previous audit, their profile and their peers; writes the reports. */
    async auditReport(id: string, input: AuditInput, plan: AuditPlan, batches: AuditBatch[]): Promise<Reported> {
      const profiles = profilesOf(deps, input.profile);
      return beating(() =>
        reportOf(deps, { id, input, plan, batches, profiles, read: (digest) => atHand.get(digest) }),
      );
    },
  };
}

/** What whoever started the audit says of the nodes, else the inventory. Whoever can start workflows can send anything. */
function profilesOf({ inventory }: Deps, given: unknown): Profile[] {
  if (given === undefined || given === null) return inventory.audit.profile;
  const parsed = z.array(Profile).safeParse(given);
  if (!parsed.success) throw hopeless(`that is no profile: ${parsed.error.issues[0]?.message ?? ''}`, 'Refused');
  return parsed.data;
}

const digestIn = (details: unknown): string | undefined =>
  typeof details === 'string' && /^[0-9a-f]{64}$/.test(details) ? details : undefined;

/** Labels by which nodes of one kind are told from others, on clouds and elsewhere. */
const kinds = [
  'eks.amazonaws.com/nodegroup',
  'cloud.google.com/gke-nodepool',
  'kubernetes.azure.com/agentpool',
  'karpenter.sh/nodepool',
  'node.kubernetes.io/instance-type',
];

async function clusterNodes({ shells }: Deps): Promise<AuditNode[]> {
  return (await nodesOf(await configured(shells))).map(({ metadata, status }) => {
    const labels = metadata?.labels ?? {};
    const control = 'node-role.kubernetes.io/control-plane' in labels ? ['control-plane'] : [];
    const size = `${status?.capacity?.['cpu'] ?? '?'} processors`;
    const group = [...control, ...kinds.flatMap((label) => labels[label] ?? []), size].join(', ');
    return { name: metadata?.name ?? '', group };
  });
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
