import { TargetError } from './target.ts';

/** One end of a path in a cluster. */
export type End =
  | { kind: 'pod'; namespace: string; name: string }
  | { kind: 'node'; name: string }
  /** A pod that undrop makes on a node for this run, and removes. */
  | { kind: 'own'; node: string }
  | { kind: 'service'; namespace: string; name: string; port?: number; endpoint?: string };

const name = '[a-z0-9]([a-z0-9.-]*[a-z0-9])?';
const patterns: [RegExp, (words: string[]) => End][] = [
  [new RegExp(`^pod/(?<ns>${name})/(?<name>${name})$`), ([namespace = '', pod = '']) => ({ kind: 'pod', namespace, name: pod })],
  [new RegExp(`^undrop/(?<node>${name})$`), ([node = '']) => ({ kind: 'own', node })],
  [new RegExp(`^node/(?<name>${name})$`), ([node = '']) => ({ kind: 'node', name: node })],
  [
    new RegExp(`^service/(?<ns>${name})/(?<name>${name})(:(?<port>[0-9]{1,5}))?(@(?<endpoint>${name}))?$`),
    ([namespace = '', service = '', port = '', endpoint = '']) => ({
      kind: 'service', namespace, name: service,
      ...(port && { port: Number(port) }),
      ...(endpoint && { endpoint }),
    }),
  ],
]; // prettier-ignore

const form =
  'service/NAMESPACE/NAME[:PORT], or FROM->TO with pod/NAMESPACE/NAME, node/NAME, as FROM undrop/NODE (a pod made for the run), and as TO a service/NAMESPACE/NAME[:PORT][@POD]';

/**
 * Reads a target of a cluster: `service/shop/echo`, `pod/shop/web->service/shop/echo:9000@echo-1`, `node/a->pod/shop/echo-1`.
 * @throws TargetError that says what is no end, and what forms there are
 */
export function parseTarget(text: string): { from?: End; to: End } {
  const words = text.split('->').map((word) => word.trim());
  if (words.length > 2) throw new TargetError(`"${text}" has more than one ->; a target is ${form}`);
  const [first, second] = words.map(endOf);
  if (!first) throw new TargetError(`a target is ${form}`);
  if (!second) {
    if (first.kind !== 'service') throw new TargetError(`"${text}" has one end only; a target is ${form}`);
    return { to: first };
  }
  if (first.kind === 'service') throw new TargetError('a path starts at a pod or node, not at a Service');
  if (second.kind === 'own') throw new TargetError(`${textOf(second)} can only be where a path starts`);
  if (textOf(first) === textOf(second)) throw new TargetError(`${textOf(first)} is both ends of the path`);
  return { from: first, to: second };
}

function endOf(word: string): End {
  for (const [pattern, make] of patterns) {
    const match = pattern.exec(word);
    if (match?.groups) return make(Object.values(match.groups).map((group) => group ?? ''));
  }
  throw new TargetError(`"${word}" is no end of a path; a target is ${form}`);
}

/** The end as it is written. */
export function textOf(end: End): string {
  if (end.kind === 'own') return `undrop/${end.node}`;
  if (end.kind === 'node') return `node/${end.name}`;
  if (end.kind === 'pod') return `pod/${end.namespace}/${end.name}`;
  const port = end.port === undefined ? '' : `:${end.port}`;
  return `service/${end.namespace}/${end.name}${port}${end.endpoint === undefined ? '' : `@${end.endpoint}`}`;
}
