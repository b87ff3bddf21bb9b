import { describe, expect, test } from '@jest/globals';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { conclude } from '../domain/conclude.ts';
import { evidenceFor } from '../runbooks/cases/evidence.ts';
import { Case } from '../runbooks/cases/form.ts';
import { loadRunbook, udpLoss } from '../runbooks/load.ts';
import { coverage, loadCases, runCases } from '../runbooks/test.ts';

const runbook = loadRunbook();
const cases = loadCases(runbook);
const results = new Map(cases.map((one) => [one, runCases(runbook, [one])] as const));

describe('the judgement of the runbook', () => {
  test.each(cases.map((one) => [`${one.cause} at ${one.at}: ${one.name}`, one] as const))('%s', (_, one) => {
    expect(results.get(one)?.map(({ wrong, says }) => [...wrong, ...(wrong.length ? [says] : [])])).toEqual([[]]);
  });

  test('every cause is proved, refuted and decided by each of its conditions in some case', () => {
    const gaps = coverage(runbook, [...results.values()].flat()).filter(
      ({ proved, refuted, undecided }) => !proved || !refuted || undecided.length > 0,
    );
    expect(gaps).toEqual([]);
  });

  test('a case can fail: without its counter the same evidence proves nothing', () => {
    const one = cases.find(({ cause, expect: wanted }) => cause === 'CT-FULL' && wanted === 'proved');
    if (!one) throw new Error('there is no such case');
    const still = { ...one, windows: one.windows.map((window) => ({ ...window, delta: {} })) };
    expect(runCases(runbook, [still])[0]).toMatchObject({ ok: false, got: 'refuted' });
  });
});

describe('a case that says what cannot be', () => {
  const one = { name: 'x', at: 'shop', expect: 'proved', windows: [{ step: 'small', probe: { sent: 1, lost: 1 } }] };
  const made = (more: object) => () => evidenceFor(Case.parse({ ...one, ...more }), runbook.methodology);
  test.each([
    ['kube-proxy outside a cluster', { planes: { 'worker-a': { mode: 'ipvs' } } }, 'it is in no cluster, and kube-proxy is'],
    ['no endpoints, and one that serves', { endpoints: 'none', cluster: { service: { endpoints: [{}] } } }, 'it has no endpoints, and one that serves'],
    ['a place that is not on its path', { endpoints: 'none', samples: { 'dns-1': { sockets: [] } } }, 'dns-1 is not on this path'],
    ['a node that is none', { cluster: {}, planes: { 'worker-c': {} } }, 'worker-c'],
    ['a fact of a Service that is none', { cluster: { service: { serving: 0 } } }, 'serving'],
  ])('%s', (_, more, why) => {
    expect(made(more)).toThrow(why);
  }); // prettier-ignore

  test('and what can be is what it says', () => {
    const endpoints = [{}, { address: '10.60.2.54', serving: false }];
    const { path, windows } = made({ cluster: { service: { endpoints } }, planes: { gateway: 'none', 'worker-b': { process: 'none' } } })(); // prettier-ignore
    expect(path.service?.endpoints).toEqual([{ address: '10.60.2.53', port: 53 }]);
    const { cluster, planes } = windows[0]!.before;
    expect(cluster?.service?.endpoints).toHaveLength(2);
    expect(Object.keys(planes ?? {})).toEqual(['worker-a', 'worker-b']);
    expect(planes?.['worker-b']).not.toHaveProperty('process');
    const none = made({ endpoints: 'none', cluster: {} })();
    expect(none.path.places.map(({ role }) => role)).toEqual(['sender', 'hop']);
    expect(none.windows[0]!.before).toMatchObject({ cluster: { service: { endpoints: [] } } });
    expect(made({})().windows[0]!.before).not.toHaveProperty('cluster');
  });
});

describe('a runbook that people broke', () => {
  /** Loads a copy of the runbook with one file changed, and returns the complaint. */
  function complaint(file: string, change: (text: string) => string): string {
    const folder = mkdtempSync(join(tmpdir(), 'undrop-t-runbook-'));
    try {
      cpSync(udpLoss, folder, { recursive: true });
      const path = join(folder, file);
      const text = readFileSync(path, 'utf8');
      const changed = change(text);
      expect(changed).not.toBe(text);
      writeFileSync(path, changed);
      loadRunbook(folder);
      return 'no complaint';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  const full = 'causes/conntrack/ct-full.yaml';

  test.each([
    ['a misspelt counter', full, (s: string) => s.replace('counts: delta.conntrack_drop', 'counts: delta.conntrack_dorp'), /ct-full\.yaml:8 counts: .*conntrack_dorp: there is no such counter/],
    ['an expression that is none', full, (s: string) => s.replace('counts: delta.conntrack_drop', 'counts: delta.conntrack_drop >'), /ct-full\.yaml:8 counts: /],
    ['an unknown fact', full, (s: string) => s.replace('counts: delta.conntrack_drop', 'counts: detla.x'), /ct-full\.yaml:8 counts: .*detla/],
    ['a field that does not exist', full, (s: string) => `${s}remedy: x\n`, /ct-full\.yaml:\d+ .*remedy/],
    ['a family that does not exist', full, (s: string) => s.replace('family: conntrack', 'family: conntrak'), /ct-full\.yaml:2 family: /],
    ['a remedy that does not exist', full, (s: string) => s.replace('[raise-conntrack-max, ', '[raise-it, '), /cause CT-FULL: there is no remedy raise-it/],
    ['YAML that is none', full, (s: string) => s.replace('at: [sender', 'at: [[sender'), /ct-full\.yaml:\d+ /],
    ['a sentence that names nothing', full, (s: string) => s.replace('{after.nf_conntrack_count} of', '{after.nf_conntrack_counts} of'), /ct-full\.yaml:\d+ .*nf_conntrack_counts/],
    ['two causes of one id', 'causes/conntrack/ct-hash.yaml', (s: string) => s.replace('id: CT-HASH', 'id: CT-FULL'), /two causes have the same id/],
    ['a step that does not exist', 'causes/nic/udp-csum.yaml', (s: string) => s.replace('[checksum, ', '[chksum, '), /cause UDP-CSUM: there is no step chksum/],
  ])('%s is one clear error that names file and field', (_, file, change, why) => {
    expect(complaint(file, change)).toMatch(why);
  }); // prettier-ignore
});

test('the same evidence and runbook give the same conclusion', () => {
  const again = loadRunbook();
  expect(again.digest).toBe(runbook.digest);
  const kept = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
  for (const one of cases) {
    const evidence = evidenceFor(one, runbook.methodology);
    const copy = kept(evidence);
    const first = conclude(runbook, evidence);
    expect(conclude(again, copy)).toEqual(first);
    expect(kept(first)).toEqual(first);
    // And judging changes nothing that it was given.
    expect(evidence).toEqual(copy);
  }
});
