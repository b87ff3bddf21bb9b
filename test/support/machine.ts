import { describe } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, statSync } from 'node:fs';

/** Runs a program of this machine and returns what it prints. @throws Error with its stderr */
export const sh = (program: string, ...words: string[]): string =>
  execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** The same from a line of words without spaces in them. */
export const line = (text: string): string => {
  const [program = '', ...words] = text.split(/\s+/);
  return sh(program, ...words);
};

const has = (program: string): boolean =>
  [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(`${folder}/${program}`),
  );

/** A `describe` that says what it lacks where it cannot run: a kernel's namespaces need root and their tools. */
export function real(...programs: string[]): (title: string, tests: () => void) => void {
  const lacking = programs.filter((program) => !has(program));
  if (process.getuid?.() !== 0) lacking.push('root');
  return (title, tests) => {
    if (lacking.length === 0) describe(title, tests);
    else describe.skip(`${title} (needs ${lacking.join(', ')})`, tests);
  };
}

/** Network namespaces of one test file, named after this process; `remove` ends what still runs in them and what the guard keeps for them. */
export class Namespaces {
  readonly names: string[] = [];

  add(suffix = ''): string {
    const name = `undrop-t-${process.pid}${suffix}`;
    sh('ip', 'netns', 'add', name);
    this.names.push(name);
    sh('ip', '-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  remove(): void {
    for (const name of this.names.splice(0)) {
      for (const pid of sh('ip', 'netns', 'pids', name).split('\n').filter(Boolean)) {
        try {
          process.kill(Number(pid), 'SIGKILL');
        } catch {
          // it ended by itself
        }
      }
      const { ino } = statSync(`/run/netns/${name}`);
      for (const kept of ['lock', 'owner']) rmSync(`/run/undrop/${kept}-${ino}`, { force: true });
      sh('ip', 'netns', 'del', name);
    }
  }
}

/** Runs a line of words inside a namespace. */
export const inside = (netns: string, text: string): string =>
  sh('nsenter', `--net=/run/netns/${netns}`, ...text.split(/\s+/));
