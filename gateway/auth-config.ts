import { z } from 'zod';

/** Where a secret is: never in the configuration itself, which is shown, logged and stored. */
export const Secret = z.union(
  [
    z.strictObject({ file: z.string().regex(/^[^\0\n]+$/) }),
    z.strictObject({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'the name of an environment variable') }),
  ],
  'give {file: PATH} or {env: NAME}; a secret never stands in the configuration',
);
export type SecretRef = z.infer<typeof Secret>;

/** Two are active while one replaces the other. */
const secrets = z.array(Secret).min(1).max(5);

const HeaderName = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/i, 'the name of a header')
  .transform((name) => name.toLowerCase());

const plain = <const Name extends string>(scheme: Name) => z.strictObject({ scheme: z.literal(scheme), secrets });

const Grafana = z.strictObject({
  scheme: z.literal('grafana'),
  secrets,
  header: HeaderName.default('x-grafana-alerting-signature'),
  /** Grafana has no default name for it; where the contact point names one, the time is signed too. */
  timestampHeader: HeaderName.optional(),
});

const Hmac = z
  .strictObject({
    scheme: z.literal('hmac'),
    secrets,
    header: HeaderName,
    /** What stands before each signature, such as `sha256=`. */
    prefix: z.string().max(32).default(''),
    encoding: z.enum(['hex', 'base64']).default('hex'),
    /** Seconds since the epoch. */
    timestampHeader: HeaderName.optional(),
    idHeader: HeaderName.optional(),
    /** What is signed, of `{id}`, `{at}` and `{body}`. */
    text: z.string().max(64).default('{body}'),
  })
  .superRefine(({ text, timestampHeader, idHeader }, context) => {
    const complain = (message: string) => context.addIssue({ code: 'custom', path: ['text'], message });
    if (!text.includes('{body}')) complain('the body must be signed: {body}');
    // What is not signed proves nothing: anybody may set such a header to any value.
    if (text.includes('{at}') !== (timestampHeader !== undefined)) complain('{at} and timestampHeader belong together');
    if (text.includes('{id}') !== (idHeader !== undefined)) complain('{id} and idHeader belong together');
  });

const Header = z.strictObject({ scheme: z.literal('header'), secrets, header: HeaderName });

/** How a sender proves who it is: a scheme of the table in verify.ts, and where its secrets are. */
export const Auth = z.discriminatedUnion('scheme', [
  plain('standard-webhooks'),
  plain('svix'),
  plain('slack'),
  plain('pagerduty'),
  plain('rootly'),
  plain('firehydrant'),
  plain('bearer'),
  plain('basic'),
  Grafana,
  Hmac,
  Header,
]);
export type Auth = z.infer<typeof Auth>;
export type SchemeName = Auth['scheme'];

/**
 * A name that a client's certificate must have among its subject alternative names, as it is written there: `URI:` as of
 * SPIFFE, or `DNS:`. The subject's common name counts for nothing.
 */
export const CertificateName = z
  .string()
  .regex(/^(URI:[a-z][a-z0-9+.-]*:[^\s",*]{1,250}|DNS:[a-z0-9.-]{1,253})$/i, 'give URI:… or DNS:… in full, no wildcard')
  .transform((name) => (/^dns:/i.test(name) ? `DNS:${name.slice(4).toLowerCase()}` : `URI:${name.slice(4)}`));

/** A sender is known by its certificate, which `tls.clientCa` vouches for. */
export const Certificate = z.strictObject({
  scheme: z.literal('certificate'),
  names: z.array(CertificateName).min(1).max(5),
});

type WithoutSecrets<T> = T extends unknown ? Omit<T, 'secrets'> : never;
/** An Auth whose secrets have been read and are handed over beside it. */
export type Scheme = WithoutSecrets<Auth>;

/** A secret is missing or cannot be used; the message names its place and never its content. */
export class SecretError extends Error {}

/**
 * Reads the secrets of an Auth and checks that they can be used.
 * @param read what a file holds, what a variable is; may throw or give undefined
 * @param fault `secretFault` of verify.ts
 * @throws SecretError
 */
export function secretsOf(
  { scheme, secrets: references }: Auth,
  read: { file(path: string): string; env(name: string): string | undefined },
  fault: (scheme: SchemeName, secret: string) => string | undefined,
): string[] {
  return references.map((reference) => {
    const place = 'file' in reference ? `file ${reference.file}` : `variable ${reference.env}`;
    let secret: string | undefined;
    try {
      secret = 'file' in reference ? read.file(reference.file) : read.env(reference.env);
    } catch (error) {
      throw new SecretError(`the secret in ${place} cannot be read: ${codeOf(error)}`, { cause: error });
    }
    // Editors and `kubectl create secret --from-file` leave a line end behind.
    const text = (secret ?? '').replace(/\r?\n$/, '');
    const wrong = text === '' ? 'it is empty or missing' : fault(scheme, text);
    if (wrong) throw new SecretError(`the secret in ${place} cannot be used: ${wrong}`);
    return text;
  });
}

const codeOf = (error: unknown): string =>
  error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'error';
