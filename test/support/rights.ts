import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadRunbook } from '../../runbooks/load.ts';
import type { Item } from './chart.ts';
import { root } from './imports.ts';

/** Each right as `scope verb group/resource`; scope is `cluster`, `own` or another namespace. */
export const granted = (all: Item[]): string[] =>
  all
    .flatMap(({ rules = [], metadata }) =>
      rules.flatMap(({ apiGroups, resources, verbs, resourceNames = [] }) => {
        const scope = metadata.namespace === 'net' ? 'own' : (metadata.namespace ?? 'cluster');
        return verbs.map((verb) => `${scope} ${verb} ${apiGroups.join()}/${[resources.join(), ...resourceNames].join(' ')}`); // prettier-ignore
      }),
    )
    .toSorted();

/** Kinds of the client library as resources of the API. */
const resources: Record<string, string> = {
  Node: '/nodes', Pod: '/pods', Service: '/services', ConfigMap: '/configmaps kube-proxy', Event: '/events', Job: 'batch/jobs',
  EndpointSlice: 'discovery.k8s.io/endpointslices', NetworkPolicy: 'networking.k8s.io/networkpolicies', Lease: 'coordination.k8s.io/leases',
}; // prettier-ignore
/** Every account may ask what it may. */
const free = 'SelfSubjectAccessReview';

/** The same of what the code calls. */
export function asked(): string[] {
  const found = new Set(['own get /pods/exec', 'own create /pods/exec']);
  for (const folder of ['cluster', 'nodes/shells/kubernetes'])
    for (const file of readdirSync(join(root, folder)).filter((name) => name.endsWith('.ts'))) {
      const calls = readFileSync(join(root, folder, file), 'utf8').matchAll(
        /\.(list|read|create|delete|patch|replace)(Namespaced)?([A-Z]\w+?)(ForAllNamespaces)?\(/g,
      );
      for (const [call, verb = '', inOne, kind = ''] of calls) {
        if (kind === free) continue;
        const resource = resources[kind];
        if (resource === undefined) throw new Error(`${folder}/${file}: which right does ${call} need?`);
        const own = inOne && (folder !== 'cluster' || kind === 'Lease');
        // Events of nodes are written by the newer group, into this namespace.
        if (kind === 'Event' && verb === 'create') found.add('default create events.k8s.io/events');
        else
          found.add(
            `${kind === 'ConfigMap' ? 'kube-system' : own ? 'own' : 'cluster'} ${verb === 'read' ? 'get' : verb} ${resource}`,
          );
      }
    }
  // Objects that remedies propose to change are read by what the runbook calls them.
  const names = new Map<string, Set<string>>();
  for (const { object } of loadRunbook().remedies.flatMap(({ propose }) =>
    propose.flatMap(({ to }) => to.filter((one) => 'object' in one)),
  )) {
    const kind = `${object.apiVersion.includes('/') ? object.apiVersion.split('/')[0] : ''}/${object.kind.toLowerCase()}s`;
    if (object.name !== 'kube-proxy') names.set(kind, (names.get(kind) ?? new Set()).add(object.name));
  }
  for (const [kind, all] of names) found.add(`cluster get ${kind} ${[...all].join(' ')}`);
  return [...found].toSorted();
}

/** The same of the tables of docs/deploy.md. */
export const listed = (text = ''): string[] =>
  [...text.matchAll(/^\| (cluster|own|kube-system|default) +\| `(\S*)` +\| `([^`]+)` +\| ([a-z, ]+?) +\|/gm)]
    .flatMap(([, scope, group, resource, verbs = '']) =>
      verbs.split(', ').map((verb) => `${scope} ${verb} ${group === 'core' ? '' : group}/${resource}`),
    )
    .toSorted();
