import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { $, ProcessOutput } from 'zx';
import { Inventory } from '../domain/inventory.ts';
import { parseYaml } from '../domain/yaml.ts';
import { type Fault, faults } from './fault.ts';

export const labs = ['netns', 'fleet', 'vm', 'kubernetes'] as const;
export type Lab = (typeof labs)[number];

/** A lab script failed; the message ends with what it said. */
export class LabError extends Error {}

export const labHome = (lab: Lab): string => fileURLToPath(new URL(lab, import.meta.url));
/** How the Kubernetes lab is reached as its admin, once it is up. */
export const kubeconfig = '/run/undrop-lab/kubernetes/admin.kubeconfig';
export const kubectl = '/run/undrop-lab/kubernetes/kubectl';
const quiet = (lab: Lab, env: Record<string, string> = {}) =>
  $({ quiet: true, env: { ...process.env, ...env, UNDROP_LAB_HOME: labHome(lab) } });

/** Makes the lab anew, also over the remains of one that crashed. @param onLine gets what the script tells meanwhile */
export async function up(lab: Lab, onLine?: (line: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new LabError('a lab makes network namespaces, which needs root');
  await script(lab, 'up.sh', onLine);
}

export const down = async (lab: Lab): Promise<void> => script(lab, 'down.sh');

/** Builds what a lab is made of, where it is not yet in the cache. `up` does it too, but then it is waited for there. */
export async function build(lab: 'vm' | 'kubernetes', onLine?: (line: string) => void): Promise<void> {
  await script(lab, 'build.sh', onLine);
  if (lab === 'vm') return;
  await script(lab, 'images.sh', onLine);
  await script(lab, '../../deploy/helm/build.sh', onLine);
}

async function script(lab: Lab, name: string, onLine?: (line: string) => void): Promise<void> {
  const running = quiet(lab)`sh ${`${labHome(lab)}/${name}`}`;
  // Progress is told on stderr; stdout is the result.
  running.stderr.on('data', (chunk: Buffer) => onLine?.(chunk.toString().trim().split('\n').at(-1) ?? ''));
  await running.catch((error: unknown) => {
    throw failed(`${lab}/${name}`, error);
  });
}

/** @throws LabError that lists the faults there are */
export function faultNamed(id: string): Fault {
  const all = faults();
  const fault = all.find((one) => one.id === id);
  if (!fault) throw new LabError(`there is no fault ${id}; there are: ${all.map((one) => one.id).join(', ')}`);
  return fault;
}

export async function inject(fault: Fault): Promise<void> {
  if (fault.lab === 'kubernetes') await inLab(fault.lab, `proxy_mode_is ${fault.mode} || proxy_mode ${fault.mode}`);
  await snippet(fault, 'inject');
}
export const heal = async (fault: Fault): Promise<void> => snippet(fault, 'heal');

async function snippet(fault: Fault, what: 'inject' | 'heal'): Promise<void> {
  await inLab(fault.lab, fault[what], `${what} ${fault.id}`);
}

/** Runs shell with the words of the lab's lib.sh. @returns what it prints */
export async function inLab(lab: Lab, shell: string, what = shell): Promise<string> {
  const running = quiet(lab)({ input: `set -eu\n. "$UNDROP_LAB_HOME/lib.sh"\n${shell}` })`sh -s`;
  const { stdout } = await running.catch((error: unknown) => {
    throw failed(what, error);
  });
  return stdout;
}

const failed = (what: string, error: unknown): LabError => {
  const said = error instanceof ProcessOutput ? error.stderr.trim() || `status ${error.exitCode}` : String(error);
  return new LabError(`${what}: ${said.split('\n').slice(-5).join('\n')}`);
};

export function labInventory(lab: Lab): Inventory {
  const file = `${labHome(lab)}/undrop.yaml`;
  return parseYaml(readFileSync(file, 'utf8'), `lab/${lab}/undrop.yaml`, Inventory);
}

/**
 * Every offload of a lab node's devices, as ethtool prints them: an independent witness of what a change left behind.
 * @param node `h1`, or `fleet-n1` of the fleet lab
 */
export function namespaceState(node: string): string {
  const inside = (...words: string[]): string =>
    execFileSync('nsenter', [`--net=/run/netns/undrop-${node}`, ...words], {
      encoding: 'utf8',
    });
  const devices = [...inside('ip', '-o', 'link').matchAll(/^\d+: ([^:@]+)/gm)].map(([, name = '']) => name);
  return devices.map((device) => inside('ethtool', '-k', device)).join('');
}
