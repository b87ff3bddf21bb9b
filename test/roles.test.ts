import { describe, expect, test } from '@jest/globals';
import { fitsEnds } from '../domain/globs.ts';
import { RoleBinding, everything, may, mayAll } from '../gateway/people/roles.ts';

const alice = { name: 'alice', kind: 'person', groups: ['sre'] } as const;
const bound = (...targets: string[]): RoleBinding[] => [
  RoleBinding.parse({ role: 'approve', who: ['alice'], targets }),
];

describe('which targets patterns fit', () => {
  test.each<[string[], string, boolean]>([
    [['*'], 'pod/shop/web->service/db/main', true],
    [['*'], 'client->server', true],
    [['*'], '', true],
    // Of a path both ends are to be granted: neither end stands for the other.
    [['pod/shop/*'], 'pod/shop/web->pod/shop/echo-1', true],
    [['pod/shop/*'], 'pod/shop/web -> pod/shop/echo-1', true],
    [['pod/shop/*'], 'pod/shop/web->service/db/main', false],
    [['*/shop/*'], 'pod/shop/web->service/db/main', false],
    [['service/db/*'], 'pod/shop/web->service/db/main', false],
    [['*/main'], 'pod/shop/web->service/db/main', false],
    [['pod/shop/*', 'service/db/*'], 'pod/shop/web->service/db/main', true],
    [['pod/shop/*', 'service/db/*'], 'node/n1->service/db/main', false],
    [['service/shop/*'], 'service/shop/echo:9000@echo-1', true],
    [['service/shop/*'], 'service/shopping/echo', false],
    [['service/*'], 'service/shop/echo', true],
    // One with an arrow is for paths, each side for its end.
    [['node/*->service/shop/*'], 'node/n1->service/shop/echo', true],
    [['node/*->service/shop/*'], 'service/shop/echo', false],
    [['node/*->service/shop/*'], 'node/n1->service/db/main', false],
    [['node/*->service/shop/*'], 'pod/shop/web->service/shop/echo', false],
    [['node/* -> *'], 'node/n1->service/db/main', true],
    [['*->service/shop/*'], 'pod/x/y->service/shop/echo', true],
    [['*->*'], 'service/shop/echo', false],
    // Sides of two patterns make no third.
    [['node/n1->service/shop/*', 'node/n2->service/db/*'], 'node/n1->service/db/main', false],
    [['node/n1->*', 'service/db/*'], 'node/n2->service/db/main', false],
    [['h1->*'], 'h1->h2', true],
    [['h1->*'], 'h1->h2->h3', false],
    [[], 'service/shop/echo', false],
  ])('%j and %s: %s', (globs, target, fits) => expect(fitsEnds(globs, target)).toBe(fits));
});

describe('roles', () => {
  const path = 'pod/shop/web->service/db/main';

  test('for one end of a path give none for the other', () => {
    expect(may(bound('pod/shop/*'), alice, 'approve', path)).toBe(false);
    expect(may(bound('service/db/*'), alice, 'view', path)).toBe(false);
    expect(may(bound('pod/shop/*', 'service/db/*'), alice, 'approve', path)).toBe(true);
  });

  test('of two bindings do not join: each role is for whole targets', () => {
    expect(may([...bound('pod/shop/*'), ...bound('service/db/*')], alice, 'view', path)).toBe(false);
  });

  test('for all targets are of bindings to all of them', () => {
    expect(may(bound('*'), alice, 'approve', everything)).toBe(true);
    for (const some of ['*/*', '*->*', 'service/*']) expect(may(bound(some), alice, 'view', everything)).toBe(false);
    expect(mayAll(bound('service/*'), alice, 'view', [])).toBe(false);
    expect(mayAll(bound('service/*'), alice, 'view', ['service/a/b', path])).toBe(false);
  });
});
