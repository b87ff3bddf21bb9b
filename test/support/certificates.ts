import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { sh } from './machine.ts';

/** A certificate with its key, in PEM, and where they are. */
export interface Issued {
  cert: string;
  key: string;
  files: { cert: string; key: string };
}

/** A certificate authority of openssl's, in a folder. */
export class Authority {
  readonly file: string;
  private readonly folder: string;
  private readonly name: string;
  private count = 0;

  constructor(folder: string, name: string) {
    this.folder = folder;
    this.name = name;
    this.file = join(folder, `${name}.crt`);
    sh('openssl', 'req', '-x509', ...newKey, '-keyout', join(folder, `${name}.key`), '-out', this.file, '-subj', `/CN=${name}`, '-days', '2'); // prettier-ignore
  }

  get pem(): string {
    return readFileSync(this.file, 'utf8');
  }

  /**
   * @param names subject alternative names, such as `URI:spiffe://prod/one`
   * @param days of validity; below zero it has ended
   */
  issue(names: readonly string[], { days = 1, usage = 'clientAuth', common = 'client' } = {}): Issued {
    const path = (kind: string): string => join(this.folder, `${this.name}-${this.count}.${kind}`);
    this.count += 1;
    const list = names.map((name, index) => name.replace(':', `.${index} = `)).join('\n');
    writeFileSync(path('ext'), `extendedKeyUsage=${usage}\n${names.length ? `subjectAltName=@names\n[names]\n${list}\n` : ''}`); // prettier-ignore
    sh(
      'openssl',
      'req',
      ...newKey,
      '-keyout',
      path('key'),
      '-out',
      path('csr'),
      '-subj',
      `/CN=${common.replaceAll('/', '\\/')}`,
    );
    sh('openssl', 'x509', '-req', '-in', path('csr'), '-CA', this.file, '-CAkey', join(this.folder, `${this.name}.key`),
      '-CAcreateserial', '-days', String(days), '-extfile', path('ext'), '-out', path('crt')); // prettier-ignore
    const files = { cert: path('crt'), key: path('key') };
    return { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8'), files };
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export interface Asked {
  method?: string;
  body?: string;
  headers?: Record<string, string>;
  /** What the client shows. */
  shows?: Pick<Issued, 'cert' | 'key'> | undefined;
}

/** Asks over a connection of its own, whose server `ca` must vouch for. @returns its status, and the serial of its certificate */
export async function ask(url: string, ca: string, { method = 'POST', body = '', headers = {}, shows }: Asked): Promise<{ status: number; serial: string }> {
  const options = { method, ca, agent: false, ...shows, headers: { 'content-type': 'application/json', ...headers } };
  return new Promise((resolve, reject) => {
    const asked = request(url, options, (answer) => {
      const { serialNumber } = (answer.socket as import('node:tls').TLSSocket).getPeerCertificate();
      answer.resume().once('end', () => resolve({ status: answer.statusCode ?? 0, serial: serialNumber }));
    });
    asked.once('error', reject).end(body);
  });
} // prettier-ignore
