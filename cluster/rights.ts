import { AuthorizationV1Api, type KubeConfig } from '@kubernetes/client-node';

/** One thing that undrop does in a cluster, and what goes unseen or undone without the right to it. */
export interface Right {
  verb: string;
  group: string;
  resource: string;
  /** Left out: of any name. */
  name?: string;
  /** Left out: in the whole cluster. */
  namespace?: string;
  without: string;
}

/** Everything that undrop asks the API for, and why. docs/deploy.md lists the same. */
export const rightsOf = (namespace: string): Right[] => [
  { verb: 'list', group: '', resource: 'nodes', without: 'no place of a path can be found' },
  { verb: 'get', group: '', resource: 'nodes', without: 'a node that does not answer cannot be told from one that is not Ready' },
  { verb: 'get', group: '', resource: 'services', without: 'Services cannot be diagnosed' },
  { verb: 'get', group: '', resource: 'pods', without: 'pods cannot be the ends of a path' },
  { verb: 'list', group: '', resource: 'pods', without: 'clients of a Service cannot be found by their flows' },
  { verb: 'list', group: 'discovery.k8s.io', resource: 'endpointslices', without: 'rules cannot be held against endpoints' },
  { verb: 'list', group: 'networking.k8s.io', resource: 'networkpolicies', without: 'policies that deny are not named' },
  { verb: 'get', group: '', resource: 'configmaps', name: 'kube-proxy', namespace: 'kube-system', without: 'kube-proxy’s configuration is unknown' },
  ...['kube-flannel-cfg', 'calico-config', 'cilium-config'].map((name) => ({ verb: 'get', group: '', resource: 'configmaps', name, without: 'another MTU of pods is proposed in words only' })),
  { verb: 'get', group: 'operator.tigera.io', resource: 'installations', name: 'default', without: 'another MTU of pods is proposed in words only' },
  { verb: 'get', group: '', resource: 'pods/exec', namespace, without: 'no node can be reached' },
  { verb: 'create', group: '', resource: 'pods/exec', namespace, without: 'no node can be reached' },
  { verb: 'list', group: '', resource: 'pods', namespace, without: 'agents cannot be found' },
  { verb: 'list', group: 'batch', resource: 'jobs', namespace, without: 'what undrop made goes only when its time is over' },
  { verb: 'create', group: 'batch', resource: 'jobs', namespace, without: 'nodes without an agent cannot be seen, and nothing is sent from pods of undrop’s own' },
  { verb: 'delete', group: 'batch', resource: 'jobs', namespace, without: 'what undrop made goes only when its time is over' },
]; // prettier-ignore

/** Whether this account has a right, by the API server's own word. @throws Error when it does not answer */
export async function mayI(
  config: KubeConfig,
  { verb, group, resource, name: object, namespace }: Right,
): Promise<boolean> {
  const [name = '', subresource] = resource.split('/');
  const resourceAttributes = {
    verb,
    group,
    resource: name,
    ...(subresource && { subresource }),
    ...(object !== undefined && { name: object }),
    ...(namespace && { namespace }),
  };
  const review = await config
    .makeApiClient(AuthorizationV1Api)
    .createSelfSubjectAccessReview({ body: { spec: { resourceAttributes } } });
  return review.status?.allowed === true;
}
