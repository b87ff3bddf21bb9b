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
