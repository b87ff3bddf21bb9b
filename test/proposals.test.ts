import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { editSysctl, editYaml } from '../domain/edit.ts';
import { lineDiff } from '../domain/line-diff.ts';
import { type Marks, ownerOf } from '../domain/owner.ts';
import { proposedPatch } from '../domain/proposal.ts';

const config = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
conntrack:
  maxPerCore: 32768 # by the cores
  min: 131072
  # never more
  tcpCloseWaitTimeout: null
kind: KubeProxyConfiguration
mode: ""
`;

describe('an edit leaves all else as it is', () => {
  test.each([
    ['a number in a block', config, { 'conntrack.min': 1_048_576 }, ['conntrack.min: 131072 -> 1048576'], config.replace('131072', '1048576')],
    ['null', config, { 'conntrack.tcpCloseWaitTimeout': '1h' }, ['conntrack.tcpCloseWaitTimeout: none -> 1h'], config.replace('null', '1h')],
    ['nothing after the colon', 'a:\n  b:\nc: 1\n', { 'a.b': 5 }, ['a.b: none -> 5'], 'a:\n  b: 5\nc: 1\n'],
    ['a field that is not there', config, { 'conntrack.max': 7 }, ['conntrack.max: none -> 7'], config.replace('  maxPerCore', '  max: 7\n  maxPerCore')],
    ['a map that is not there', 'kind: x\n', { 'conntrack.min': 7 }, ['conntrack.min: none -> 7'], 'conntrack: { min: 7 }\nkind: x\n'],
    ['a map in braces', 'conntrack: { maxPerCore: 0, min: 0 }\n', { 'conntrack.min': 7 }, ['conntrack.min: 0 -> 7'], 'conntrack: { maxPerCore: 0, min: 7 }\n'],
    ['JSON on one line', '{"Backend": {"Type": "vxlan"}}', { 'Backend.MTU': 1350 }, ['Backend.MTU: none -> 1350'], '{"Backend": {"MTU": 1350, "Type": "vxlan"}}'],
    ['JSON of many lines', '{\n  "Backend": {\n    "Type": "vxlan"\n  }\n}', { 'Backend.MTU': 1350 }, ['Backend.MTU: none -> 1350'], '{\n  "Backend": {\n    "MTU": 1350,\n    "Type": "vxlan"\n  }\n}'],
    ['those of a list that have it', '{"plugins": [{"mtu": 1450, "a": 1}, {"b": 2}]}', { 'plugins.*.mtu': 1350 }, ['plugins.0.mtu: 1450 -> 1350'], '{"plugins": [{"mtu": 1350, "a": 1}, {"b": 2}]}'],
    ['a text stays one', 'mtu: "1440"\n', { mtu: 1350 }, ['mtu: 1440 -> 1350'], 'mtu: "1350"\n'],
  ])('%s', (_, text, sets, fields, after) => {
    const edited = editYaml(text, sets as Record<string, number>);
    expect(edited?.fields.map(({ field, from, to }) => `${field}: ${from} -> ${to}`)).toEqual(fields);
    expect(edited?.text).toBe(after);
    expect(() => parse(after)).not.toThrow();
  }); // prettier-ignore

  test.each([
    ['no document', 'a: 1\nb: [', { a: 2 }],
    ['a list', '- 1\n', { a: 1 }],
    ['a list that no element fits', '{"plugins": [{"type": "portmap"}]}', { 'plugins.*.mtu': 1 }],
    ['a value where a map should be', 'a: 1\n', { 'a.b': 1 }],
    ['a map where a value should be', 'a: { b: 1 }\n', { a: 1 }],
  ])('and none where there is nothing to edit: %s', (_, text, sets) => {
    expect(editYaml(text, sets as Record<string, number>)).toBeUndefined();
  });

  test('a file of sysctl.d', () => {
    const text = '# set by hand\nnet.netfilter.nf_conntrack_max=65536\nnet/netfilter/nf_conntrack_max = 1\nvm.swappiness = 1\n';
    expect(editSysctl(text, { 'net.netfilter.nf_conntrack_max': 262144 })).toEqual({
      text: '# set by hand\nnet.netfilter.nf_conntrack_max=262144\nnet/netfilter/nf_conntrack_max = 262144\nvm.swappiness = 1\n',
      fields: [
        { field: 'net.netfilter.nf_conntrack_max', from: '65536', to: '262144' },
        { field: 'net/netfilter/nf_conntrack_max', from: '1', to: '262144' },
      ],
    });
    expect(editSysctl('# net.netfilter.nf_conntrack_max = 1\n', { 'net.netfilter.nf_conntrack_max': 2 })).toBeUndefined();
  }); // prettier-ignore
});

test('a diff has three lines around each difference, and joins those that are near', () => {
  const before = Array.from({ length: 30 }, (_, index) => `line ${index + 1}`);
  const after = before.with(9, 'ten').with(12, 'thirteen').toSpliced(25, 1);
  expect(lineDiff('f', before.join('\n'), after.join('\n')).split('\n')).toEqual([
    '--- f', '+++ f',
    '@@ -7,10 +7,10 @@', ' line 7', ' line 8', ' line 9', '-line 10', '+ten', ' line 11', ' line 12', '-line 13', '+thirteen', ' line 14', ' line 15', ' line 16',
    '@@ -23,7 +23,6 @@', ' line 23', ' line 24', ' line 25', '-line 26', ' line 27', ' line 28', ' line 29',
  ]); // prettier-ignore
  expect(lineDiff('f', 'a', 'a')).toBe('');
});

describe('who owns an object', () => {
  const managed = (manager: string, fields: object): NonNullable<Marks['managedFields']> => [{ manager, operation: 'Update', fieldsV1: fields }]; // prettier-ignore
  test.each<[string, Marks, string, RegExp]>([
    ['Argo CD by its label', { labels: { 'argocd.argoproj.io/instance': 'shop' } }, 'Argo CD', /application shop\) undoes a kubectl patch.*pull request/],
    ['Argo CD by what it tracks', { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/echo' } }, 'Argo CD', /application shop\)/],
    ['Argo CD by its manager', { managedFields: managed('argocd-controller', {}) }, 'Argo CD', /undoes/],
    ['Flux by a Kustomization', { labels: { 'kustomize.toolkit.fluxcd.io/name': 'apps' } }, 'Flux', /Kustomization apps\) undoes/],
    ['Flux by a HelmRelease', { labels: { 'helm.toolkit.fluxcd.io/name': 'echo', 'app.kubernetes.io/managed-by': 'Helm' } }, 'Flux', /HelmRelease echo\)/],
    ['Helm', { labels: { 'app.kubernetes.io/managed-by': 'Helm' }, annotations: { 'meta.helm.sh/release-name': 'echo' } }, 'Helm', /release echo writes it again/],
    ['k3s', { annotations: { 'objectset.rio.cattle.io/id': '' } }, 'k3s', /manifests folder/],
    ['a static pod', { annotations: { 'kubernetes.io/config.mirror': 'x' } }, 'static pod', /file in the manifests folder/],
    ['a controller', { ownerReferences: [{ kind: 'DaemonSet', name: 'kube-proxy', controller: true }] }, 'DaemonSet', /DaemonSet kube-proxy made it/],
    ['nobody, but kubeadm wrote it', { managedFields: managed('kubeadm', { 'f:data': {} }) }, '', /no tool claims it; written by kubeadm$/],
    ['nobody at all', {}, '', /nothing on it says/],
  ])('%s', (_, marks, tool, says) => {
    expect(ownerOf(marks).tool).toBe(tool);
    expect(ownerOf(marks).says).toMatch(says);
  }); // prettier-ignore

  test('of many managers those that wrote the field', () => {
    const managedFields = [
      { manager: 'kubeadm', fieldsV1: { 'f:data': { 'f:config.conf': {} } } },
      { manager: 'labeler', fieldsV1: { 'f:metadata': { 'f:labels': {} } } },
    ];
    expect(ownerOf({ managedFields }, ['data', 'config.conf']).says).toBe('no tool claims it; written by kubeadm');
  });
});

describe('a patch', () => {
  const name = { apiVersion: 'operator.tigera.io/v1', kind: 'Installation', name: 'default' };
  test('of an object’s own field, for the version that was read', () => {
    const object = { metadata: { resourceVersion: '7' }, spec: { calicoNetwork: { mtu: 1440 } } };
    expect(proposedPatch(name, object, { 'spec.calicoNetwork.mtu': 1350 })).toMatchObject({
      fields: [{ field: 'spec.calicoNetwork.mtu', from: '1440', to: '1350' }],
      command: `kubectl patch installation.v1.operator.tigera.io default --type merge -p '{"metadata":{"resourceVersion":"7"},"spec":{"calicoNetwork":{"mtu":1350}}}'`,
    });
  });
  test('of text in a ConfigMap cannot break out of its quotes', () => {
    const map = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'kube-system', name: 'kube-proxy', text: 'c' };
    const patch = proposedPatch(map, { data: { c: "a: 1 # it's $(id)\n" } }, { a: 2 });
    expect(patch?.command).toBe(`kubectl -n kube-system patch configmap kube-proxy --type merge -p '{"data":{"c":"a: 2 # it'\\''s $(id)\\n"}}'`); // prettier-ignore
  });
  test('is none where all is as wanted, or the key is not there', () => {
    expect(proposedPatch(name, { spec: { calicoNetwork: { mtu: 1350 } } }, { 'spec.calicoNetwork.mtu': 1350 })).toBeUndefined(); // prettier-ignore
    expect(proposedPatch({ ...name, text: 'x' }, { data: {} }, { a: 1 })).toBeUndefined();
  });
});
