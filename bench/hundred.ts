import type { RequestOptions } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { inLab } from '../lab/lab.ts';
import type { Cluster } from '../nodes/shells/kubernetes/cluster.ts';
import { type Container, ExecSession } from '../nodes/shells/kubernetes/session.ts';
import { median, row, times } from './measure.ts';

const sessions = 100;
const deadlineMs = 60_000;
/** One list of agents serves that long. */
const listMs = 3_000;

/**
 * As many nodes at once as the lab has no machines for: sessions with the agents of its two, all from this process. What
 * an exec costs the nodes is theirs, so the bare one is measured beside it, in turns.
 */
export async function hundred({ agents, config }: Cluster): Promise<void> {
  // One agent's memory is for one session; here each has fifty.
  await inLab('kubernetes', 'kubectl -n undrop set resources daemonset/undrop-agent --limits=memory=1Gi && kubectl -n undrop rollout status daemonset/undrop-agent --timeout=60s'); // prettier-ignore
  await sleep(listMs);
  const nodes = Array.from({ length: sessions }, (_, index) => (index % 2 ? 'n1' : 'n2'));
  const containers = async (): Promise<Container[]> => Promise.all(nodes.map(async (node) => agents.on(node, 'agent')));
  const opened = async (): Promise<ExecSession[]> =>
    Promise.all(
      (await containers()).map(async (container) => {
        const session = await ExecSession.open(config, container, deadlineMs);
        await command(session);
        return session;
      }),
    );
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const server = config.getCurrentCluster()?.server ?? '';
  const bare = async (): Promise<void> => {
    await Promise.all((await containers()).map(async (container) => bareExec(server, options, container)));
  };

  const [ours, theirs, cpu, grown]: [number[], number[], number[], number[]] = [[], [], [], []];
  let last: ExecSession[] = [];
  for (let turn = 0; turn < 3; turn++) {
    theirs.push(...(await times(1, bare)));
    last.forEach((session) => session.close());
    const [memory, used] = [process.memoryUsage().rss, process.cpuUsage()];
    ours.push(...(await times(1, async () => (last = await opened()))));
    const { user, system } = process.cpuUsage(used);
    cpu.push((user + system) / 1000);
    grown.push((process.memoryUsage().rss - memory) / 1_048_576);
  }
  const each = await times(9, async () => Promise.all(last.map(command)));
  last.forEach((session) => session.close());
  row(`${sessions} sessions opened at once with a command in each, times bare execs`, median(ours) / median(theirs), 2, 'x'); // prettier-ignore
  row(`CPU of this process for opening ${sessions} sessions`, median(cpu), 2000, 'ms');
  row(`memory of ${sessions} sessions`, Math.max(...grown), 100, 'MB');
  row(`${sessions} commands at once over as many open sessions`, median(each), 1000, 'ms');
}

async function command(session: ExecSession): Promise<void> {
  const running = session.start({ argv: ['true'], deadlineMs });
  running.end();
  const outcome = await running.done;
  if (outcome.kind !== 'exited') throw new Error(`a command did not run: ${outcome.why}`);
}

/** Python that does nothing, by an exec of its own: what the API, the kubelet and the node need by themselves. */
async function bareExec(
  server: string,
  options: RequestOptions,
  { namespace, pod, container }: Container,
): Promise<void> {
  const query = new URLSearchParams({ container, stdout: 'true' });
  for (const word of ['python3', '-I', '-c', 'import json, subprocess, threading']) query.append('command', word);
  const url = `${server.replace(/^http/, 'ws')}/api/v1/namespaces/${namespace}/pods/${pod}/exec?${query.toString()}`;
  const socket = new WebSocket(url, ['v5.channel.k8s.io'], { ...options, handshakeTimeout: deadlineMs });
  await new Promise<void>((resolve, reject) => {
    socket.once('close', () => resolve());
    socket.once('error', reject);
  });
}
