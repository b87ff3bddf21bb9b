import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { parseYaml } from '../domain/yaml.ts';
import { CertificateName, Secret, type SecretRef, secretsOf } from './auth-config.ts';
import { OidcConfig } from './people/oidc.ts';
import { RoleBinding } from './people/roles.ts';
import { secretFault } from './schemes.ts';
import { type Source, Sources } from './source-config.ts';

const Name = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/i, 'letters, digits, dots and dashes only');

const Path = z.string().regex(/^[^\0\n]+$/);

const Checked = z.strictObject({
  /** What it signs people's decisions as; the inventory's approval.gateways has its public key. */
  name: Name.default('gateway'),
  listen: z
    .strictObject({ host: z.string().default('127.0.0.1'), port: z.int().min(0).max(65535).default(8420) })
    .prefault({}),
  /** Files in PEM. They are read again when they change. */
  tls: z
    .strictObject({
      /** The gateway's own certificate, then those in between. */
      cert: Path,
      key: Path,
      /** Who vouches for certificates of machines and senders. Nobody else is asked for one. */
      clientCa: Path.optional(),
    })
    .optional(),
  /** How people and senders reach it, for links and for the identity provider. */
  url: z.url().default('http://127.0.0.1:8420'),
  /** Proxies in front of it whose X-Forwarded-For counts. */
  trustProxy: z.array(z.string()).default([]),
  sources: Sources.default({}),
  /** What an incident does. */
  incidents: z
    .strictObject({
      windowSeconds: z.number().positive().max(600).default(10),
      /** Go on to a plan; it waits for people. */
      propose: z.boolean().default(true),
      /** Diagnoses at once: more would take each other's CPU time, and lose datagrams by that. */
      atOnce: z.int().min(1).max(20).default(2),
    })
    .prefault({}),
  oidc: OidcConfig.optional(),
  /** Who somebody of the identity provider or of Slack is here: the name of an approver. */
  people: z
    .array(z.strictObject({ name: Name, oidc: z.string().optional(), slack: z.string().optional() }))
    .default([]),
  /** Programs that use the API, each by a token or by its certificate. */
  machines: z
    .array(
      z.strictObject({
        name: Name,
        tokens: z.array(Secret).max(3).default([]),
        certificates: z.array(CertificateName).max(5).default([]),
      }),
    )
    .default([]),
  roles: z.array(RoleBinding).default([]),
  slack: z
    .strictObject({
      signingSecret: Secret,
      /** A bot token with chat:write. */
      token: Secret,
      channel: z.string().min(1),
      /** Where Slack's API is; for tests and for gov-slack. */
      api: z.url().default('https://slack.com/api/'),
    })
    .optional(),
  /** Programs that are told of plans, by Standard Webhooks. */
  notify: z.array(z.strictObject({ url: z.url({ protocol: /^https?$/ }), secret: Secret })).default([]),
});

export const GatewayConfig = Checked.superRefine(({ tls, machines, sources }, context) => {
  const complain = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
  const missing = 'certificates of clients need tls.clientCa';
  for (const [index, { name, tokens, certificates }] of machines.entries()) {
    if (tokens.length + certificates.length === 0)
      complain(['machines', index], `${name} has no token and no certificate`);
    if (certificates.length && !tls?.clientCa) complain(['machines', index, 'certificates'], missing);
  }
  for (const [name, { auth }] of Object.entries(sources))
    if (auth.scheme === 'certificate' && !tls?.clientCa) complain(['sources', name, 'auth'], missing);
});
export type GatewayConfig = z.infer<typeof GatewayConfig>;

const read = {
  file: (path: string): string => readFileSync(path, 'utf8'),
  env: (name: string): string | undefined => process.env[name],
};

/** @throws FileError that names the field */
export const parseConfig = (text: string, file: string): GatewayConfig => parseYaml(text, file, GatewayConfig);

/** The secrets of a source, read now: they may be replaced while the gateway runs. @throws SecretError */
export const sourceSecrets = ({ auth }: Source): string[] =>
  auth.scheme === 'certificate' ? [] : secretsOf(auth, read, secretFault);

/** One secret. @throws SecretError */
export const secretOf = (reference: SecretRef): string =>
  secretsOf({ scheme: 'bearer', secrets: [reference] }, read, secretFault)[0] ?? '';
