import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { knownHost } from '../nodes/shells/known-hosts.ts';

const key = Buffer.from('one key');
const other = Buffer.from('another key');
const line = (names: string, of = key, type = 'ssh-ed25519', marker = '') =>
  `${marker}${names} ${type} ${of.toString('base64')} comment\n`;

/** As `ssh-keygen -H` writes it: the real tool hashes the names. */
function hashed(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'undrop-t-'));
  const file = join(folder, 'known_hosts');
  try {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
    const real = readFileSync(join(folder, 'key.pub'), 'utf8').split(' ')[1] ?? '';
    writeFileSync(file, text.replaceAll(key.toString('base64'), real));
    execFileSync('ssh-keygen', ['-q', '-H', '-f', file], { stdio: 'pipe' });
    return readFileSync(file, 'utf8').replaceAll(real, key.toString('base64'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the known hosts', () => {
  test.each([
    ['a plain name', line('node-1'), 'node-1', 22, true],
    ['one of several names', line('10.0.0.1,node-1'), 'node-1', 22, true],
    [
      'after comments, blanks and CRLF',
      `# node-1 old\n\n  ${line('node-1').replace('\n', '\r\n')}`,
      'node-1',
      22,
      true,
    ],
    ['a name with its port', line('[node-1]:2222'), 'node-1', 2222, true],
    ['a name without the port', line('node-1'), 'node-1', 2222, false],
    ['another port', line('[node-1]:2222'), 'node-1', 2223, false],
    ['a longer name', line('node-10'), 'node-1', 22, false],
    ['a pattern', line('node-*'), 'node-1', 22, false],
    ['a commented line', line('node-1', key, 'ssh-ed25519', '#'), 'node-1', 22, false],
    ['an authority', line('node-1', key, 'ssh-ed25519', '@cert-authority '), 'node-1', 22, false],
    ['a line cut short', 'node-1 ssh-ed25519', 'node-1', 22, false],
    ['an empty file', '', 'node-1', 22, false],
  ])('%s', (_, text, host, port, trusted) => {
    const known = knownHost(text, host, port);
    expect(known.types).toEqual(trusted ? ['ssh-ed25519'] : []);
    expect(known.matches(key)).toBe(trusted);
    expect(known.matches(other)).toBe(false);
  });

  test('names hashed by the real ssh-keygen are found, with and without a port', () => {
    const text = hashed(line('node-1') + line('[node-2]:2222'));
    expect(text).not.toContain('node-');
    expect(text.match(/^\|1\|/gm)).toHaveLength(2);
    expect(knownHost(text, 'node-1', 22).matches(key)).toBe(true);
    expect(knownHost(text, 'node-2', 2222).matches(key)).toBe(true);
    expect(knownHost(text, 'node-2', 22).types).toEqual([]);
    expect(knownHost(text, 'node-3', 22).types).toEqual([]);
  });

  test.each([
    ['by name', 'node-1'],
    ['for every host, as a stolen key is', '*'],
  ])('a key revoked %s is refused, also where another line trusts it', (_, names) => {
    const known = knownHost(
      line('node-1') + line('node-1', other) + line(names, key, 'ssh-ed25519', '@revoked '),
      'node-1',
      22,
    );
    expect([known.matches(key), known.matches(other)]).toEqual([false, true]);
  });

  test('several types are all offered', () => {
    const text = line('node-1') + line('node-1', other, 'ssh-rsa') + line('node-1', Buffer.from('third'), 'ssh-rsa');
    expect(knownHost(text, 'node-1', 22).types).toEqual(['ssh-ed25519', 'ssh-rsa']);
  });
});
