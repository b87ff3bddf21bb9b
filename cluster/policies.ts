import type { V1NetworkPolicy, V1Pod } from '@kubernetes/client-node';
import type { PolicyView } from '../domain/cluster.ts';
import type { Reader } from './api.ts';

/** The NetworkPolicies that select one of the ends, and whether they let UDP to this port pass at all. */
export async function readPolicies(
  reader: Reader,
  ends: { end: PolicyView['end']; pod: V1Pod }[],
  port: number,
): Promise<PolicyView[]> {
  const views = await Promise.all(
    ends.map(async ({ end, pod }) => {
      const namespace = pod.metadata?.namespace ?? '';
      const list = await reader.may(`NetworkPolicies in ${namespace}`, () =>
        reader.networking.listNamespacedNetworkPolicy({ namespace }),
      );
      return (list?.items ?? []).flatMap((policy) => viewOf(policy, end, pod, port));
    }),
  );
  return views.flat();
}

function viewOf({ metadata, spec }: V1NetworkPolicy, end: PolicyView['end'], pod: V1Pod, port: number): PolicyView[] {
  const { matchLabels = {}, matchExpressions = [] } = spec?.podSelector ?? {};
  const labels = pod.metadata?.labels ?? {};
  const selects =
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const there = labels[key];
      if (operator === 'Exists') return there !== undefined;
      if (operator === 'DoesNotExist') return there === undefined;
      return (there !== undefined && values.includes(there)) === (operator === 'In');
    });
  const direction = end === 'sender' ? 'Egress' : 'Ingress';
  const types = spec?.policyTypes ?? ['Ingress'];
  if (!selects || !types.includes(direction)) return [];
  const rules = (direction === 'Egress' ? spec?.egress : spec?.ingress) ?? [];
  const allows = rules.some(({ ports = [] }) =>
    ports.length === 0
      ? true
      : ports.some((one) => {
          const from = Number(one.port ?? port);
          // A port by its name is the pod's own affair; here it counts as allowed rather than as a false reason.
          const fits = Number.isNaN(from) || (port >= from && port <= (one.endPort ?? from));
          return (one.protocol ?? 'TCP') === 'UDP' && fits;
        }),
  );
  return [{ name: `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`, end, allows }];
}
