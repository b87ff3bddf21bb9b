import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { workflowBundle } from '../worker/worker.ts';
import { recorded, replayed } from './support/histories.ts';

// Replay starts workers that tell of every step of theirs.
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
});

test('histories of earlier runs replay against the workflows as they are: runs in progress survive an upgrade', async () => {
  const histories = recorded();
  const kinds = new Set(histories.map(({ workflowId }) => workflowId.split('/')[0]));
  const all = ['audit', 'change', 'diagnose', 'incident', 'permit', 'remediate', 'rollout', 'stopped', 'turns'];
  expect(kinds).toEqual(new Set(all));
  expect(await replayed(histories)).toEqual([]);
});

test('this test can fail: a workflow that calls other activities does not replay', async () => {
  const code = readFileSync(await workflowBundle(), 'utf8');
  const other = code
    .replaceAll('.begin(', '.judge(')
    .replaceAll('.arm(', '.confirm(')
    .replaceAll('.plan(input)', '.judge(input)');
  expect(other).not.toBe(code);
  const wrong = await replayed(recorded(), other);
  expect(wrong.filter((one) => one.includes('Nondeterminism')).length).toBeGreaterThan(2);
});
