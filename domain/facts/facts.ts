import { type Evidence, type Window, beyondControl, fullSample } from '../evidence.ts';
import type { ProbeResult } from '../probe-result.ts';
import type { Sample } from '../sample.ts';
import { type Place, receiverOf } from '../target.ts';
import { flowFacts } from './flows.ts';
import { type Focus, focusOf, movedFacts } from './moved.ts';
import { affinityFacts, affinityToTest } from './affinity.ts';
import { hostPortFacts } from './host-port.ts';
import { directFacts, planeFacts, serviceFacts, translatesFirst } from './service.ts';
import { sizeFacts } from './sizes.ts';
import { probedFlow, staleFacts } from './stale.ts';
import { Unseen } from './unread.ts';
import { type Way, deltaAt, ofFamily, pathFacts, wayFacts, waysOf } from './way.ts';

/** The names that expressions may use, for the check at load time; `factsAt` gives each of them a value. */
export const factNames = [
  'delta', 'extra', 'before', 'after', 'place', 'probe', 'probes', 'step', 'senderExtra', 'toward', 'dropRule', 'invalidRule',
  'fragmentRule', 'rules', 'qdisc', 'link', 'socket', 'sizes', 'offload', 'masquerade', 'stale', 'neighbour', 'route',
  'path', 'checksums', 'software', 'softwareIn', 'service', 'plane', 'direct', 'affinity', 'hostPort', 'flows',
] as const; // prettier-ignore

export type Facts = Record<(typeof factNames)[number], unknown>;

/** How facts look at a place: which way, and at which of its rules and devices. */
export interface Look {
  way?: Way;
  focus?: Focus;
}

/**
 * Derives the named facts of one place in one window. What could not be read is absent or throws Unseen when asked for: an
 * expression that needs it ends as `untested`, never as zero.
 * @throws Unseen when the place was not sampled at both edges, or the pair is void
 */
export function factsAt(evidence: Evidence, window: Window, place: Place, { way, focus }: Look = {}): Facts {
  const { path } = evidence;
  const delta = deltaAt(evidence, window, place.name);
  const after = window.after.samples[place.name];
  const full = fullSample(evidence, place.name);
  if (!after || !full) throw new Unseen(`${place.name} was not sampled`);
  const sender = path.places.find(({ role }) => role === 'sender');
  return {
    delta: delta.counters,
    /** What moved beyond what the control window moved in the same time: for conditions, not for counting. */
    extra: ofFamily(path, beyondControl(evidence, window, place.name).counters),
    senderExtra: sender ? ofFamily(path, beyondControl(evidence, window, sender.name).counters) : {},
    before: ofFamily(path, window.before.samples[place.name]?.gauges ?? {}),
    after: ofFamily(path, after.gauges),
    place: {
      name: place.name,
      role: place.role,
      root: after.root,
      first: translatesFirst(evidence, place),
      asked: asked(evidence, window, place),
      probed: place.name === receiverOf(path)?.name,
    },
    step: window.step,
    probe: probeFacts(window.probe),
    probes: Object.fromEntries(probesByStep(evidence).map(([step, probe]) => [step, probeFacts(probe)])),
    ...movedFacts(after, delta, focus ?? focusOf(evidence, window, place), full.links),
    ...wayFacts(evidence, window, place, full, after, way ?? waysOf(place)[0] ?? 'out'),
    sizes: sizeFacts(evidence),
    masquerade: masqueradeFacts(full),
    stale: staleFacts(evidence, window, place),
    hostPort: hostPortFacts(evidence, window, place, probedFlow(evidence)),
    path: pathFacts(evidence, window),
    service: serviceFacts(evidence, place),
    plane: planeFacts(evidence, place),
    direct: directFacts(evidence),
    affinity: affinityFacts(evidence),
    flows: flowFacts(evidence, window),
  };
}

/** Whether the application of a place gets datagrams of a step: through the Service any endpoint does, otherwise the probed one. */
function asked({ path }: Evidence, { step }: Window, place: Place): boolean {
  return step === 'service' || step === 'nodeport' || place.name === receiverOf(path)?.name;
}

/** The facts that decide whether a step is worth its time, before and between probes. */
export function situationOf(evidence: Evidence): Record<string, unknown> {
  const { path } = evidence;
  const samples = path.places.flatMap((place) => fullSample(evidence, place.name) ?? []);
  return {
    peer: path.peer !== undefined,
    service: path.service !== undefined,
    probed: path.service?.probe === 'echo' || path.service?.probe === 'dns',
    sink: path.service?.probe === 'sink',
    affinity: affinityToTest(evidence),
    plainMasquerade: samples.some((sample) => masqueradeFacts(sample).plain),
    staleFlow: probedFlow(evidence) !== undefined,
    nodePort: path.service?.frontends?.some(({ kind }) => kind === 'node') === true,
    hostPort: path.hostPorts?.some(({ probe }) => probe === 'echo') === true,
    senderIsNode: path.places[0]?.address === path.places[0]?.nodeAddress,
  };
}
export const situationNames = [
  'peer',
  'service',
  'probed',
  'sink',
  'affinity',
  'plainMasquerade',
  'staleFlow',
  'nodePort',
  'hostPort',
  'senderIsNode',
] as const;

/** One result per step; chips of a coded step are windows of their own. */
function probesByStep(evidence: Evidence): [string, ProbeResult][] {
  return evidence.windows.flatMap((window) =>
    window.probe && window.chip === undefined ? [[window.step, window.probe]] : [],
  );
}

const nothingSent = {
  sent: 0, lost: 0, requestLost: 0, replyLost: 0, answered: 0, tooBig: 0, damaged: 0, ownDrops: 0, strange: 0,
}; // prettier-ignore

function probeFacts(probe: ProbeResult | undefined): Record<string, unknown> {
  if (!probe) return { ...nothingSent, oneWay: false, refused: 0, ...firstsFacts(probe) };
  const { bySize: _, firsts: __, watched: ___, refused, ...numbers } = probe;
  return { ...numbers, refused: Object.values(refused).reduce((a, b) => a + b, 0), ...firstsFacts(probe) };
}

/** How the first datagrams of their source ports fared, and those that followed them: only a silent probe tells. */
function firstsFacts(probe: ProbeResult | undefined): object {
  const { sent, arrived } = probe?.firsts ?? { sent: 0, arrived: 0 };
  const firsts = { sent, lost: sent - arrived };
  const later = probe?.firsts
    ? { sent: probe.sent - sent, lost: Math.max(0, probe.requestLost - firsts.lost) }
    : { sent: 0, lost: 0 };
  const some = firsts.sent >= 3 && later.sent >= 3;
  return { firsts, later, onlyFirst: some && firsts.lost <= 0.1 * firsts.sent && later.lost >= 0.9 * later.sent };
}

function masqueradeFacts(sample: Sample): { plain: boolean; text: string } {
  const rules = sample.rules.filter((rule) => rule.verdict === 'masquerade' || rule.verdict === 'snat');
  const plain = rules.find((rule) => !rule.random);
  return { plain: plain !== undefined, text: (plain ?? rules[0])?.text ?? '' };
}
