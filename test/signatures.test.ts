import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { Auth, type Scheme, SecretError, secretsOf } from '../gateway/auth-config.ts';
import { replayOf, secretFault } from '../gateway/schemes.ts';
import { type Headers, verified } from '../gateway/verify.ts';

/** Signed by openssl: what the code under test computes is never held against itself. An empty key is padded with zeros. */
function openssl(key: string | Buffer, text: string, encoding: 'hex' | 'base64'): string {
  const words = [
    'dgst',
    '-sha256',
    '-mac',
    'HMAC',
    '-macopt',
    `hexkey:${Buffer.from(key).toString('hex') || '00'}`,
    '-binary',
  ];
  return execFileSync('openssl', words, { input: text }).toString(encoding);
}

const now = Date.UTC(2026, 10, 25, 2);
const body = '{"status":"firing","labels":{"namespace":"shop"}}';
const [secret, other] = ['0123456789abcdef-first', '0123456789abcdef-second'];
const [whsec, whsecOther] = ['whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3', 'whsec_enl4d3Z1dHNycXBvbm1sa2ppaGdmZWRj'];
const rawKey = (text: string): Buffer => Buffer.from(text.slice(6), 'base64');

interface Case {
  scheme: Scheme;
  secrets?: [string, string];
  /** The headers that a sender makes who signs `text` at a second. */
  sent(key: string, text: string, second: number): Record<string, string>;
  /** What the signature stands behind, and whether several may stand side by side. */
  header: string;
  prefix: string;
  list?: ' ' | ',';
  timed?: string;
  id?: string;
}

const standard = (name: string): Case => ({
  scheme: { scheme: name === 'svix' ? 'svix' : 'standard-webhooks' },
  secrets: [whsec, whsecOther],
  header: `${name}-signature`, prefix: 'v1,', list: ' ', timed: `${name}-timestamp`, id: `${name}-id`,
  sent: (key, text, second) => ({
    [`${name}-id`]: 'msg_1',
    [`${name}-timestamp`]: `${second}`,
    [`${name}-signature`]: `v1,${openssl(rawKey(key), `msg_1.${second}.${text}`, 'base64')}`,
  }),
}); // prettier-ignore

const cases: Record<string, Case> = {
  'Standard Webhooks': standard('webhook'),
  Svix: standard('svix'),
  Slack: {
    scheme: { scheme: 'slack' }, header: 'x-slack-signature', prefix: 'v0=', timed: 'x-slack-request-timestamp',
    sent: (key, text, second) => ({
      'x-slack-request-timestamp': `${second}`,
      'x-slack-signature': `v0=${openssl(key, `v0:${second}:${text}`, 'hex')}`,
    }),
  },
  PagerDuty: {
    scheme: { scheme: 'pagerduty' }, header: 'x-pagerduty-signature', prefix: 'v1=', list: ',',
    sent: (key, text) => ({ 'x-pagerduty-signature': `v1=${openssl(key, text, 'hex')}` }),
  },
  Grafana: {
    scheme: { scheme: 'grafana', header: 'x-grafana-alerting-signature' }, header: 'x-grafana-alerting-signature', prefix: '',
    sent: (key, text) => ({ 'x-grafana-alerting-signature': openssl(key, text, 'hex') }),
  },
  'Grafana with a time': {
    scheme: { scheme: 'grafana', header: 'x-sig', timestampHeader: 'x-at' }, header: 'x-sig', prefix: '', timed: 'x-at',
    sent: (key, text, second) => ({ 'x-at': `${second}`, 'x-sig': openssl(key, `${second}:${text}`, 'hex') }),
  },
  Rootly: {
    scheme: { scheme: 'rootly' }, header: 'x-rootly-signature', prefix: 'v1=', list: ',', timed: 't=',
    sent: (key, text, second) => ({ 'x-rootly-signature': `t=${second},v1=${openssl(key, `${second}${text}`, 'hex')}` }),
  },
  FireHydrant: {
    scheme: { scheme: 'firehydrant' }, header: 'fh-signature', prefix: '',
    sent: (key, text) => ({ 'fh-signature': openssl(key, text, 'hex') }),
  },
  'the scheme of GitHub, configured': {
    scheme: { scheme: 'hmac', header: 'x-hub-signature-256', prefix: 'sha256=', encoding: 'hex', text: '{body}' },
    header: 'x-hub-signature-256', prefix: 'sha256=', list: ',',
    sent: (key, text) => ({ 'x-hub-signature-256': `sha256=${openssl(key, text, 'hex')}` }),
  },
  'a configured scheme with id and time': {
    scheme: { scheme: 'hmac', header: 'x-sig', prefix: '', encoding: 'base64', timestampHeader: 'x-at', idHeader: 'x-id', text: '{at}|{id}|{body}' },
    header: 'x-sig', prefix: '', list: ',', timed: 'x-at', id: 'x-id',
    sent: (key, text, second) => ({ 'x-at': `${second}`, 'x-id': 'd1', 'x-sig': openssl(key, `${second}|d1|${text}`, 'base64') }),
  },
}; // prettier-ignore

const check = (scheme: Scheme, secrets: string[], headers: Headers, text = body, at = now) =>
  verified(scheme, secrets, headers, Buffer.from(text), at);

describe.each(Object.entries(cases))('%s', (_, one) => {
  const { scheme, secrets: [first, second] = [secret, other], header, prefix, list } = one;
  const headers = one.sent(first, body, now / 1000);
  const value = headers[header] ?? '';
  const signature = value.slice(value.indexOf(prefix) + prefix.length);
  const refusal = (changed: Headers, text = body, at = now, secrets = [first]) => {
    const said = check(scheme, secrets, { ...headers, ...changed }, text, at);
    return said.ok ? 'accepted' : said.why;
  };

  test('what was signed is accepted, with any of the active secrets, and only what is signed is given back', () => {
    const said = { ok: true, ...(one.id && { id: headers[one.id] }), ...(one.timed && { at: now }) };
    expect(check(scheme, [first], headers)).toEqual(said);
    expect(check(scheme, [second, first], headers)).toEqual(said);
    expect(check(scheme, [second], headers)).toEqual({ ok: false, why: 'no secret fits' });
  });

  test('a forged, truncated or longer body is refused', () => {
    for (const text of [body.replace('shop', 'shoq'), body.slice(0, -1), `${body} `, ''])
      expect(refusal({}, text)).toBe('no secret fits');
  });

  test('no signature, an empty one, one of another form, and a header sent twice are refused', () => {
    expect(refusal({ [header]: undefined })).toBe('no such header');
    expect(refusal({ [header]: '' })).toBe('no such header');
    expect(refusal({ [header]: [value, value] })).toBe('malformed header');
    expect(refusal({ [header]: value.repeat(100) })).toBe('malformed header');
    for (const wrong of ['', signature.slice(0, -2), `${signature}00`, `${signature}, ${signature}`, 'ü'.repeat(64)])
      if (!(list === ',' && wrong.includes(', ')))
        expect(refusal({ [header]: value.replace(signature, wrong) })).not.toBe('accepted');
    if (prefix) expect(refusal({ [header]: value.replace(prefix, 'v9=') })).toBe('no signature of this scheme');
  });

  test('without a usable secret nothing is accepted: an empty key would sign for everybody', () => {
    const forged = one.sent(
      secretFault(scheme.scheme, '') && first.startsWith('whsec_') ? 'whsec_' : '',
      body,
      now / 1000,
    );
    expect(refusal(forged, body, now, [''])).toBe('no usable secret');
    expect(refusal({}, body, now, [])).toBe('no usable secret');
  });

  if (list)
    test('several signatures, as while a secret is replaced: one that fits is enough, too many are not read', () => {
      const foreign = one.sent(second, body, now / 1000)[header] ?? '';
      const both = [foreign, value.slice(value.indexOf(prefix))].join(list);
      expect(refusal({ [header]: both })).toBe('accepted');
      expect(refusal({ [header]: foreign })).toBe('no secret fits');
      expect(refusal({ [header]: Array(17).fill('v1').concat(value).join(list) })).toBe('malformed header');
    });

  if (one.timed)
    test('replayed later, dated ahead, or with another time than was signed: refused', () => {
      expect(refusal({}, body, now + 299_000)).toBe('accepted');
      expect(refusal({}, body, now - 299_000)).toBe('accepted');
      expect(refusal({}, body, now + 301_000)).toBe('too old');
      expect(refusal({}, body, now - 301_000)).toBe('from the future');
      const at = (text: string) => one.timed === 't=' ? { [header]: value.replace(/t=\d+/, `t=${text}`) } : { [one.timed ?? '']: text }; // prettier-ignore
      expect(refusal(at(`${now / 1000 + 1}`))).toBe('no secret fits');
      for (const wrong of ['', ' 1', '1e9', '-1', 'NaN', '9'.repeat(13)])
        expect(refusal(at(wrong))).toBe('malformed timestamp');
    });

  if (one.id)
    test('another id than was signed is refused', () => {
      expect(refusal({ [one.id ?? '']: 'msg_2' })).toBe('no secret fits');
      for (const wrong of [undefined, '', 'a b', 'x'.repeat(257), 'a\u0000'])
        expect(refusal({ [one.id ?? '']: wrong })).toBe('malformed id');
    });
});

test("the senders' own signers and published examples are accepted", () => {
  const hook = new Webhook(whsec);
  const headers = { 'webhook-id': 'msg_9', 'webhook-timestamp': `${now / 1000}`, 'webhook-signature': hook.sign('msg_9', new Date(now), body) }; // prettier-ignore
  expect(check({ scheme: 'standard-webhooks' }, [whsec], headers)).toEqual({ ok: true, id: 'msg_9', at: now });

  // Svix, "verifying webhooks manually".
  const svix = { 'svix-id': 'msg_loFOjxBNrRLzqYUf', 'svix-timestamp': '1731705121', 'svix-signature': 'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=' }; // prettier-ignore
  const ping = '{"event_type":"ping","data":{"success":true}}';
  expect(check({ scheme: 'svix' }, ['whsec_plJ3nmyCDGBKInavdOK15jsl'], svix, ping, 1_731_705_121_000).ok).toBe(true);

  // Slack, "verifying requests from Slack".
  const slack = { 'x-slack-request-timestamp': '1531420618', 'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503' }; // prettier-ignore
  const form = 'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c'; // prettier-ignore
  expect(check({ scheme: 'slack' }, ['8f742231b10e8888abcd99yyyzzz85a5'], slack, form, 1_531_420_618_000).ok).toBe(
    true,
  );

  // GitHub, "validating webhook deliveries".
  const github = { 'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' };
  const scheme = cases['the scheme of GitHub, configured']?.scheme as Scheme;
  expect(check(scheme, ["It's a Secret to Everybody"], github, 'Hello, World!').ok).toBe(true);
});

test('Standard Webhooks with ed25519: the public key verifies, another does not, and no public key is taken for an HMAC key', () => {
  const [one, two] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
  const whpk = (pair: typeof one) => `whpk_${Buffer.from(pair.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')}`; // prettier-ignore
  const text = `msg_1.${now / 1000}.${body}`;
  const common = { 'webhook-id': 'msg_1', 'webhook-timestamp': `${now / 1000}` };
  const signed = { ...common, 'webhook-signature': `v1,AAAA v1a,${sign(null, Buffer.from(text), one.privateKey).toString('base64')}` }; // prettier-ignore
  const scheme = { scheme: 'standard-webhooks' } as const;
  expect(check(scheme, [whpk(one)], signed)).toEqual({ ok: true, id: 'msg_1', at: now });
  expect(check(scheme, [whpk(two), whpk(one)], signed).ok).toBe(true);
  expect(check(scheme, [whpk(two)], signed).ok).toBe(false);
  expect(check(scheme, [whpk(one)], signed, `${body} `).ok).toBe(false);
  const forged = openssl(Buffer.from(whpk(one).slice(5), 'base64'), text, 'base64');
  expect(check(scheme, [whpk(one)], { ...common, 'webhook-signature': `v1,${forged}` }).ok).toBe(false);
});

describe('secrets that are sent along', () => {
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  const [login, login2] = ['undrop:0123456789abcdef', 'undrop:fedcba9876543210'];
  const accepted: [string, Scheme, string[], Headers][] = [
    ['bearer', { scheme: 'bearer' }, [other, secret], { authorization: `Bearer ${secret}` }],
    ['bearer in small letters', { scheme: 'bearer' }, [secret], { authorization: `bearer ${secret}` }],
    ['basic', { scheme: 'basic' }, [login2, login], basic(login)],
    ['a header', { scheme: 'header', header: 'x-undrop-token' }, [other, secret], { 'x-undrop-token': secret }],
  ];
  test.each(accepted)('%s: any active one is accepted', (_, scheme, secrets, headers) => {
    expect(check(scheme, secrets, headers)).toEqual({ ok: true });
    expect(check(scheme, secrets.slice(0, -1), headers).ok).toBe(false);
  });

  const refused: [string, Scheme, string[], Headers][] = [
    ['another token', { scheme: 'bearer' }, [secret], { authorization: `Bearer ${other}` }],
    ['its beginning', { scheme: 'bearer' }, [secret], { authorization: `Bearer ${secret.slice(0, -1)}` }],
    ['an empty token', { scheme: 'bearer' }, [secret], { authorization: 'Bearer ' }],
    ['another word', { scheme: 'bearer' }, [secret], { authorization: `Basic ${secret}` }],
    ['no word', { scheme: 'bearer' }, [secret], { authorization: secret }],
    ['two tokens', { scheme: 'bearer' }, [secret], { authorization: `Bearer ${secret} ${secret}` }],
    ['no header', { scheme: 'bearer' }, [secret], {}],
    ['another password', { scheme: 'basic' }, [login], basic(login2)],
    ['no password', { scheme: 'basic' }, [login], basic('undrop:')],
    ['plain text', { scheme: 'basic' }, [login], { authorization: `Basic ${login}` }],
    ['an empty header', { scheme: 'header', header: 'x-t' }, [secret], { 'x-t': '' }],
    ['another header', { scheme: 'header', header: 'x-t' }, [secret], { 'x-u': secret }],
    ['a header twice', { scheme: 'header', header: 'x-t' }, [secret], { 'x-t': [secret, secret] }],
  ];
  test.each(refused)('%s is refused', (_, scheme, secrets, headers) => {
    expect(check(scheme, secrets, headers).ok).toBe(false);
  });
});

describe('configuration', () => {
  const file = { file: '/run/secrets/a' };
  test.each([
    ['a secret that stands in it', { scheme: 'bearer', secrets: [secret] }, /file: PATH/],
    ['no secret', { scheme: 'bearer', secrets: [] }, /secrets/],
    ['no scheme that is known', { scheme: 'none', secrets: [file] }, /scheme/],
    [
      'a body that is not signed',
      { scheme: 'hmac', secrets: [file], header: 'x', text: '{at}' },
      /body must be signed/,
    ],
    [
      'a time that is not signed',
      { scheme: 'hmac', secrets: [file], header: 'x', timestampHeader: 'y' },
      /belong together/,
    ],
    ['an id that is not signed', { scheme: 'hmac', secrets: [file], header: 'x', idHeader: 'y' }, /belong together/],
    ['an unknown field', { scheme: 'slack', secrets: [file], header: 'x' }, /header/],
  ])('%s is refused', (_, value, why) => {
    const said = Auth.safeParse(value);
    expect(said.success).toBe(false);
    expect(JSON.stringify(said.error?.issues)).toMatch(why);
    expect(JSON.stringify(said.error?.issues)).not.toContain(secret);
  });

  const auth = (scheme: string): Auth => Auth.parse({ scheme, secrets: [{ file: 'a' }, { env: 'B' }] });
  const reader = (a: string, b?: string) => ({ file: () => a, env: () => b });

  test('secrets are read from files and variables, without the line end that editors leave', () => {
    expect(secretsOf(auth('slack'), reader(`${secret}\n`, other), secretFault)).toEqual([secret, other]);
  });

  test.each([
    ['slack', 'sh0rt', secret, /file a cannot be used: it is shorter/],
    ['slack', secret, undefined, /variable B cannot be used: it is empty/],
    ['standard-webhooks', whsec, 'whsec_not base64 at all!', /variable B cannot be used: it is not base64/],
    ['standard-webhooks', whsec, 'whsk_MDEyMzQ1Njc4OWFiY2RlZg==', /private key/],
    ['standard-webhooks', whsec, 'whpk_MDEyMzQ1Njc4OWFiY2RlZg==', /32 bytes/],
    ['basic', 'undrop:0123456789abcdef', '0123456789abcdef', /not USER:PASSWORD/],
  ])('%s: a secret that cannot be used is named by its place, not by its content', (scheme, a, b, why) => {
    const read = () => secretsOf(auth(scheme), reader(a, b), secretFault);
    expect(read).toThrow(SecretError);
    expect(read).toThrow(why);
    for (const text of [a, b ?? secret]) expect(read).not.toThrow(new RegExp(text.replace(/[^a-z0-9]/gi, '.')));
  });

  test('what a file system says of a missing file is told by its code', () => {
    const file = () => { throw Object.assign(new Error(`ENOENT ${secret}`), { code: 'ENOENT' }); }; // prettier-ignore
    expect(() => secretsOf(auth('slack'), { file, env: () => secret }, secretFault)).toThrow(
      'file a cannot be read: ENOENT',
    );
  });

  test('replays are found by time where the time is signed', () => {
    const by = Object.fromEntries(Object.entries(cases).map(([name, { scheme }]) => [name, replayOf(scheme)]));
    expect(by).toEqual(Object.fromEntries(Object.entries(cases).map(([name, one]) => [name, one.timed ? 'timestamp' : 'store']))); // prettier-ignore
    expect(replayOf({ scheme: 'bearer' })).toBe('store');
  });
});
