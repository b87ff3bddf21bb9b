/** What tools leave on an object of the API that they own. */
export interface Marks {
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { kind: string; name: string; controller?: boolean }[];
  managedFields?: { manager?: string; operation?: string; fieldsV1?: unknown }[];
}

export interface Owner {
  /** '' where nobody says so. */
  tool: string;
  /** Who undoes a change by hand, and where to make it instead; or who wrote the field last. */
  says: string;
}

const text = (value: string | undefined): string => (value ? ` ${value}` : '');

/**
 * Who owns an object, by its marks: whoever changes it by hand is undone by them.
 * @param path the field that is to be changed, such as `data`, `config.conf`: of managers those that wrote it
 */
export function ownerOf(marks: Marks, path: readonly string[] = []): Owner {
  const { labels = {}, annotations = {}, ownerReferences = [] } = marks;
  const managers = managersOf(marks, path);
  const wrote = (pattern: RegExp): boolean => managers.some((one) => pattern.test(one));
  const gitOps = (tool: string, what: string): Owner => ({
    tool,
    says: `${tool}${what} undoes a kubectl patch; change it in the repository that it reads, by a pull request`,
  });
  const tracking = annotations['argocd.argoproj.io/tracking-id']?.split(':')[0];
  const argo = tracking ?? labels['argocd.argoproj.io/instance'];
  if (argo !== undefined || wrote(/^argocd-/)) return gitOps('Argo CD', argo ? ` (application ${argo})` : '');
  const kustomization = labels['kustomize.toolkit.fluxcd.io/name'];
  const release = labels['helm.toolkit.fluxcd.io/name'];
  if (kustomization !== undefined || wrote(/^kustomize-controller$/))
    return gitOps('Flux', ` (Kustomization${text(kustomization)})`);
  if (release !== undefined || wrote(/^helm-controller$/)) return gitOps('Flux', ` (HelmRelease${text(release)})`);
  if (Object.keys(annotations).some((name) => name.startsWith('objectset.rio.cattle.io/')) || wrote(/^deploy@/))
    return {
      tool: 'k3s',
      says: 'k3s writes it again from its manifests folder; change it there, or by a HelmChartConfig',
    };
  if (annotations['kubernetes.io/config.mirror'] !== undefined || annotations['kubernetes.io/config.source'] === 'file')
    return { tool: 'static pod', says: 'it is a static pod: change its file in the manifests folder of its node' };
  const mode = labels['addonmanager.kubernetes.io/mode'];
  if (mode !== undefined)
    return {
      tool: 'addon manager',
      says: `the addon manager owns it (${mode}): ${mode === 'Reconcile' ? 'it undoes a kubectl patch' : 'a kubectl patch stays'}`,
    };
  const controller = ownerReferences.find((one) => one.controller) ?? ownerReferences[0];
  if (controller)
    return {
      tool: controller.kind,
      says: `${controller.kind} ${controller.name} made it and may undo a patch; change it there`,
    };
  const helm = annotations['meta.helm.sh/release-name'];
  if (helm !== undefined || labels['app.kubernetes.io/managed-by'] === 'Helm')
    return {
      tool: 'Helm',
      says: `the Helm release${text(helm)} writes it again at its next upgrade; set it in the release's values too`,
    };
  const by = labels['app.kubernetes.io/managed-by'];
  if (by) return { tool: by, says: `${by} manages it, by its label, and may undo a patch; change it there` };
  const applied = annotations['kubectl.kubernetes.io/last-applied-configuration'] !== undefined;
  const tool = applied ? 'kubectl apply' : '';
  if (managers.length === 0) return { tool, says: 'nothing on it says who owns it' };
  const again = applied ? '; the next kubectl apply of its file undoes a patch, so change the file too' : '';
  return { tool, says: `no tool claims it; written by ${managers.join(', ')}${again}` };
}

/** Who wrote a field, or else the object, by the names that they gave the API. */
function managersOf({ managedFields = [] }: Marks, path: readonly string[]): string[] {
  const has = (fields: unknown): boolean =>
    path.reduce<unknown>((so, key) => (so as Record<string, unknown> | undefined)?.[`f:${key}`], fields) !== undefined;
  const of = managedFields.filter(({ fieldsV1 }) => has(fieldsV1));
  return [...new Set((of.length ? of : managedFields).flatMap(({ manager }) => manager ?? []))];
}
