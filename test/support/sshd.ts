import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { SshSpec } from '../../domain/inventory.ts';
import { sh } from './machine.ts';
import { childrenOf, until } from './until.ts';
import { freePort } from './port.ts';

/** A real sshd on 127.0.0.1 with keys and settings of its own. */
export class Sshd {
  readonly spec: SshSpec;
  readonly folder: string;
  private readonly pid: number;

  private constructor(spec: SshSpec, folder: string, pid: number) {
    this.spec = spec;
    this.folder = folder;
    this.pid = pid;
  }

  static async start(): Promise<Sshd> {
    const folder = mkdtempSync(join(tmpdir(), 'undrop-t-sshd-'));
    const port = await freePort();
    for (const name of ['host', 'user', 'stranger'])
      sh('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name));
    const config = { Port: port, ListenAddress: '127.0.0.1', HostKey: join(folder, 'host'), UsePAM: 'no', StrictModes: 'no', AuthorizedKeysFile: join(folder, 'user.pub'), PasswordAuthentication: 'no', PermitRootLogin: 'yes', PidFile: 'none', LogLevel: 'VERBOSE' }; // prettier-ignore
    writeFileSync(join(folder, 'config'), Object.entries(config).map((pair) => `${pair.join(' ')}\n`).join('')); // prettier-ignore
    const knownHosts = join(folder, 'known_hosts');
    writeFileSync(knownHosts, `[127.0.0.1]:${port} ${readFileSync(join(folder, 'host.pub'), 'utf8')}`);
    mkdirSync('/run/sshd', { recursive: true });
    const log = openSync(join(folder, 'log'), 'a');
    const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(folder, 'config')], { stdio: ['ignore', log, log] });
    closeSync(log);
    const spec = { host: '127.0.0.1', port, user: userInfo().username, identity: join(folder, 'user'), knownHosts };
    const sshd = new Sshd(spec, folder, child.pid ?? 0);
    await until('sshd listens', () => sshd.log().includes('Server listening'));
    return sshd;
  }

  log(): string {
    return readFileSync(join(this.folder, 'log'), 'utf8');
  }

  /** One process for each connection that is open. */
  connections(): number[] {
    return childrenOf(this.pid);
  }

  async stop(): Promise<void> {
    for (const pid of this.connections()) process.kill(pid, 'SIGKILL');
    process.kill(this.pid, 'SIGKILL');
    await until('sshd is gone', () => !childrenOf(process.pid).includes(this.pid));
    rmSync(this.folder, { recursive: true });
  }
}
