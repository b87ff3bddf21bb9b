import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { root } from './imports.ts';
import { sh } from './machine.ts';
import { freePort } from './port.ts';
import { until } from './until.ts';

export const shipped = join(root, 'deploy/alerts');
export const runProgram = join(root, 'lab/alerting/run.sh');
const listen = join(root, 'lab/alerting/listen.py');
/** Long for a start, but this machine may be busy. */
const readyMs = 30_000;

export const shippedYaml = (file: string): unknown => parse(readFileSync(join(shipped, file), 'utf8'), { merge: true });

export interface Rule {
  alert: string;
  expr: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}
export const rules = (shippedYaml('undrop-rules.yaml') as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);

interface PrometheusConfig {
  global: Record<string, string>;
  alerting: { alertmanagers: { static_configs: object[] }[] };
  scrape_configs: { static_configs: object[] }[];
}

/**
 * Debian's node exporters, Prometheus and Alertmanager on 127.0.0.1, with the configuration that undrop ships. They end
 * with `close`, and are killed when this process ends otherwise.
 */
export class Alerting {
  private readonly folder = mkdtempSync(join(tmpdir(), 'undrop-t-alerting-'));
  private readonly running: ChildProcess[] = [];

  /** Unpacks the programs; the first time this downloads Debian's packages. */
  constructor() {
    sh('sh', join(root, 'lab/alerting/build.sh'));
  }

  /** A node exporter with its defaults that reads a network namespace's counters. @returns its HOST:PORT */
  async exporter(netns: string): Promise<string> {
    const port = await freePort();
    const inside = [
      'nsenter',
      `--net=/run/netns/${netns}`,
      'sh',
      runProgram,
      'prometheus-node-exporter',
      '--web.systemd-socket',
    ];
    return this.started(port, '/metrics', 'python3', listen, String(port), ...inside);
  }

  /** Alertmanager as shipped, but for where it posts to, its token and its patience. @returns its HOST:PORT */
  async alertmanager(hook: string, token: string): Promise<string> {
    const port = await freePort();
    const text = readFileSync(join(shipped, 'alertmanager.yaml'), 'utf8')
      .replace('https://undrop.example/hooks/alertmanager', hook)
      .replace('/etc/alertmanager/undrop-token', this.file('token', token))
      .replace('group_wait: 10s', 'group_wait: 200ms')
      .replace('group_interval: 1m', 'group_interval: 500ms');
    const words = [
      `--config.file=${this.file('alertmanager.yaml', text)}`,
      `--storage.path=${this.folder}/alertmanager`,
    ];
    const own = [`--web.listen-address=127.0.0.1:${port}`, '--cluster.listen-address='];
    return this.started(port, '/-/ready', 'sh', runProgram, 'prometheus-alertmanager', ...words, ...own);
  }

  /**
   * Prometheus as shipped, but for addresses and times: it looks each half second, and the rules judge the last five
   * seconds where they judge minutes.
   * @param nodes HOST:PORT of exporters by the nodes' names
   * @param alertmanager HOST:PORT
   * @returns its HOST:PORT
   */
  async prometheus(nodes: Record<string, string>, alertmanager: string): Promise<string> {
    const port = await freePort();
    const hurried = readFileSync(join(shipped, 'undrop-rules.yaml'), 'utf8')
      .replaceAll(/\[\d+m\]/g, '[5s]')
      .replaceAll(/ for: \d+m/g, ' for: 1s');
    this.file('undrop-rules.yaml', hurried);
    const config = shippedYaml('prometheus.yaml') as PrometheusConfig;
    for (const name of Object.keys(config.global)) config.global[name] = '500ms';
    for (const one of config.alerting.alertmanagers) one.static_configs = [{ targets: [alertmanager] }];
    const targets = Object.entries(nodes).map(([node, address]) => ({ targets: [address], labels: { node } }));
    for (const job of config.scrape_configs) job.static_configs = targets;
    const words = [
      `--config.file=${this.file('prometheus.yaml', stringify(config))}`,
      `--storage.tsdb.path=${this.folder}/prometheus`,
    ];
    return this.started(
      port,
      '/-/ready',
      'sh',
      runProgram,
      'prometheus',
      ...words,
      `--web.listen-address=127.0.0.1:${port}`,
    );
  }

  async close(): Promise<void> {
    for (const child of this.running) child.kill('SIGKILL');
    await until('all programs have ended', () => this.running.every(hasEnded));
    rmSync(this.folder, { recursive: true });
  }

  private file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  private async started(port: number, ready: string, program: string, ...words: string[]): Promise<string> {
    const log = join(this.folder, `${port}.log`);
    const out = openSync(log, 'a');
    const child = spawn(program, words, { stdio: ['ignore', out, out] });
    closeSync(out);
    this.running.push(child);
    const address = `127.0.0.1:${port}`;
    await until(
      `${words.join(' ')} answers`,
      async () => {
        if (hasEnded(child)) throw new Error(`it ended: ${words.join(' ')}\n${readFileSync(log, 'utf8').slice(-2000)}`);
        return (await fetch(`http://${address}${ready}`).catch(() => undefined))?.ok;
      },
      readyMs,
    );
    return address;
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** What Prometheus says now: a value for each node. @param prometheus HOST:PORT */
export async function asked(prometheus: string, query: string): Promise<Record<string, number>> {
  const answer = await fetch(`http://${prometheus}/api/v1/query?query=${encodeURIComponent(query)}`);
  interface Row {
    metric: Record<string, string>;
    value: [number, string];
  }
  const { data } = (await answer.json()) as { data: { result: Row[] } };
  return Object.fromEntries(data.result.map(({ metric, value }) => [metric['node'] ?? '', Number(value[1])]));
}
