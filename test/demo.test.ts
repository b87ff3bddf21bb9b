import { afterAll, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './support/imports.ts';
import { real } from './support/machine.ts';
import { processesWith } from './support/until.ts';

const data = mkdtempSync(join(tmpdir(), 'undrop-t-demo-'));
afterAll(() => rmSync(data, { recursive: true }));

real(
  'ip',
  'ethtool',
  'iptables',
  'nft',
)('the demo', () => {
  const run = (...words: string[]) =>
    spawnSync(join(root, 'undrop'), ['demo', ...words], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', UNDROP_DATA: data, NO_COLOR: '1' },
    });

  test('goes the whole way twice, and leaves nothing behind', () => {
    const { status, stdout, stderr } = run('--yes');
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('OFFLOAD-CSUM-TX at h1');
    expect(stdout).toMatch(/Ruled out \(\d+\)/);
    expect(stdout).toMatch(/tx-checksum-ip-generic on -> off/);
    expect(stdout).toMatch(/with it went: .*tx-tcp-segmentation off/);
    expect(stdout).toMatch(/^confirmed\s+h1: cured: /m);
    expect(stdout).toMatch(/^reverted\s+h1: not cured: /m);
    expect(stdout).toContain('ethtool -k of h1 before and after: identical');
    const reports = [...stdout.matchAll(/report\s+(\S+\.md)/g)].map(([, path = '']) => path);
    expect(reports).toHaveLength(4);
    for (const path of reports) expect(readFileSync(path, 'utf8')).toMatch(/^# /);
    expect(readdirSync('/run/netns').filter((name) => name.startsWith('undrop-h'))).toEqual([]);
    expect(existsSync('/run/undrop-lab/undrop')).toBe(false);
    expect(processesWith('lab/netns/wire.py')).toEqual([]);
  }, 180_000);

  test('without a terminal and without --yes changes nothing, says so, and leaves nothing behind', () => {
    const { status, stderr } = run('--round', '1');
    expect(status).toBe(2);
    expect(stderr).toContain('there is no terminal to ask at; give --yes');
    expect(readdirSync('/run/netns').filter((name) => name.startsWith('undrop-h'))).toEqual([]);
  }, 120_000);
});
