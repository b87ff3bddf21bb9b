/** One typed, reversible change with the value it was read at and the value it gets. Nothing here is ever a shell string. */
export type Operation =
  | { kind: 'sysctl.set'; key: string; before: number; after: number }
  /** `before` is the whole set as read: switching one feature off changes others, and undo must restore them all. */
  | { kind: 'offload.set'; device: string; before: Record<string, boolean>; after: Record<string, boolean> }
  | {
      kind: 'conntrack.delete';
      source: string;
      sourcePort: number;
      destination: string;
      destinationPort: number;
      /** Where the entry leads: part of the match, so that a flow that was learned anew is left alone. */
      replySource: string;
    }
  /** All tracked UDP flows to one destination; `entries` were there when the plan was made. */
  | { kind: 'conntrack.evict'; destination: string; destinationPort: number; entries: number }
  /** Ends a process that others start again. `before` is the one that is meant: its id and start, as `PID:TICKS`. */
  | { kind: 'process.restart'; name: string; before: string };

/** The only settings that undrop may change, with the values it may give them. */
export const allowedSysctls: Record<string, { least: number; most: number }> = {
  'net.netfilter.nf_conntrack_max': { least: 1024, most: 16_777_216 },
  'net.netfilter.nf_conntrack_buckets': { least: 256, most: 16_777_216 },
  'net.netfilter.nf_conntrack_udp_timeout': { least: 5, most: 600 },
  'net.netfilter.nf_conntrack_udp_timeout_stream': { least: 5, most: 3600 },
  'net.ipv4.ipfrag_high_thresh': { least: 262_144, most: 1_073_741_824 },
  'net.bridge.bridge-nf-call-iptables': { least: 0, most: 1 },
  'net.core.rmem_max': { least: 212_992, most: 134_217_728 },
  'net.core.netdev_max_backlog': { least: 100, most: 100_000 },
  'net.ipv4.neigh.default.gc_thresh3': { least: 128, most: 1_048_576 },
};

/** The only processes that undrop may end: each is supervised, and starts again. */
export const allowedProcesses: readonly string[] = ['kube-proxy'];

/** Why an operation may not be planned, or undefined. */
export function forbidden(operation: Operation): string | undefined {
  if (operation.kind === 'offload.set') {
    const names = [...Object.keys(operation.before), ...Object.keys(operation.after)];
    const plain = /^[A-Za-z0-9._@-]{1,15}$/.test(operation.device) && names.every((name) => /^[a-z0-9_-]+$/.test(name));
    return plain ? undefined : `"${operation.device}" is no plain device name, or one of its features is not`;
  }
  if (operation.kind === 'conntrack.delete') {
    const { source, sourcePort, destination, destinationPort, replySource } = operation;
    const plain =
      [source, destination, replySource].every((address) => /^[0-9a-f.:]{2,45}$/i.test(address)) &&
      [sourcePort, destinationPort].every((port) => Number.isInteger(port) && port > 0 && port < 65_536);
    return plain ? undefined : 'an entry to delete is named by addresses and ports, and one of these is none';
  }
  if (operation.kind === 'conntrack.evict') {
    const { destination, destinationPort } = operation;
    const plain = /^[0-9.]{7,15}$/.test(destination) && destinationPort > 0 && destinationPort < 65_536;
    return plain ? undefined : `"${destination}:${destinationPort}" names no destination`;
  }
  if (operation.kind === 'process.restart') {
    if (!allowedProcesses.includes(operation.name)) return `undrop may not end ${operation.name}`;
    return /^\d+:\d+$/.test(operation.before) ? undefined : `"${operation.before}" names no process`;
  }
  const range = Object.hasOwn(allowedSysctls, operation.key) ? allowedSysctls[operation.key] : undefined;
  if (!range) return `undrop may not change ${operation.key}`;
  if (!Number.isInteger(operation.after) || operation.after < range.least || operation.after > range.most)
    return `${operation.key}: ${operation.after} is outside ${range.least} to ${range.most}`;
  return undefined;
}

/** One line for people: what is changed, from what to what. */
export function described(operation: Operation): string {
  switch (operation.kind) {
    case 'sysctl.set':
      return `${operation.key}: ${operation.before} -> ${operation.after}`;
    case 'offload.set': {
      const changes = Object.entries(operation.after).map(
        ([name, on]) => `${name} ${operation.before[name] ? 'on' : 'off'} -> ${on ? 'on' : 'off'}`,
      );
      return `${operation.device}: ${changes.join(', ')} (all ${Object.keys(operation.before).length} features kept for undo)`;
    }
    case 'conntrack.delete':
      return `delete the entry ${operation.source}:${operation.sourcePort} -> ${operation.destination}:${operation.destinationPort}, which leads to ${operation.replySource} (cannot be undone; it is learned anew)`;
    case 'conntrack.evict':
      return `delete all tracked flows to ${operation.destination}:${operation.destinationPort}, ${operation.entries.toLocaleString('en-US')} now (cannot be undone; those that live are learned anew)`;
    case 'process.restart':
      return `restart ${operation.name} (process ${operation.before.split(':')[0]}; its supervisor starts it again, which cannot be undone)`;
  }
}

export const reversible = (operation: Operation): boolean =>
  operation.kind === 'sysctl.set' || operation.kind === 'offload.set';
