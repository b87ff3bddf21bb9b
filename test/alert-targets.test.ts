import { describe, expect, test } from '@jest/globals';
import { alertOf } from '../domain/alert.ts';
import { aim, Targets } from '../gateway/targets.ts';

const alert = (labels: Record<string, string>, more: object = {}) => {
  const made = alertOf('lab', { problem: 'p', status: 'firing', labels, ...more });
  if (!made) throw new Error('no alert');
  return made;
};
const allow = ['service/shop/*', 'node/*', 'undrop/n1'];
const usual = Targets.parse({ allow, fromNode: 'service/shop/dns:53' });

describe('the usual labels', () => {
  test.each([
    [{ namespace: 'shop', service: 'echo', node: 'n1' }, 'service/shop/echo'],
    [{ node: 'n1' }, 'node/n1->service/shop/dns:53'],
    [
      { undrop_target: 'undrop/n1 -> service/shop/echo:9000@echo-1', node: 'n2' },
      'undrop/n1->service/shop/echo:9000@echo-1',
    ],
    [{ undrop_target: 'service/shop/echo' }, 'service/shop/echo'],
  ])('%j: %s', (labels, target) => expect(aim(usual, alert(labels))).toEqual({ target }));

  test.each([
    [{}, /neither undrop_target, namespace and service, nor node/],
    [{ namespace: 'shop' }, /neither/],
    [{ namespace: 'kube-system', service: 'dns' }, /service\/kube-system\/dns is not among/],
    [{ undrop_target: 'undrop/n2->service/shop/echo' }, /undrop\/n2 is not among/],
    [{ undrop_target: 'pod/shop/web->service/shop/echo' }, /pod\/shop\/web is not among/],
    [{ undrop_target: 'node/n1->service/bank/vault' }, /service\/bank\/vault is not among/],
    [{ undrop_target: 'node/n1' }, /one end only/],
    [{ undrop_target: 'a->b->c' }, /more than one ->/],
    [{ undrop_target: '' }, /no end of a path/],
    [{ undrop_target: 'service/shop/echo;id' }, /no end of a path/],
    [{ undrop_target: 'service/shop/../bank' }, /no end|not among/],
    [{ namespace: 'shop', service: 'echo:9000@echo-1' }, /neither/],
    [{ namespace: 'shop/echo->node/n1', service: 'x' }, /neither/],
    [{ namespace: 'shop', service: '$(id)' }, /neither/],
    [{ namespace: 'shop', service: '*' }, /neither/],
    [{ node: '10.0.0.1:9100' }, /neither/],
    [{ node: 'n1->service' }, /neither/],
  ])('%j: none, and why', (labels: Record<string, string>, why) => {
    expect(aim(usual, alert(labels))).toEqual({ none: expect.stringMatching(why) });
  });

  test('without an allow list nothing is aimed at, and a node alone needs to know where to', () => {
    expect(aim(Targets.parse({}), alert({ namespace: 'shop', service: 'echo' }))).toEqual({ none: expect.stringMatching(/not among/) }); // prettier-ignore
    expect(aim(Targets.parse({ allow }), alert({ node: 'n1' }))).toEqual({ none: expect.stringMatching(/fromNode/) });
  });
});

describe('rules', () => {
  const rules = [
    { when: "source == 'lab' && labels.alertname == 'DnsLoss'", target: "'node/' + labels.host + '->service/shop/' + labels.app" }, // prettier-ignore
    { when: "severity == 'critical' && title.contains('loss')", target: "'service/shop/' + annotations.svc" },
    { when: "'never' in labels", target: "'service/shop/never'" },
  ];
  const targets = Targets.parse({ rules, allow });

  test('the first that fits decides; an alert that lacks what it asks for is not one of it', () => {
    expect(aim(targets, alert({ alertname: 'DnsLoss', host: 'n1', app: 'dns' }))).toEqual({
      target: 'node/n1->service/shop/dns',
    });
    expect(aim(targets, alert({}, { severity: 'critical', title: 'udp loss', annotations: { svc: 'echo' } }))).toEqual({ target: 'service/shop/echo' }); // prettier-ignore
    expect(aim(targets, alert({ namespace: 'shop', service: 'echo' }))).toEqual({ target: 'service/shop/echo' });
  });

  test.each([
    'dns:53@pod-1', 'dns->node/n2', 'dns/..', '../../bank', "' + labels.host + '", '$(reboot)', 'a b', 'DNS', '', '\u001b[31mdns', '-dns', 'x'.repeat(300),
  ])('a value that is no plain name never gets into a target: %j', (app) => {
    const said = aim(targets, alert({ alertname: 'DnsLoss', host: 'n1', app }));
    // What is left of an escape is the plain name that people see.
    if (app.startsWith('\u001b')) expect(said).toEqual({ target: 'node/n1->service/shop/dns' });
    else expect(said).toEqual({ none: expect.stringMatching(/No such key: app/) });
  }); // prettier-ignore

  test('a rule that fits and fails is no reason to try another', () => {
    expect(aim(targets, alert({ alertname: 'DnsLoss', namespace: 'shop', service: 'echo' }))).toEqual({ none: expect.stringMatching(/rule's target/) }); // prettier-ignore
  });

  test('a rule may give text only, and what it gives is checked like any other', () => {
    const of = (target: string) => aim(Targets.parse({ allow, rules: [{ when: 'true', target }] }), alert({ a: 'b' }));
    expect(of('1 + 1')).toEqual({ none: expect.stringMatching(/not a text/) });
    expect(of("'service/bank/vault'")).toEqual({ none: expect.stringMatching(/not among/) });
    expect(of("labels.a + '->' + labels.a")).toEqual({ none: expect.stringMatching(/no end of a path/) });
  });

  test('what a rule joins from many labels is no target where it is too long for one, and the reason names it', () => {
    const name = 'x'.repeat(240);
    const labels = { a: name, b: name, c: name };
    const of = (target: string) => aim(Targets.parse({ allow: ['node/*', 'service/*/*'], rules: [{ when: 'true', target }] }), alert(labels)); // prettier-ignore
    expect(of("'node/' + labels.a + '->service/shop/' + labels.b")).toEqual({ target: `node/${name}->service/shop/${name}` }); // prettier-ignore
    expect(of("'node/' + labels.a + labels.b + '->service/shop/' + labels.c")).toEqual({ none: expect.stringMatching(/^a target of 740 characters, more than 500: node\/x+…$/) }); // prettier-ignore
  });

  test('are checked when the configuration is read', () => {
    for (const rule of [{ when: 'labels.', target: "'x'" }, { when: 'lables.a', target: "'x'" }, { when: 'true' }])
      expect(Targets.safeParse({ rules: [rule] }).success).toBe(false);
    for (const glob of ['service/(shop)/x', '**//', 'service/shop/a b', '.*+', '']) expect(Targets.safeParse({ allow: [glob] }).success).toBe(false); // prettier-ignore
  });
});

test('a star stands for a part of one name, and a dot for a dot', () => {
  const of = (glob: string, service: string) =>
    'target' in aim(Targets.parse({ allow: [glob] }), alert({ namespace: 'shop', service }));
  expect(of('service/shop/web-*', 'web-1')).toBe(true);
  expect(of('service/*/*', 'web')).toBe(true);
  expect(of('service/shop/web-*', 'xweb-1')).toBe(false);
  expect(of('service/*', 'web')).toBe(false);
  expect(of('service/shop/a.b', 'axb')).toBe(false);
});

test('names of an inventory are targets where the configuration says so', () => {
  const targets = Targets.parse({ ends: 'inventory', allow: ['h*', 'p2'] });
  expect(aim(targets, alert({ undrop_target: 'h1->p2' }))).toEqual({ target: 'h1->p2' });
  for (const wrong of ['h1', 'h1->p3', 'h1->p2->p2', 'h1->p2;id', 'h1 x->p2', 'service/shop/echo'])
    expect(aim(targets, alert({ undrop_target: wrong }))).toHaveProperty('none');
  expect(aim(usual, alert({ undrop_target: 'h1->p2' }))).toHaveProperty('none');
});
