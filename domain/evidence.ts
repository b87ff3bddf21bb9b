import type { ClusterView, Plane } from './cluster.ts';
import { type ProbeResult, addProbes } from './probe-result.ts';
import type { Rule, Sample } from './sample.ts';
import type { Path } from './target.ts';

/** Samples of all places of the path at one time; `failed` says why a place has none. */
export interface Edge {
  /** Milliseconds since the epoch on the worker's clock: only for the length of windows. */
  at: number;
  samples: Record<string, Sample>;
  failed: Record<string, string>;
  /** In a cluster, in the first edge: what the API says of the target, and kube-proxy on the nodes of the path. */
  cluster?: ClusterView;
  planes?: Record<string, Plane>;
}

/** What happened between two edges. Without a probe it is the control window: nothing of ours was sent. */
export interface Window {
  step: string;
  before: Edge;
  after: Edge;
  probe?: ProbeResult;
  /** Set for a chip of a coded probe: several windows then belong to one step. */
  chip?: number;
}

/** Everything that a run saw; judging it needs nothing else. */
export interface Evidence {
  path: Path;
  windows: Window[];
}

export interface Delta {
  counters: Record<string, number>;
  devices: Record<string, number>;
  /** Packets per rule id. */
  rules: Record<string, number>;
  /** Drops per socket inode. */
  sockets: Record<string, number>;
  /** What was made anew in between and counts from zero: what it counted before that is unknown. */
  remade?: { devices: string[]; rules: Rule[] };
  /** Parts of either sample that could not be read or were cut: what is not in `devices`, `rules` or `sockets` may be there. */
  unread?: Pick<Sample, 'missing' | 'cut'>;
}

/**
 * What changed between two samples of one place, or why the pair is void: another boot, another network namespace, a
 * clock that stood still, or a counter that went down. A void pair proves nothing, least of all health.
 */
export function deltaOf(before: Sample, after: Sample): Delta | { void: string } {
  // Every cause asks for it again at every place; samples never change.
  const known = deltas.get(after)?.get(before);
  if (known) return known;
  const made = deltaMade(before, after);
  deltas.set(after, (deltas.get(after) ?? new WeakMap<Sample, Delta | { void: string }>()).set(before, made));
  return made;
}

const deltas = new WeakMap<Sample, WeakMap<Sample, Delta | { void: string }>>();

function deltaMade(before: Sample, after: Sample): Delta | { void: string } {
  if (before.bootId !== after.bootId) return { void: 'the node was booted between the two samples' };
  if (before.netns !== after.netns) return { void: 'the samples are of two different network namespaces' };
  if (!(after.uptime > before.uptime)) return { void: 'the samples are in the wrong order, or are one and the same' };
  const counters: Record<string, number> = {};
  for (const [name, value] of Object.entries(after.counters)) {
    const old = before.counters[name];
    if (old === undefined) continue;
    if (value < old) return { void: `${name} went down from ${old} to ${value}: it was reset in between` };
    counters[name] = value - old;
  }
  // A device, rule or socket that was made anew starts at zero; only what is in both samples is compared.
  const grown = (a: Record<string, number>, b: Record<string, number>): Record<string, number> =>
    Object.fromEntries(
      Object.entries(b).flatMap(([name, value]) => {
        const old = a[name];
        return old !== undefined && value >= old ? [[name, value - old]] : [];
      }),
    );
  const rules = (sample: Sample): Record<string, number> =>
    Object.fromEntries(sample.rules.flatMap((rule) => (rule.packets === null ? [] : [[rule.id, rule.packets]])));
  const sockets = (sample: Sample): Record<string, number> =>
    Object.fromEntries(sample.sockets.map((socket) => [String(socket.inode), socket.drops]));
  return {
    counters,
    devices: grown(before.devices, after.devices),
    rules: grown(rules(before), rules(after)),
    sockets: grown(sockets(before), sockets(after)),
    ...remadeIn(before, after),
    ...unreadIn(before, after),
  };
}

function unreadIn(before: Sample, after: Sample): Pick<Delta, 'unread'> {
  const missing = { ...before.missing, ...after.missing };
  const cut = [...new Set([...before.cut, ...after.cut])];
  return Object.keys(missing).length + cut.length > 0 ? { unread: { missing, cut } } : {};
}

/** Devices and rules whose counter went down, and rules that are gone: a table that is written anew loses its counts. */
function remadeIn(before: Sample, after: Sample): Pick<Delta, 'remade'> {
  const devices = Object.entries(after.devices).flatMap(([name, value]) =>
    value < (before.devices[name] ?? 0) ? [name] : [],
  );
  // Rules of a list that was not read to its end are not gone.
  const whole = ruleParts.every((part) => !(part in after.missing) || part in before.missing) && !rulesCut(after);
  const now = new Map(after.rules.map((rule) => [rule.id, rule.packets]));
  const rules = before.rules.filter(({ id, packets }) =>
    now.has(id) ? (now.get(id) ?? 0) < (packets ?? 0) : whole && packets !== null,
  );
  return devices.length + rules.length > 0 ? { remade: { devices, rules } } : {};
}

/** The parts of a sample that rules come from. */
export const ruleParts = ['iptables', 'legacy', 'nft'];
const rulesCut = ({ cut }: Sample): boolean => cut.some((part) => ruleParts.includes(part));

/** The window without probes that shows what moves anyway. */
export const controlOf = (evidence: Evidence): Window | undefined =>
  // Where users' traffic is watched there is no quiet: what moves without it cannot be known.
  isPassive(evidence) ? undefined : evidence.windows.find((window) => !window.probe);

/** The step in which nothing is sent, and the window before it, in which the captures are opened. */
export const passiveStep = 'passive';
export const openingStep = 'opening';

/** Whether nothing of undrop's was sent and the traffic that is there was watched instead. */
export const isPassive = ({ windows }: Evidence): boolean =>
  windows.some(({ step }) => step === passiveStep || step === openingStep);

/** The whole time in which traffic was watched, of the parts of which each is a window: for what is judged at once. */
export function watchedWindow({ windows }: Evidence): Window | undefined {
  const parts = windows.filter(({ step, probe }) => step === passiveStep && probe);
  const [first, last] = [parts[0], parts.at(-1)];
  if (!first || !last) return undefined;
  return {
    step: passiveStep,
    before: first.before,
    after: last.after,
    probe: addProbes(parts.flatMap(({ probe }) => probe ?? [])),
  };
}

/** The first full sample of a place: devices, routes and features, which light samples leave out. */
export function fullSample(evidence: Evidence, place: string): Sample | undefined {
  return evidence.windows[0]?.before.samples[place];
}

/**
 * What moved at a place in a window beyond what the control window moved in the same time. Empty where either is void.
 */
export function beyondControl(evidence: Evidence, window: Window, place: string): Delta {
  const control = controlOf(evidence);
  const known = beyond.get(window)?.get(place);
  if (known && known.control === control) return known.delta;
  const delta = beyondMade(window, control, place);
  beyond.set(window, (beyond.get(window) ?? new Map<string, Beyond>()).set(place, { control, delta }));
  return delta;
}

interface Beyond {
  control: Window | undefined;
  delta: Delta;
}
const beyond = new WeakMap<Window, Map<string, Beyond>>();

function beyondMade(window: Window, control: Window | undefined, place: string): Delta {
  const nothing: Delta = { counters: {}, devices: {}, rules: {}, sockets: {} };
  const of = (one: Window | undefined): Delta | undefined => {
    const [before, after] = [one?.before.samples[place], one?.after.samples[place]];
    const delta = before && after ? deltaOf(before, after) : undefined;
    return delta && !('void' in delta) ? delta : undefined;
  };
  const [moved, quiet] = [of(window), of(control)];
  if (!moved || !quiet || !control) return moved ?? nothing;
  const scale = lengthOf(window) / lengthOf(control);
  const less = (a: Record<string, number>, b: Record<string, number>): Record<string, number> =>
    Object.fromEntries(Object.entries(a).map(([name, count]) => [name, Math.max(0, count - (b[name] ?? 0) * scale)]));
  return {
    counters: less(moved.counters, quiet.counters),
    devices: less(moved.devices, quiet.devices),
    rules: less(moved.rules, quiet.rules),
    sockets: less(moved.sockets, quiet.sockets),
  };
}

/** In milliseconds, never 0. */
export const lengthOf = (window: Window): number => Math.max(1, window.after.at - window.before.at);
