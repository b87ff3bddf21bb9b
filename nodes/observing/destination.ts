import type { Evidence } from '../../domain/evidence.ts';
import { probedFlow } from '../../domain/facts/stale.ts';
import type { Probe } from '../../domain/probe.ts';
import type { Entry } from '../../domain/sample.ts';
import type { Path, Place } from '../../domain/target.ts';

/**
 * Where the datagrams of a probe go.
 * @param port of undrop's own listener at the receiving end `to`
 */
export function destinationOf(
  probe: Probe,
  { service, hostPorts }: Path,
  evidence: Evidence,
  to: Place,
  port: number,
): { address: string; port: number } {
  if (probe.route === 'service') return { address: service?.address ?? '', port: service?.port ?? 0 };
  if (probe.route === 'flow') {
    const { destination, destinationPort } = staleFlow(evidence);
    return { address: destination, port: destinationPort };
  }
  if (probe.route === 'hostport') {
    const one = hostPorts?.find(({ probe: may }) => may === 'echo');
    return { address: one?.addresses[0] ?? '', port: one?.port ?? 0 };
  }
  if (probe.route === 'nodeport') {
    const frontend = service?.frontends?.find(({ kind }) => kind === 'node');
    return { address: frontend?.address ?? '', port: frontend?.port ?? 0 };
  }
  if (probe.route !== 'endpoint') return { address: to.address, port };
  const endpoint = service?.endpoints.find(({ address }) => address === to.address);
  return { address: to.address, port: endpoint?.port ?? 0 };
}

/** The stale flow that a probe of route `flow` follows. @throws Error where there is none */
export function staleFlow(evidence: Evidence): Entry {
  const entry = probedFlow(evidence);
  if (!entry) throw new Error('no stale flow starts at the sender of this path');
  return entry;
}
