import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scheme } from '../gateway/auth-config.ts';
import { taken } from '../gateway/intake.ts';
import { type KindName, normalised } from '../gateway/kinds/index.ts';
import { Mapping } from '../gateway/kinds/mapping.ts';
import { readJson } from '../gateway/json.ts';
import { Source } from '../gateway/source-config.ts';
import type { Headers } from '../gateway/verify.ts';
import { root } from './support/imports.ts';

const folder = join(root, 'test/payloads');
const whsec = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3';
const signedAt = Date.UTC(2026, 10, 25, 2);

interface Request {
  headers: Headers;
  body: Buffer;
}

/** A request as a sender's own library put it on the wire: test/payloads/record writes them. */
function recorded(name: string): Request {
  const bytes = readFileSync(join(folder, `${name}.http`));
  const end = bytes.indexOf('\n\n');
  const lines = bytes.subarray(0, end).toString('latin1').split('\n').slice(1);
  const headers = lines.map((line) => {
    const [, key = '', value = ''] = /^([^:]+): (.*)$/.exec(line) ?? [];
    return [key.toLowerCase(), value] as const;
  });
  return { headers: Object.fromEntries(headers), body: bytes.subarray(end + 2) };
}

const took = (kind: KindName, scheme: Scheme, secret: string, { headers, body }: Request, nowMs = signedAt) =>
  taken('lab', Source.parse({ kind, auth: { ...scheme, secrets: [{ env: 'A' }] } }), { secrets: [secret], names: [] }, headers, body, nowMs); // prettier-ignore

describe("CloudEvents, sent by the project's own Go SDK", () => {
  const token = '0123456789abcdef';
  const read = (name: string) => {
    const { headers, body } = recorded(`cloudevents-${name}`);
    return took('cloudevents', { scheme: 'bearer' }, token, { headers: { ...headers, authorization: `Bearer ${token}` }, body }); // prettier-ignore
  };
  const firing = {
    source: 'lab', problem: 'shop/echo', status: 'firing', title: 'UDP loss: 3 % of the queries', severity: 'critical',
    at: '2026-11-25T02:00:00.000Z', labels: { namespace: 'shop', service: 'echo' }, annotations: {}, links: [],
  }; // prettier-ignore

  test('binary, structured, and with data that it was given as bytes: one event, one delivery', () => {
    const binary = read('binary');
    expect(binary).toMatchObject({ ok: true, alerts: [firing] });
    expect(read('structured')).toEqual(binary);
    expect(read('bytes')).toEqual(binary);
  });

  test('a mapping finds the data under one name, however it was sent', () => {
    const mapping = Mapping.parse({ problem: 'body.subject', status: "'firing'", title: 'body.data.title' });
    for (const { headers, body } of ['binary', 'structured', 'bytes'].map((name) => recorded(`cloudevents-${name}`)))
      expect(normalised('lab', 'cloudevents', readJson(body), headers, mapping).alerts).toMatchObject([{ title: firing.title }]); // prettier-ignore
  });

  test('a batch is each of its events', () => {
    expect(read('batch')).toMatchObject({ ok: true, alerts: [firing, { ...firing, status: 'resolved' }] });
  });
});

describe('what others sign', () => {
  const broken = ({ headers, body }: Request): Request => ({ headers, body: Buffer.concat([body, Buffer.from(' ')]) });

  test.each<[string, Scheme]>([
    ['standard-webhook', { scheme: 'standard-webhooks' }],
    ['standard-svix', { scheme: 'svix' }],
  ])('%s: a Go library of the scheme signs, undrop verifies and reads', (name, scheme) => {
    const request = recorded(name);
    const alerts = [
      { problem: 'udp-loss/shop/echo', status: 'firing', labels: { namespace: 'shop', service: 'echo' } },
    ];
    expect(took('standard', scheme, whsec, request)).toMatchObject({ ok: true, alerts });
    expect(took('standard', scheme, whsec, broken(request))).toEqual({ ok: false, why: 'no secret fits' });
    expect(took('standard', scheme, whsec, request, signedAt + 301_000)).toEqual({ ok: false, why: 'too old' });
  });

  test('PagerDuty: the body, secret and signature that its Go client is tested with', () => {
    const secret = 'lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK';
    const request = {
      headers: { 'x-pagerduty-signature': 'v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd' },
      body: readFileSync(join(folder, 'pagerduty-go-client.json')),
    };
    const said = took('pagerduty', { scheme: 'pagerduty' }, secret, request);
    const labels = { pagerduty_service: 'API Service', pagerduty_service_id: 'PF9KMXH', pagerduty_urgency: 'high' };
    expect(said).toMatchObject({ ok: true, alerts: [{ problem: 'PGR0VU2', status: 'firing', title: 'A little bump in the road', severity: 'P1', at: '2021-04-26T17:36:27.458Z', labels }] }); // prettier-ignore
    expect(took('pagerduty', { scheme: 'pagerduty' }, secret, broken(request))).toEqual({ ok: false, why: 'no secret fits' }); // prettier-ignore
  });
});
