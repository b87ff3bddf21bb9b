export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  testMatch: ['**/test/**/*.test.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'nodenext' } },
    ],
  },
  // Labs share one kernel and two cores: a second test file at the same time would disturb the first one's counters.
  maxWorkers: 1,
  testTimeout: 60_000,
  reporters: ['default', './test/reporter.js'],
};
