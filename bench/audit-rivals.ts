import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../worker/paths.ts';
import { addressOf, sshPort } from './audit-targets.ts';

/** Pinned, as all others of this benchmark. */
const packages = ['ansible-core==2.18.6', 'asyncssh==2.21.0', 'clustershell==1.9.3'];
const tools = (): string => join(cacheFolder(), 'bench-rivals');
/** Beyond this a rival is given up, and its time is a lower bound. */
const mostMs = 120_000;

/** Puts the rivals below the cache folder, with what is installed shown: nothing of the machine changes. */
export function installRivals(): void {
  const folder = tools();
  if (existsSync(join(folder, 'done'))) return;
  mkdirSync(folder, { recursive: true });
  process.stdout.write(`rivals into ${folder}: ${packages.join(', ')}, Debian's pssh\n`);
  const steps = [
    `python3 -m venv ${folder}/venv`,
    `${folder}/venv/bin/pip install --progress-bar off -q ${packages.join(' ')}`,
    `cd ${folder} && apt-get download -q pssh python3-psshlib && for deb in *.deb; do dpkg -x "$deb" pssh; done`,
  ];
  for (const step of steps) {
    const { status } = spawnSync('sh', ['-c', step], { stdio: 'inherit' });
    if (status !== 0) throw new Error(`it failed: ${step}`);
  }
  writeFileSync(join(folder, 'done'), '');
}

const kept = `
import asyncio, json, sys, time
import asyncssh

async def main():
    folder, hosts, most = sys.argv[1], sys.argv[2].split(), int(sys.argv[3])
    places, open_ = asyncio.Semaphore(most), {}
    async def one(host):
        async with places:
            if host not in open_:
                open_[host] = await asyncssh.connect(host, ${sshPort}, username='root', client_keys=[folder + '/id'], known_hosts=folder + '/known_hosts')
            done = await open_[host].run('sh %s/audit.sh nonce' % folder)
            assert done.stdout.rstrip().endswith('#nonce done'), done.stderr
    times = []
    for _ in range(4):
        started = time.time()
        await asyncio.gather(*map(one, hosts))
        times.append(time.time() - started)
    print(json.dumps({'cold': times[0], 'warm': sorted(times[1:])[1]}))

asyncio.run(main())
`;

/** The same checks as tasks, as such runbooks are usually written. */
const tasks = [
  `stat -c '%Y %N' /proc/self/ns/net; cat /proc/uptime /proc/net/route`,
  'cat /proc/net/snmp /proc/net/netstat /proc/net/snmp6',
  'cat /proc/net/sockstat /proc/net/softnet_stat',
  'cat /proc/net/stat/nf_conntrack /proc/net/stat/arp_cache 2>/dev/null; true',
  'cd /proc/sys && grep -sH "" kernel/osrelease net/core/rmem_max net/netfilter/nf_conntrack_max net/netfilter/nf_conntrack_count net/ipv4/ipfrag_high_thresh; true',
  'ip -o -d link show',
  'ethtool -k lo',
];

export interface Rival {
  name: string;
  /** Seconds; `given up` where it took longer than the bench waits. */
  seconds: number;
  givenUp: boolean;
}

/** Runs every rival once over the first targets. @param places how many targets at once, the same for all */
export function runRivals(folder: string, count: number, places: number, slow: boolean): Rival[] {
  const hosts = Array.from({ length: count }, (_, index) => addressOf(index));
  writeFileSync(join(folder, 'hosts'), hosts.map((host) => `${host}:${sshPort}\n`).join(''));
  writeFileSync(join(folder, 'inventory'), hosts.map((host) => `${host} ansible_port=${sshPort}\n`).join(''));
  writeFileSync(join(folder, 'kept.py'), kept);
  const play = [{ hosts: 'all', gather_facts: false, tasks: tasks.map((shell, index) => ({ name: `check ${index + 1}`, shell, changed_when: false })) }]; // prettier-ignore
  writeFileSync(join(folder, 'playbook.yml'), JSON.stringify(play));
  writeFileSync(join(folder, 'ansible.cfg'), `[defaults]\nforks = ${places}\nhost_key_checking = True\nremote_user = root\nprivate_key_file = ${folder}/id\ninterpreter_python = /usr/bin/python3\nstdout_callback = minimal\n[ssh_connection]\npipelining = True\nssh_args = -F ${folder}/ssh_config -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir = ${folder}/ansible\n`); // prettier-ignore
  const command = `sh ${folder}/audit.sh nonce`;
  const bin = `${tools()}/venv/bin`;
  const env = { ...process.env, ANSIBLE_CONFIG: join(folder, 'ansible.cfg'), ANSIBLE_HOME: join(folder, 'ansible-home'), PYTHONPATH: `${tools()}/pssh/usr/lib/python3/dist-packages` }; // prettier-ignore
  const timed = (name: string, words: string[]): Rival => {
    const started = performance.now();
    const [program = '', ...rest] = words;
    const done = spawnSync(program, rest, { env, encoding: 'utf8', timeout: mostMs, killSignal: 'SIGKILL', maxBuffer: 256 << 20 }); // prettier-ignore
    const givenUp = done.error !== undefined && 'code' in done.error && done.error.code === 'ETIMEDOUT';
    if (!givenUp) mustHold(name, done, count);
    return { name, seconds: (performance.now() - started) / 1000, givenUp };
  };
  const xargs = (config: string): string[] => ['sh', '-c', `printf '%s\\n' "$@" | xargs -P${places} -I{} ssh -F ${folder}/${config} {} '${command}'`, 'sh', ...hosts]; // prettier-ignore
  const parallel = spawnSync(`${bin}/python`, [join(folder, 'kept.py'), folder, hosts.join(' '), String(places)], { encoding: 'utf8' }); // prettier-ignore
  mustHold('asyncssh', parallel, 0);
  const { cold, warm } = JSON.parse(parallel.stdout) as { cold: number; warm: number };
  const rivals: Rival[] = [
    { name: 'asyncssh cold', seconds: cold, givenUp: false },
    { name: 'asyncssh warm', seconds: warm, givenUp: false },
  ];
  if (!slow) return rivals;
  return [
    ...rivals,
    timed('ssh, xargs', xargs('ssh_config')),
    timed('ssh with ControlMaster, cold', xargs('ssh_config_kept')),
    timed('ssh with ControlMaster, warm', xargs('ssh_config_kept')),
    timed('pssh', [`${bin}/python`, `${tools()}/pssh/usr/bin/parallel-ssh`, '-h', `${folder}/hosts`, '-p', String(places), '-t', '0', '-i', '-x', `-F ${folder}/ssh_config`, command]),
    timed('clush', [`${bin}/clush`, '-S', '-f', String(places), '-w', hosts.join(','), '-o', `-F ${folder}/ssh_config`, command]),
    timed('ansible, raw', [`${bin}/ansible`, '-i', `${folder}/inventory`, 'all', '-m', 'raw', '-a', command]),
    timed('ansible-playbook, 7 shell tasks', [`${bin}/ansible-playbook`, '-i', `${folder}/inventory`, `${folder}/playbook.yml`]),
  ]; // prettier-ignore
}

/** A rival that did nothing would be very fast. */
function mustHold(name: string, { status, stdout, stderr, error }: SpawnSyncReturns<string>, count: number): void {
  const answers = stdout.split('#nonce done').length - 1;
  if (status !== 0 || (answers < count && !name.includes('playbook')))
    throw new Error(`${name}: status ${status}, ${answers} of ${count} answers: ${String(error ?? '')} ${stderr.slice(-600)}`);
} // prettier-ignore
