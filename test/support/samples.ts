import type { ReportAnswer, SendAnswer } from '../../domain/probe-result.ts';
import type { Sample } from '../../domain/sample.ts';

/** A sample in which nothing was there to be read. */
export const emptySample = (): Sample => ({
  bootId: 'boot',
  netns: '4026531840',
  uptime: 100,
  kernel: '6.1.0',
  root: true,
  tools: [],
  counters: {},
  gauges: {},
  devices: {},
  rules: [],
  sockets: [],
  links: [],
  features: {},
  neighbours: [],
  routes: {},
  entries: [],
  log: [],
  missing: {},
  cut: [],
});

/** What a sender says, and what a listener does; all else of it is none. */
export const sent = (one: Partial<SendAnswer>): SendAnswer => ({
  sent: {},
  refused: {},
  answered: {},
  strange: 0,
  ownDrops: 0,
  firsts: 0,
  ...one, // prettier-ignore
});
export const heard = (one: Partial<ReportAnswer>): ReportAnswer => ({
  arrived: {},
  firsts: 0,
  damaged: 0,
  ownDrops: 0,
  ...one,
});
