/**
 * Sets up what demo, labs and tests need: programs of this machine, the Temporal server, the workflows' bundle.
 *   node lab/setup.ts demo|tests
 */
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { $, ProcessOutput } from 'zx';
import { temporalBinary } from '../worker/binary.ts';
import { workflowBundle } from '../worker/worker.ts';
import { LabError, build } from './lab.ts';

/** Programs by the Debian package that brings them. */
const demo: Record<string, string> = {
  ip: 'iproute2', tc: 'iproute2', bridge: 'iproute2', nsenter: 'util-linux', flock: 'util-linux', setsid: 'util-linux',
  iptables: 'iptables', nft: 'nftables', conntrack: 'conntrack', ethtool: 'ethtool', sysctl: 'procps', python3: 'python3-minimal',
}; // prettier-ignore
const tests: Record<string, string> = {
  ...demo, tcpdump: 'tcpdump', busybox: 'busybox', sshd: 'openssh-server', 'ssh-keygen': 'openssh-client', cpio: 'cpio',
  'qemu-system-x86_64': 'qemu-system-x86', openssl: 'openssl', unshare: 'util-linux', mount: 'mount', chromium: 'chromium',
}; // prettier-ignore

const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];

async function there(program: string): Promise<boolean> {
  for (const folder of folders)
    if (await access(`${folder}/${program}`, constants.X_OK).then(() => true, () => false)) return true; // prettier-ignore
  return false;
}

/**
 * Makes sure that everything is there. As root on Debian or Ubuntu it installs missing packages, and says so; elsewhere
 * it names them.
 * @throws LabError that names what is missing, or Error of the server's build
 */
export async function setUp(what: 'demo' | 'tests', tell: (line: string) => void): Promise<void> {
  await installed(what === 'demo' ? demo : tests, tell);
  await temporalBinary(tell);
  tell('bundling the workflows');
  await workflowBundle();
  if (what === 'demo') return;
  // What labs are made of takes minutes to build, once: said here, and not inside a test that seems to hang.
  tell('building the guest of the VM lab, once');
  await build('vm');
  tell('unpacking Prometheus, Alertmanager and node exporter, once');
  await $({ quiet: true })`sh ${fileURLToPath(new URL('alerting/build.sh', import.meta.url))}`.catch(
    failed('unpacking Prometheus and Alertmanager'),
  );
  tell('unpacking PostgreSQL, once');
  await $({ quiet: true })`sh ${fileURLToPath(new URL('postgres/build.sh', import.meta.url))}`.catch(
    failed('unpacking PostgreSQL'),
  );
  await build('kubernetes', (line) => tell(line.replace(/^kubernetes lab: /, '')));
}

async function installed(programs: Record<string, string>, tell: (line: string) => void): Promise<void> {
  const missing: string[] = [];
  for (const program of Object.keys(programs)) if (!(await there(program))) missing.push(program);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => programs[program] ?? program))];
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const debian = /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
  const root = process.getuid?.() === 0;
  if (!debian || !root)
    throw new LabError(
      `missing programs: ${missing.join(', ')} (Debian packages: ${packages.join(' ')})${root ? '' : '; install them and run this as root: it makes network namespaces'}`,
    );
  tell(`installing with apt: ${packages.join(' ')}`);
  const apt = $({ quiet: true, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  const install = () => apt`apt-get install -y -qq --no-install-recommends ${packages}`;
  // Package lists may be missing or old; they are only read when they have to be.
  await install().catch(async () => {
    await apt`apt-get update -qq`.catch(failed('apt-get update'));
    await install().catch(failed('apt-get install'));
  });
}

const failed =
  (what: string) =>
  (error: unknown): never => {
    const said = error instanceof ProcessOutput ? error.stderr.trim().split('\n').slice(-3).join('; ') : String(error);
    throw new LabError(`${what} failed: ${said}`);
  };

/** Long enough to stay readable, short enough that nobody takes it for hung. */
const signOfLifeMs = 20_000;

if (import.meta.main) {
  const started = Date.now();
  let shown = '';
  let last = 0;
  const tell = (line: string): void => {
    // A build reports each second; here what is new is worth a line, and now and then that it goes on.
    const kind = line.split(':')[0] ?? line;
    if (kind === shown && Date.now() - last < signOfLifeMs) return;
    process.stderr.write(`setup ${((Date.now() - started) / 1000).toFixed(0)} s: ${line}\n`);
    shown = kind;
    last = Date.now();
  };
  try {
    await setUp(process.argv[2] === 'demo' ? 'demo' : 'tests', tell);
  } catch (error) {
    process.stderr.write(`setup: ${error instanceof Error ? error.message : String(error)}\n`);
    // UNDROP_SKIP=allow runs what can be run without root.
    process.exitCode = process.env['UNDROP_SKIP'] === 'allow' ? 0 : 3;
  }
}
