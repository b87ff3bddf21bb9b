import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { down, inLab, kubeconfig, labHome, up } from '../lab/lab.ts';
import { real, sh } from './support/machine.ts';

const lab = 'kubernetes';
const prefix = 'undrop-k';
const state = '/run/undrop-lab/kubernetes';

const text = (file: string): string => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // the process ended meanwhile
  }
};

/** Everything on this machine that is the lab's. */
function found() {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const ours = (pid: string): boolean =>
    text(`/proc/${pid}/cgroup`).includes(`:/${prefix}`) || text(`/proc/${pid}/mountinfo`).includes(state);
  return {
    processes: processes.filter(ours).length,
    namespaces: existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.startsWith(prefix)) : [],
    cgroups: readdirSync('/sys/fs/cgroup').filter((kind) => existsSync(`/sys/fs/cgroup/${kind}/${prefix}`)),
    mounts: text('/proc/self/mountinfo').split('\n').filter((line) => line.includes('undrop-lab') || line.includes(prefix)),
    state: existsSync(state),
  };
} // prettier-ignore
const nothing = { processes: 0, namespaces: [], cgroups: [], mounts: [], state: false };

/** Settings of the real machine that a kubelet, a kube-proxy or a CNI plugin would write. */
const settings = (): string[] =>
  sh('sysctl', '-a')
    .split('\n')
    .filter((line) => /^(net|vm|kernel\.(panic|keys))/.test(line) && !line.includes('nf_conntrack_count'));

real(
  'ip',
  'nsenter',
  'unshare',
  'openssl',
  'conntrack',
  'sysctl',
)('the Kubernetes lab', () => {
  let before: string[];

  beforeAll(async () => {
    await down(lab);
    before = settings();
    await up(lab);
  }, 120_000);
  afterAll(() => down(lab), 30_000);

  test('is a Kubernetes of the version that its go.mod names, reached through its kubeconfig', async () => {
    expect(JSON.parse(await inLab(lab, 'kubectl get --raw /version'))).toMatchObject({ gitVersion: 'v1.36.2' });
    expect(readFileSync(kubeconfig, 'utf8')).toMatch(/server: 'https:\/\/127\.0\.0\.1:\d+'/);
  });

  test('its Service answers pods of both nodes, also when kube-proxy changes over to nftables and back', async () => {
    const answers = 'answers client 20; answers client2 20';
    await inLab(lab, `${answers}; proxy_says n1 iptables`);
    for (const mode of ['nftables', 'iptables']) {
      await inLab(lab, `proxy_mode ${mode}; ${answers}; proxy_says n1 ${mode}; proxy_says n2 ${mode}`);
      expect(await inLab(lab, 'kubectl -n kube-system get configmap kube-proxy -o yaml')).toContain(`mode: ${mode}`);
    }
  });

  test('a full table of one node is lost to new flows there, and to no other node', async () => {
    await inLab(lab, 'ct_fill n1 0');
    try {
      await expect(inLab(lab, 'answers client')).rejects.toThrow('timed out');
      expect(await inLab(lab, 'ct_free n2')).not.toMatch(/^-?\d{1,2}$/m);
    } finally {
      await inLab(lab, 'ct_unfill n1');
    }
    await inLab(lab, 'answers client 20');
  });

  test('ended in the middle of its start it leaves nothing behind', async () => {
    await down(lab);
    const starting = spawn('sh', [`${labHome(lab)}/up.sh`], {
      env: { ...process.env, UNDROP_LAB_HOME: labHome(lab) },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await new Promise<void>((resolve) =>
      starting.stderr.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('the API server is ready')) resolve();
      }),
    );
    starting.kill('SIGKILL');
    expect(found().processes).toBeGreaterThan(10);
    await down(lab);
    expect(found()).toEqual(nothing);
  });

  test('and no setting of the machine is another', () => {
    expect(found()).toEqual(nothing);
    expect(settings()).toEqual(before);
  });
});
