import { spawn } from 'node:child_process';
import { Inventory } from '../../domain/inventory.ts';
import { type Namespaces, inside, line, sh } from './machine.ts';
import { until } from './until.ts';

/** Two nodes on one wire; `break` makes the receiver lose fragments, for which there is a remedy. */
export class Pair {
  readonly inventory: Inventory;
  readonly target = 'alpha->omega';
  readonly root = { cause: 'FRAG-REASM', place: 'omega' };
  private readonly names: [sender: string, receiver: string];

  private constructor(names: [string, string], inventory: Inventory) {
    this.names = names;
    this.inventory = inventory;
  }

  static async make(namespaces: Namespaces, name: string, approval: object = {}): Promise<Pair> {
    const names: [string, string] = [namespaces.add(`-${name}-a`), namespaces.add(`-${name}-o`)];
    line(`ip -n ${names[0]} link add eth0 type veth peer name eth0 netns ${names[1]}`);
    const nodes = names.map((netns, index) => {
      const address = `10.77.5.${index + 1}`;
      line(`ip -n ${netns} addr add ${address}/24 dev eth0`);
      line(`ip -n ${netns} link set eth0 up`);
      return [index ? 'omega' : 'alpha', { shell: { netns }, address }] as const;
    });
    // Fragments of one test are not to be there any more, and not to go just then, when the next one looks.
    inside(names[1], 'sysctl -qw net.ipv4.ipfrag_time=4');
    await until('the wire is there', () => inside(names[0], 'ip -o link show eth0').includes('state UP'));
    return new Pair(names, Inventory.parse({ name, nodes: Object.fromEntries(nodes), approval }));
  }

  async break(): Promise<void> {
    const fragments = (): string => inside(this.names[1], 'cat /proc/net/sockstat');
    await until('no fragment is left', () => fragments().includes('FRAG: inuse 0 '), 10_000);
    inside(this.names[1], 'sysctl -qw net.ipv4.ipfrag_low_thresh=2000 net.ipv4.ipfrag_high_thresh=3000');
  }

  /** The setting that the fault is in, and the remedy. */
  threshold(): number {
    return Number(inside(this.names[1], 'cat /proc/sys/net/ipv4/ipfrag_high_thresh'));
  }

  /**
   * Somebody else keeps changing the setting a little, until the returned function is called: a plan that was made before
   * is void, and the fault stays. A process of its own does it: here it would hold up what is tested.
   */
  drifting(): () => void {
    const script = 'while value=$(cat "$1") && echo $((value + 1)) >"$1"; do sleep 0.2; done';
    const argv = [
      `--net=/run/netns/${this.names[1]}`,
      'sh',
      '-c',
      script,
      'sh',
      '/proc/sys/net/ipv4/ipfrag_high_thresh',
    ];
    const child = spawn('nsenter', argv, { stdio: 'ignore' });
    return () => void child.kill('SIGKILL');
  }

  /** Processes inside the two namespaces: probers, samplers, timers. */
  processes(): number[] {
    return this.names.flatMap((name) => sh('ip', 'netns', 'pids', name).split('\n').filter(Boolean).map(Number));
  }
}
