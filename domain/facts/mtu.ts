import { type Evidence, fullSample } from '../evidence.ts';
import { receiverOf } from '../target.ts';

/** Bytes that the headers of a tunnel take of each packet underneath, where that is IPv4. */
const overheads: Record<string, number> = { vxlan: 50, geneve: 50, gre: 24, ipip: 20, sit: 20, wireguard: 60 };
/** IPv6 underneath has a longer header. */
const more = 20;

/**
 * The MTU that the sender's device should have: what the network between the nodes carries, less the tunnel's headers.
 * Where the nodes' devices do not say what it carries, the largest packet that arrived.
 * @param passes the largest packet that arrives, in bytes with its IP header; `fails`: the smallest that does not
 */
export function mtuThatFits(evidence: Evidence, passes: number, fails: number): { fits: number; says: string } {
  const tested = `${passes.toLocaleString('en-US')} bytes arrive, ${fails.toLocaleString('en-US')} do not`;
  const [sender, receiver] = [evidence.path.places[0], receiverOf(evidence.path)];
  if (!sender || !receiver) return { fits: passes, says: tested };
  const ends = [
    [sender, receiver],
    [receiver, sender],
  ] as const;
  const underneath = ends.flatMap(([near, far]) => {
    const hop = evidence.path.places.find(({ role, node }) => role === 'hop' && node === near.node);
    const sample = hop && fullSample(evidence, hop.name);
    const linkTo = (address: string) =>
      sample?.links.find(({ name }) => name === sample.routes[address]?.device) ?? undefined;
    const overhead = overheads[linkTo(far.address)?.kind ?? ''];
    const link = linkTo(far.nodeAddress);
    if (!hop || !link || overhead === undefined) return [];
    const headers = overhead + (far.nodeAddress.includes(':') ? more : 0);
    return [{ fits: link.mtu - headers, says: `${hop.name} ${link.name} carries ${link.mtu.toLocaleString('en-US')} bytes, less ${headers} for the tunnel` }]; // prettier-ignore
  });
  const [least] = underneath.toSorted((a, b) => a.fits - b.fits);
  // What was measured is believed: a device may carry less, or the way between, than it says.
  const holds = least && least.fits >= passes && least.fits < fails;
  return holds ? { ...least, says: `${least.says}; ${tested}` } : { fits: passes, says: tested };
}
