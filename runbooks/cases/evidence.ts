import type { ClusterView, Plane } from '../../domain/cluster.ts';
import { type Edge, type Evidence, passiveStep } from '../../domain/evidence.ts';
import { type ProbeResult, type SizeResult, addProbes } from '../../domain/probe-result.ts';
import { type Watched, noneWatched } from '../../domain/watched.ts';
import type { Methodology } from '../../domain/runbook.ts';
import { Entry, Sample } from '../../domain/sample.ts';
import { evidenceOf } from '../../domain/steps.ts';
import type { Path } from '../../domain/target.ts';
import type { Case, ClusterForm, Delta, PlaceForm, ProbeForm, WindowForm } from './form.ts';
import {
  healthyCluster,
  healthyEntry,
  healthyHostPort,
  healthyNodes,
  healthyPath,
  healthyPlane,
  healthySample,
} from './healthy.ts';

/** The evidence of a run that saw this case: the healthy path with what the case says of it. */
export function evidenceFor(one: Case, methodology: Methodology): Evidence {
  const { cluster, path } = targetOf(one);
  const deltas = [one.control, ...one.windows].map(({ delta }) => delta);
  for (const name of [one.samples, ...deltas].flatMap((places) => Object.keys(places)))
    if (!path.places.some((place) => place.name === name)) throw new Error(`${name} is not on this path`);
  let samples = Object.fromEntries(
    path.places.map((place) => {
      const moving = deltas.flatMap((delta) => Object.keys(delta[place.name] ?? {}));
      return [place.name, changed(healthySample(place), one.samples[place.name], moving)];
    }),
  );
  const first: Edge = {
    at: 0,
    samples,
    failed: {},
    ...(cluster && { cluster, planes: planesOf(one.planes, cluster) }),
  };
  let at = 0;
  const edge = ({ seconds, delta, failed, now }: Omit<WindowForm, 'step' | 'probe'>, chip = 0): Edge => {
    at += seconds * 1000;
    samples = Object.fromEntries(
      Object.entries(samples).map(([name, sample]) => [
        name,
        { ...grown(name, sample, seconds, delta[name] ?? {}, chip), ...given(now[name]) },
      ]),
    );
    const seen = Object.entries(samples).filter(([name]) => !(name in failed));
    return { at, samples: Object.fromEntries(seen.map(([name, sample]) => [name, light(sample)])), failed };
  };
  const control = { step: 'control', after: edge({ ...one.control, failed: {}, now: {} }) };
  const taken = one.windows.flatMap(({ step, probe, ...seen }) => {
    const { route, silent } = methodology.steps.find(({ id }) => id === step)?.probe ?? {};
    const watched = step === passiveStep;
    const oneWay = watched || route === 'path' || route === 'reverse' || silent === true;
    const chips = Array.isArray(probe.lost) ? probe.lost.map((_, chip) => chip) : [undefined];
    return chips.map((chip) => ({
      step,
      after: edge(seen, chip),
      probe: { ...probeOf(probe, oneWay, chip), ...(watched && { watched: watchedOf(probe, chip) }) },
      ...(chip !== undefined && { chip }),
    }));
  });
  return evidenceOf({ path, first, parts: [control, ...taken] });
}

/** The path, and where it is in a cluster what the API says; both have the same endpoints. */
function targetOf({ cluster: form, planes, endpoints, service: named, hostPorts }: Case): {
  path: Path;
  cluster?: ClusterView;
} {
  const { service, places, ...rest } = healthyPath;
  const cluster = form && clusterOf(form, endpoints === 'none');
  const serving = cluster?.service?.endpoints.filter((one) => one.serving) ?? (endpoints ? [] : service.endpoints);
  if (endpoints && serving.length > 0) throw new Error('it has no endpoints, and one that serves');
  if (!cluster && hostPorts.length > 0) throw new Error('it is in no cluster, and has host ports');
  if (!cluster && Object.keys(planes).length > 0) throw new Error('it is in no cluster, and kube-proxy is');
  return {
    path: {
      ...rest,
      places: endpoints ? places.slice(0, 2) : places,
      ...(named !== 'none' && {
        service: {
          ...service,
          ...(named && { probe: named }),
          endpoints: serving.map(({ address, port }) => ({ address, port })),
        },
      }),
      ...(cluster && { hostPorts: hostPorts.map((one) => ({ ...healthyHostPort, ...given(one) })) }),
    },
    ...(cluster && { cluster }),
  };
}

function clusterOf({ service, dataPlane, cores, ...rest }: ClusterForm, empty: boolean): ClusterView {
  const { dataPlane: plane, cores: sizes, ...healthy } = healthyCluster;
  const { config: changed, ...kind } = dataPlane;
  const config = changed === 'none' ? undefined : plane.config && { ...plane.config, ...given(changed) };
  return {
    ...healthy,
    ...rest,
    service: { ...healthy.service, ...(empty && { endpoints: [] }), ...given(service) },
    dataPlane: { kind: plane.kind, says: plane.says, ...given(kind), ...(config && { config }) },
    ...(cores !== 'none' && { cores: { ...sizes, ...given(cores) } }),
  };
}

function planesOf(forms: Case['planes'], { service }: ClusterView): Record<string, Plane> {
  const programmed = service?.endpoints.length ? healthyPlane.programmed : {};
  return Object.fromEntries(
    healthyNodes.flatMap((node): [string, Plane][] => {
      const form = forms[node] ?? {};
      if (form === 'none') return [];
      const { without = [], process, ...rest } = form;
      const plane = { ...healthyPlane, programmed, ...given(rest), ...(process && { process }) };
      const unread = [...without, ...(process === 'none' ? ['process'] : [])];
      return [[node, Object.fromEntries(Object.entries(plane).filter(([key]) => !unread.includes(key))) as never]];
    }),
  );
}

/** What a form says, without what it leaves out. */
const given = <T extends object>(form: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(form ?? {}).filter(([, value]) => value !== undefined)) as never;

const unreadParts: Record<string, object> = { features: {}, routes: {}, neighbours: [], entries: [] };

function changed(sample: Sample, form: Partial<PlaceForm> | undefined, moving: string[]): Sample {
  const { without = [], gauges, features, routes, missing, entries, ...lists } = form ?? {};
  // A device is compared only where both samples have it.
  const devices = moving.filter((name) => name.includes('.')).map((name) => [name, 0]);
  return {
    ...sample,
    ...given(lists),
    ...(entries && { entries: entries.map((entry) => Entry.parse({ ...healthyEntry, ...entry })) }),
    counters: Object.fromEntries(Object.entries(sample.counters).filter(([name]) => !without.includes(name))),
    devices: { ...Object.fromEntries(devices), ...sample.devices },
    gauges: { ...sample.gauges, ...gauges },
    features: { ...sample.features, ...features },
    routes: { ...sample.routes, ...Sample.shape.routes.parse(routes ?? {}) },
    missing: { ...sample.missing, ...missing },
    // What could not be read is not there either.
    ...Object.fromEntries(
      Object.keys(missing ?? {}).flatMap((part) => (part in unreadParts ? [[part, unreadParts[part]]] : [])),
    ),
  };
}

/** The sample after a window in which the delta took place. */
function grown(place: string, old: Sample, seconds: number, delta: Delta, chip: number): Sample {
  const sample = JSON.parse(JSON.stringify({ ...old, uptime: old.uptime + seconds })) as Sample;
  for (const [name, moved] of Object.entries(delta)) {
    const by = ofChip(moved, chip);
    const [kind, id] = name.split(/ (.*)/);
    const rule = sample.rules.find((each) => kind === 'rule' && each.id === id);
    const socket = sample.sockets.find((each) => kind === 'socket' && each.port === Number(id));
    const record = name in sample.counters ? sample.counters : sample.devices;
    if (rule) rule.packets = (rule.packets ?? 0) + by;
    else if (socket) socket.drops += by;
    else if (record[name] !== undefined) record[name] += by;
    else throw new Error(`${place} has no ${name} that could move`);
  }
  return sample;
}

/** Only the first sample of a run is a full one; of the neighbours the others have those that do not answer. */
const light = (sample: Sample): Sample => ({
  ...sample,
  links: [],
  features: {},
  neighbours: sample.neighbours.filter(({ state }) => /FAILED|INCOMPLETE/.test(state)),
  routes: {},
  entries: [],
  log: [],
});

const ofChip = (value: number | number[], chip: number): number => (Array.isArray(value) ? (value[chip] ?? 0) : value);

/** All of it as requests, on the flows that the case names. */
function watchedOf({ sent, flows }: ProbeForm, chip = 0): Watched {
  const ends = { source: healthyEntry.source, destinationPort: healthyEntry.destinationPort };
  return { ...noneWatched, requests: ofChip(sent, chip), flows: flows.map((flow) => ({ ...ends, ...flow })) };
}

function probeOf(form: ProbeForm, oneWay: boolean, chip = 0): ProbeResult {
  const sent = ofChip(form.sent, chip);
  const lost = form.lost;
  const bySize = typeof lost === 'object' && !Array.isArray(lost) ? lost : { [form.size]: ofChip(lost, chip) };
  const sizes = Object.entries(bySize).map(([size, count]): SizeResult => {
    const answered = sent - count - form.ownDrops;
    return { size: Number(size), sent, tooBig: 0, answered, arrived: answered + form.replyLost, lost: count };
  });
  const all = sizes.reduce((sum, one) => sum + one.lost, 0);
  return {
    ...addProbes([]),
    sent: sent * sizes.length,
    answered: sizes.reduce((sum, one) => sum + one.answered, 0),
    lost: all,
    requestLost: all - form.replyLost,
    replyLost: form.replyLost,
    strange: form.strange,
    oneWay,
    ownDrops: form.ownDrops,
    ...(form.firsts && { firsts: { sent: form.firsts.sent, arrived: form.firsts.sent - form.firsts.lost } }),
    bySize: sizes,
  };
}
