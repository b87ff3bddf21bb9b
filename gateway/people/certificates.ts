import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Names of hosts are the same in capitals. */
const plain = (name: string): string => (name.startsWith('DNS:') ? `DNS:${name.slice(4).toLowerCase()}` : name);

/**
 * The names that a client proves by its certificate: `URI:…` and `DNS:…` as they stand in it. None where there is no
 * certificate, nobody of `tls.clientCa` vouches for it, or it is not valid now: a connection may outlive it.
 */
export function provedNames(socket: Socket, now = Date.now()): string[] {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return [];
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) return [];
  const { validFrom, validTo, subjectAltName = '' } = certificate;
  if (now < Date.parse(validFrom) || now > Date.parse(validTo)) return [];
  // Node quotes a name that has a comma, and escapes the comma: no name can pretend to be several.
  return subjectAltName.split(', ').map(plain);
}
