import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Session } from '../cli/session.ts';
import type { DiagnoseResult } from '../domain/runs.ts';
import type { Conclusion } from '../domain/verdict.ts';
import { inLab, labInventory } from '../lab/lab.ts';
import { real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { diagnosed } from './support/road.ts';
import { until } from './support/until.ts';

const lab = 'kubernetes';
let road: LabRoad;
let session: Session;

const passively = (target: string): Promise<DiagnoseResult> =>
  diagnosed(session, target, 'alert', { passive: true, windowMs: 5000 });
const conclusionOf = ({ report }: DiagnoseResult): Conclusion =>
  (JSON.parse(readFileSync(join(report, 'report.json'), 'utf8')) as { conclusion: Conclusion }).conclusion;

/**
 * Users’ traffic of a pod, until `reap users`. Its flows have their entries before anything is broken; of sixteen each
 * endpoint has some, while five all lead to one of the two once in sixteen times.
 */
const users = (): Promise<string> =>
  inLab(lab, 'spawn users client python3 -I -c "$(cat "$HERE/../netns/users.py")" $SERVICE 9000 --ports 16; until_ok 15 sh -c "$(echo \'[ $(nsenter -t $1 -n conntrack -L -p udp --orig-dst 10.96.0.100 2>/dev/null | grep -c ASSURED) -ge 16 ]\')" sh "$(machine_pid n1)"', 'users'); // prettier-ignore

/** What undrop has made in the cluster, ever since it is up: events outlive the objects. */
const made = async (): Promise<string> =>
  (await inLab(lab, "kubectl get events -n undrop -o jsonpath='{range .items[*]}{.involvedObject.kind}/{.involvedObject.name}{\"\\n\"}{end}'", 'events')) // prettier-ignore
    .split('\n')
    .filter((name) => /^(Job|Pod)\/undrop-(sender|agent-[0-9a-f]{8})/.test(name))
    .join('\n');

real(
  'ip',
  'iptables',
  'conntrack',
)('users’ traffic of a real cluster that is watched', () => {
  beforeAll(async () => {
    road = new LabRoad('kubernetes');
    session = await road.begin(labInventory(lab));
    await users();
  }, 180_000);
  afterEach(() => road.heal(), 60_000);
  afterAll(() => road.close(), 60_000);

  test('a Service alone: its client is found by its flows, and a rule that drops a third is the cause', async () => {
    await road.breaks('k8s-random-drop');
    const result = await passively('service/shop/echo');
    expect({ says: result.says, roots: result.roots }).toMatchObject({
      roots: [{ cause: 'HOST-FIREWALL', place: 'n2' }],
    });
    expect(result.path.text).toBe('pod/shop/client->service/shop/echo');
    expect(result.survey?.find(({ target }) => target === result.path.text)).toMatchObject({ passive: true, sent: 0 });
    expect(await made()).toBe('');
  }, 90_000);

  test('kube-proxy frozen while an endpoint is replaced: the flow that it left behind is enough to prove it', async () => {
    await road.breaks('k8s-proxy-frozen');
    const result = await passively('pod/shop/client->service/shop/echo');
    expect(result.roots).toEqual([{ cause: 'KP-DOWN', place: 'n1' }]);
    expect(conclusionOf(result).accounts[0]?.explained.map(({ cause }) => cause).toSorted()).toEqual(['CT-STALE-EP', 'KP-DOWN']); // prettier-ignore
  }, 90_000);

  test('scaled to zero: all that users send goes by entries of the last endpoints', async () => {
    await road.breaks('k8s-scaled-to-zero');
    const result = await passively('pod/shop/client->service/shop/echo');
    expect({ says: result.says, roots: result.roots }).toMatchObject({
      roots: [{ cause: 'CT-STALE-ZERO-EP', place: 'n1' }],
    });
    expect(result.kind).toBe('explained');
  }, 120_000);

  test('slow readers: what came to their interfaces and was not read is theirs', async () => {
    await road.breaks('k8s-slow-reader');
    await inLab(lab, 'spawn users client python3 -I -c "$(cat "$HERE/../netns/users.py")" $SERVICE 9000 --rate 900 --ports 10', 'more users'); // prettier-ignore
    const result = await passively('pod/shop/client->service/shop/echo');
    expect([...new Set(result.roots.map(({ cause }) => cause))]).toEqual(['SOCK-RCVBUF']);
    await users();
  }, 120_000);

  test('no agent is made where a node has none: the place is named as unseen, and no pod of undrop’s own is sent from', async () => {
    const agents = (word: string): Promise<string> =>
      inLab(lab, `kubectl -n undrop patch daemonset undrop-agent --type=merge -p '{"spec":{"template":{"spec":{"nodeSelector":${word}}}}}'`, 'agents'); // prettier-ignore
    const onN2 = (): Promise<string> =>
      inLab(lab, 'kubectl -n undrop get pods -l app.kubernetes.io/component=agent --field-selector spec.nodeName=n2 -o name', 'agents'); // prettier-ignore
    await agents('{"kubernetes.io/hostname":"n1"}');
    try {
      await until('n2 has no agent', async () => (await onN2()).trim() === '', 30_000);
      const result = await passively('pod/shop/client->service/shop/echo');
      expect(conclusionOf(result).unseen).toMatchObject({ n2: expect.stringContaining('n2 has no agent') });
      await expect(passively('undrop/n1->service/shop/echo')).rejects.toThrow('--passive makes none');
      expect(await made()).toBe('');
    } finally {
      await agents('{"kubernetes.io/hostname":null}');
    }
  }, 120_000);
});
