import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { auditScript } from '../nodes/sampling/audit.ts';

export const sshPort = 2222;
/** Takes connections and says nothing. */
export const hangingPort = 2223;
/** Every packet to it is dropped. */
export const blackPort = 2224;

/**
 * Runs this program again inside network, mount and process namespaces of its own, where every loopback address is a
 * target and root's login shell is /bin/sh with an empty home: the same for all rivals, and nothing of the machine's.
 * @returns whether this is already the inner one
 */
export function insideNamespaces(folder: string): boolean {
  if (process.env['UNDROP_BENCH_INSIDE']) return true;
  const setUp = [
    'ip link set lo up',
    `sed 's#^root:.*#root:x:0:0:root:${folder}/home:/bin/sh#' /etc/passwd >${folder}/passwd`,
    `grep -q ^sshd: ${folder}/passwd || echo 'sshd:x:65533:65533::/run/sshd:/usr/sbin/nologin' >>${folder}/passwd`,
    `mount --bind ${folder}/passwd /etc/passwd`,
    'mkdir -p /run/sshd',
    `iptables -A INPUT -p tcp --dport ${blackPort} -j DROP`,
    'exec "$@"',
  ];
  mkdirSync(join(folder, 'home'), { recursive: true });
  const words = ['-n', '-m', '-p', '-f', '--kill-child', '--mount-proc', 'sh', '-ec', setUp.join('\n'), 'sh'];
  const env = { ...process.env, UNDROP_BENCH_INSIDE: '1', HOME: join(folder, 'home') };
  const { status } = spawnSync('unshare', [...words, process.execPath, ...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit', env }); // prettier-ignore
  process.exitCode = status ?? 1;
  return false;
}

export const addressOf = (index: number): string => `127.0.${1 + Math.floor(index / 250)}.${1 + (index % 250)}`;

/** One sshd that stands for all targets, its keys, and files for those who connect. */
export async function startTargets(folder: string, most: number): Promise<void> {
  for (const name of ['host', 'id'])
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)]);
  const config = { Port: sshPort, ListenAddress: '0.0.0.0', HostKey: join(folder, 'host'), UsePAM: 'no', UseDNS: 'no', StrictModes: 'no', AuthorizedKeysFile: join(folder, 'id.pub'), PasswordAuthentication: 'no', PermitRootLogin: 'yes', PidFile: 'none', LogLevel: 'ERROR', MaxStartups: 2000, MaxSessions: 100 }; // prettier-ignore
  writeFileSync(join(folder, 'sshd_config'), Object.entries(config).map((pair) => `${pair.join(' ')}\n`).join('')); // prettier-ignore
  const key = readFileSync(join(folder, 'host.pub'), 'utf8');
  const ports = [sshPort, hangingPort, blackPort];
  const known = Array.from({ length: most }, (_, index) => ports.map((port) => `[${addressOf(index)}]:${port}`).join(',')); // prettier-ignore
  writeFileSync(join(folder, 'known_hosts'), known.map((names) => `${names} ${key}`).join(''));
  writeFileSync(join(folder, 'audit.sh'), auditScript);
  const client = { Port: sshPort, User: 'root', IdentityFile: join(folder, 'id'), UserKnownHostsFile: join(folder, 'known_hosts'), IdentitiesOnly: 'yes', BatchMode: 'yes', LogLevel: 'ERROR' }; // prettier-ignore
  const lines = Object.entries(client).map((pair) => `${pair.join(' ')}\n`).join(''); // prettier-ignore
  writeFileSync(join(folder, 'ssh_config'), lines);
  writeFileSync(join(folder, 'ssh_config_kept'), `${lines}ControlMaster auto\nControlPersist 120\nControlPath ${folder}/cm-%C\n`); // prettier-ignore
  spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(folder, 'sshd_config')], { stdio: ['ignore', 'ignore', 'inherit'] });
  createServer(() => {})
    .listen(hangingPort, '0.0.0.0')
    .unref();
  while (spawnSync('ssh', ['-F', join(folder, 'ssh_config'), addressOf(0), 'true']).status !== 0) await sleep(50);
}

/** An inventory of the first targets; of a hundred, five are black holes and two hang where `faulty`. */
export function writeInventory(folder: string, name: string, count: number, faulty = false): string {
  const port = (index: number): number => {
    if (!faulty) return sshPort;
    return index % 20 === 7 ? blackPort : index % 50 === 11 ? hangingPort : sshPort;
  };
  const ssh = (index: number) => ({ host: addressOf(index), port: port(index), user: 'root', identity: join(folder, 'id'), knownHosts: join(folder, 'known_hosts') }); // prettier-ignore
  const nodes = Object.fromEntries(Array.from({ length: count }, (_, index) => [`t${index}`, { address: addressOf(index), shell: { ssh: ssh(index) } }])); // prettier-ignore
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, JSON.stringify({ name, nodes, audit: { deadlineSeconds: 60 } }));
  return file;
}
