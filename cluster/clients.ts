import { type End, textOf } from '../domain/cluster-target.ts';
import { type Path, TargetError } from '../domain/target.ts';
import type { Reader } from './api.ts';
import { serviceOfPaths, readNodes } from './resolve.ts';
import { readService } from './service.ts';

/** What a survey of a Service starts from. */
export interface Surveyed {
  service: NonNullable<Path['service']>;
  /** The pods behind the Service, by name, with their nodes. */
  endpoints: { pod: string; node: string; address: string }[];
  nodes: string[];
}

/** @throws TargetError when there is no such Service or port */
export async function serviceToSurvey(reader: Reader, to: End): Promise<Surveyed> {
  if (to.kind !== 'service')
    throw new TargetError(`${textOf(to)} is no Service, so say where it is sent from: FROM->${textOf(to)}`);
  const [{ view, object }, nodes] = await Promise.all([
    readService(reader, to.namespace, to.name, to.port),
    readNodes(reader),
  ]);
  return {
    service: serviceOfPaths(view, object, nodes),
    endpoints: view.endpoints.flatMap(({ serving, pod, node, address }) =>
      serving && pod !== undefined && node !== undefined && (to.endpoint === undefined || to.endpoint === pod)
        ? [{ pod, node, address }]
        : [],
    ),
    nodes: nodes.flatMap(({ metadata, spec }) => (metadata?.name && !spec?.unschedulable ? [metadata.name] : [])),
  };
}

/** The pod that has this address, as an end of a path; undefined where none has, or pods may not be listed. */
export async function podAt(reader: Reader, address: string): Promise<{ end: End; node: string } | undefined> {
  const list = await reader.may('Pods of all namespaces', () =>
    reader.core.listPodForAllNamespaces({ fieldSelector: `status.podIP=${address},status.phase=Running` }),
  );
  const pod = list?.items.find(({ spec }) => !spec?.hostNetwork);
  const { name, namespace } = pod?.metadata ?? {};
  if (!name || !namespace || !pod?.spec?.nodeName) return undefined;
  return { end: { kind: 'pod', namespace, name }, node: pod.spec.nodeName };
}
