import { describe, expect, test } from '@jest/globals';
import type { Captured, Flow, Seen } from '../domain/captures.ts';
import { matched, windowsOf } from '../domain/matching.ts';
import { joinCaptures } from '../domain/passive.ts';
import { addProbes } from '../domain/probe-result.ts';
import type { Path, Place } from '../domain/target.ts';

const place = (name: string, role: Place['role'], address: string): Place => ({ name, role, node: name, address, nodeAddress: '' }); // prettier-ignore
const service = { name: 'dns', address: '10.96.0.10', port: 53, probe: 'none' as const };
const path = (...endpoints: string[]): Path => ({
  text: 'a->dns',
  places: [place('a', 'sender', '10.1.0.9'), place('b', 'receiver', '10.1.0.2')],
  service: { ...service, endpoints: endpoints.map((address) => ({ address, port: 53 })) },
});
const flow = (client: string, clientPort: number, server: string): Flow => ({ client, clientPort, server, serverPort: 53 }); // prettier-ignore
const asked = flow('10.1.0.9', 4000, '10.96.0.10');
const there = flow('10.1.0.9', 4000, '10.1.0.2');
/** Datagrams in the only window, by their hashes. */
const seen = (hashes: string, index = 0, part = 2): Seen[] =>
  Array.from(hashes).map((hash) => ({ flow: index, part, hash }));
const captured = (flows: Flow[], requests: Seen[], replies: Seen[] = []): Captured => ({ flows, requests, replies, incomplete: 0 }); // prettier-ignore
const joined = (sender: Captured, receiver: Captured, on = path('10.1.0.2')) =>
  addProbes(joinCaptures(on, { sender, receivers: { b: receiver }, windows: 1 }, []));

describe('what was sent and what arrived', () => {
  test('is lost where its payload never came, in each direction by itself', () => {
    const found = joined(captured([asked], seen('abcd'), seen('x')), captured([there], seen('abc'), seen('xy')));
    expect(found).toMatchObject({ sent: 6, requestLost: 1, replyLost: 1, lost: 2, watched: { requests: 4, replies: 2 } }); // prettier-ignore
  });

  test('is told apart by flow: another client’s equal payload is no arrival of ours', () => {
    const other = flow('10.1.0.8', 4000, '10.1.0.2');
    const found = joined(captured([asked], seen('aa')), captured([there, other], [...seen('a'), ...seen('aaa', 1)]));
    expect(found).toMatchObject({ sent: 2, requestLost: 1 });
  });

  test('is found under the address to which its own was translated', () => {
    const translated = flow('10.0.0.1', 61_000, '10.1.0.2');
    const found = joined(captured([asked], seen('abc')), captured([translated], seen('ab')));
    expect(found).toMatchObject({ sent: 3, requestLost: 1 });
  });

  test('is left out where it may have gone to an endpoint that nobody watched', () => {
    const found = joined(captured([asked], seen('abc')), captured([], []), path('10.1.0.2', '10.1.0.3'));
    expect(found).toMatchObject({ sent: 0, lost: 0 });
    expect(found.watched?.leftOut).toEqual({ 'to endpoints that are not watched, as far as is known': 3 });
  });

  test('answers from the endpoint’s own address are lost, and strange', () => {
    const sender = captured([asked, there], seen('ab'), seen('xy', 1));
    expect(joined(sender, captured([there], seen('ab'), seen('xy')))).toMatchObject({ strange: 2, requestLost: 0, replyLost: 2 }); // prettier-ignore
  });
});

test('equal payloads that are lost early are lost early: later arrivals belong to what was sent later', () => {
  const marks = (...parts: number[]) => parts.map((part) => ({ key: 'same', part }));
  expect(matched(marks(2, 2, 4, 4), marks(4, 4))).toEqual([false, false, true, true]);
  expect(matched(marks(2, 4), marks(-1, 3))).toEqual([true, false]);
});

test('what is sent while an edge is sampled counts half before it and half after it', () => {
  const parts = (...all: number[]): Seen[] => all.map((part) => ({ flow: 0, part, hash: '' }));
  expect(windowsOf(parts(0, 1, 1, 2, 3, 3, 4, 5, 5, 6), 2)).toEqual([
    { window: -1, edge: false },
    { window: -1, edge: true },
    { window: 0, edge: false },
    { window: 0, edge: false },
    { window: 0, edge: false },
    { window: 1, edge: false },
    { window: 1, edge: false },
    { window: 1, edge: false },
    { window: -1, edge: true },
    { window: -1, edge: false },
  ]);
});
