import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { root } from './imports.ts';
import { sh } from './machine.ts';

export const chart = join(root, 'deploy/chart');
/** So long the first build of helm may take. */
export const buildMs = 900_000;

export interface Rule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}
export interface Container {
  image: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string }[];
  ports?: unknown[];
  securityContext: Record<string, unknown>;
  volumeMounts?: object[];
}
export interface Pod {
  hostPID?: boolean;
  hostNetwork?: boolean;
  automountServiceAccountToken?: boolean;
  tolerations?: object[];
  volumes?: object[];
  containers: Container[];
}
export interface Item {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: Rule[];
  spec?: { template?: { metadata: { labels: Record<string, string> }; spec: Pod } };
  data?: Record<string, string>;
}

let built = '';
/** The program, built at the first call. */
export const helm = (): string =>
  (built ||= execFileSync('sh', [join(root, 'deploy/helm/build.sh')], { encoding: 'utf8' }).trim());

/** What helm prints with these values. @throws Error with its complaint */
export const rendered = (...values: string[]): string =>
  sh(helm(), 'template', 'prod', chart, '--namespace', 'net', ...values.flatMap((value) => ['--set', value]));
export const items = (...values: string[]): Item[] =>
  parseAllDocuments(rendered(...values)).map((document) => document.toJS() as Item);
export const named = (all: Item[], kind: string, name: string): Item => {
  const item = all.find((one) => one.kind === kind && one.metadata.name === name);
  if (!item) throw new Error(`no ${kind} ${name} among ${all.map((one) => `${one.kind} ${one.metadata.name}`).join(', ')}`); // prettier-ignore
  return item;
};
export const pod = (all: Item[], kind: string, name: string): Pod => named(all, kind, name).spec?.template?.spec as Pod;
export const containers = (all: Item[]): Container[] =>
  all.flatMap(({ spec }) => spec?.template?.spec.containers ?? []);
export const complaint = (...values: string[]): string => {
  try {
    rendered(...values);
  } catch (error) {
    // Of the rules, which lie outside of the chart, it says each time that they are a link.
    return (error as { stderr: string }).stderr.replaceAll(/^level=INFO .*symbolic link.*\n/gm, '');
  }
  return '';
};
