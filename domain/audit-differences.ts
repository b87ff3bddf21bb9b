import type { NodeValues } from './audit.ts';
import { fits } from './globs.ts';
import type { Profile } from './audit-profile.ts';

/** How many things differ, and which: `nf_conntrack_max 1,000 and should be 262,144`. */
export interface Difference {
  count: number;
  says: string;
}
export type Expected = Partial<Pick<Profile, 'settings' | 'offloads' | 'mtu' | 'kubeProxy'>>;

const number = (value: number): string => value.toLocaleString('en-US');
const most = 5;

function difference(lines: readonly string[]): Difference {
  const rest = lines.length > most ? `, and ${lines.length - most} more` : '';
  return { count: lines.length, says: lines.slice(0, most).join(', ') + rest };
}

/**
 * What differs between a node and what is expected of it; what the node does not have or nobody could read is not
 * compared. @param word between what is and what is expected: `should be`, `is` (of the peers)
 */
export function differences(values: NodeValues, expected: Expected, word: string): Record<'settings' | 'offloads' | 'mtu' | 'proxy', Difference> {
  const other = (name: string, is: string, should: string): string =>
    word === 'should be' ? `${name} is ${is} and should be ${should}` : `${name} is ${is}, of most of its peers ${should}`;
  const settings = Object.entries(expected.settings ?? {}).flatMap(([name, should]) => {
    const is = values.settings[name];
    return is === undefined || is === should ? [] : [other(name, number(is), number(should))];
  });
  const offloads = Object.entries(values.features).flatMap(([device, features]) =>
    wanted(expected.offloads, device).flatMap((all) =>
      Object.entries(all).flatMap(([feature, should]) => {
        const on = features[feature];
        const is = on ? 'on' : 'off';
        return on === undefined || is === should ? [] : [other(`${feature} of ${device}`, is, should)];
      }),
    ),
  );
  const mtu = values.links.flatMap(({ name, mtu: is }) =>
    wanted(expected.mtu, name).flatMap((should) =>
      is === should ? [] : [other(`MTU of ${name}`, number(is), number(should))],
    ),
  );
  const proxy = (['mode', 'version'] as const).flatMap((what) => {
    const [is, should] = [values.plane?.[what], expected.kubeProxy?.[what]];
    return !is || should === undefined || is.replace(/^v/, '') === should.replace(/^v/, '') ? [] : [other(`${what} of kube-proxy`, is, should)];
  });
  return { settings: difference(settings), offloads: difference(offloads), mtu: difference(mtu), proxy: difference(proxy) };
} // prettier-ignore

/** The first entry whose glob matches the device. */
function wanted<T>(all: Record<string, T> | undefined, device: string): T[] {
  const found = Object.entries(all ?? {}).find(([glob]) => fits(glob, device));
  return found ? [found[1]] : [];
}
