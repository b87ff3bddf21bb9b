import { randomBytes } from 'node:crypto';
import type { NodeFile } from '../../domain/proposal.ts';
import type { nodeFiles } from '../../domain/runbook.ts';
import { type Shell, run } from '../shells/shell.ts';

const deadlineMs = 5_000;
const mostBytes = 65_536;

/** In the order in which they win: of networks the first file counts, of settings the last one that has the key. */
const patterns: Record<(typeof nodeFiles)[number], string[]> = {
  cni: ['/etc/cni/net.d/*.conflist', '/etc/cni/net.d/*.conf'],
  sysctl: ['/etc/sysctl.conf', '/etc/sysctl.d/*.conf', '/run/sysctl.d/*.conf', '/usr/lib/sysctl.d/*.conf'],
};

// An agent sees the node's files only through the node's first process.
const script = `r=/proc/1/root; [ -r $r/etc ] || r=; n=$1; shift
for p; do for f in $r$p; do [ -f "$f" ] && [ -r "$f" ] || continue
printf '%s %s\\n' "$n" "\${f#$r}"; head -c ${mostBytes} "$f"; printf '\\n'; done; done; printf '%s\\n' "$n"`;

/**
 * Reads the node's own files of one kind, those that win first. None where there are none or they may not be read.
 * @throws Error when the node does not answer
 */
export async function readFiles(shell: Shell, node: string, kind: (typeof nodeFiles)[number]): Promise<NodeFile[]> {
  const nonce = randomBytes(8).toString('hex');
  const argv = ['sh', '-c', script, 'sh', nonce, ...patterns[kind]];
  const outcome = await run(shell, { argv, deadlineMs });
  if (outcome.kind !== 'exited') throw new Error(`${node}: ${outcome.why}`);
  // What follows the last mark is nothing; each file got a line's end of its own.
  const parts = outcome.stdout.split(`${nonce} `).slice(1);
  const files = parts.map((part): NodeFile => {
    const end = part.indexOf('\n');
    return { path: part.slice(0, end), text: part.slice(end + 1).replace(new RegExp(`\\n(${nonce}\\n)?$`), '') };
  });
  // Half a file is no text to propose a change of.
  return files.filter(({ text }) => Buffer.byteLength(text) < mostBytes);
}
