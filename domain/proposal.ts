import { type Edited, editSysctl, editYaml } from './edit.ts';
import { lineDiff } from './line-diff.ts';
import { type Marks, ownerOf } from './owner.ts';
import type { ObjectName, ProposalTo } from './runbook.ts';

/** A change that others have to make, since the setting is theirs: exact where its object could be read. */
export interface Proposal {
  /** The place and cause that it follows from. */
  place: string;
  cause: string;
  why: string;
  /** What is changed: `ConfigMap kube-system/kube-proxy, config.conf`; '' where it is said in words only. */
  object: string;
  fields: Edited['fields'];
  /** In words, where the object is not there or could not be read. */
  says: string;
  /** Who owns it and would undo a change by hand. */
  owner: string;
  /** A unified diff of a text; '' where fields say all. */
  diff: string;
  /** A command that makes exactly this change, and nothing where the object was changed meanwhile. */
  command: string;
  /** What else has to be done for it to work. */
  afterwards: string;
}

/** An object as the API gives it. */
export interface ApiObject {
  metadata?: Marks & { resourceVersion?: string };
  [field: string]: unknown;
}

/** A file of a node. */
export interface NodeFile {
  path: string;
  text: string;
}

/** The part of a proposal that is read and edited; the rest says why. */
export type Exact = Pick<Proposal, 'object' | 'fields' | 'owner' | 'diff' | 'command' | 'afterwards'>;

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** `ConfigMap kube-system/kube-proxy` */
export const nameOf = ({ kind, namespace, name }: ObjectName): string =>
  `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;

/**
 * The exact change of an object of the API. Undefined where it has no such field to change.
 * @param sets dotted path -> value
 */
export function proposedPatch(
  name: ObjectName,
  object: ApiObject,
  sets: Readonly<Record<string, number | string>>,
  afterwards = '',
): Exact | undefined {
  const { resourceVersion, ...marks } = object.metadata ?? {};
  // The API refuses a patch of another version: what was proposed is for what was read.
  const version = resourceVersion === undefined ? {} : { metadata: { resourceVersion } };
  const whole = nameOf(name);
  if (name.text !== undefined) {
    const data = object['data'] as Record<string, string> | undefined;
    const text = data?.[name.text];
    const edited = text === undefined ? undefined : editYaml(text, sets);
    if (text === undefined || !edited || edited.fields.length === 0) return undefined;
    return {
      object: `${whole}, ${name.text}`,
      fields: edited.fields,
      owner: ownerOf(marks, ['data', name.text]).says,
      diff: lineDiff(`${whole}, ${name.text}`, text, edited.text),
      command: patched(name, { ...version, data: { [name.text]: edited.text } }),
      afterwards,
    };
  }
  const edited = editYaml(JSON.stringify(object), sets);
  if (!edited || edited.fields.length === 0) return undefined;
  const body = Object.entries(sets).reduceRight<Record<string, unknown>>((so, [path, value]) => {
    const keys = path.split('.');
    const old = keys.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], object);
    return merged(so, keys, typeof old === 'string' ? String(value) : value);
  }, version);
  const [first = ''] = Object.keys(sets);
  return { object: whole, fields: edited.fields, owner: ownerOf(marks, first.split('.')).says, diff: '', command: patched(name, body), afterwards }; // prettier-ignore
}

/** The exact change of a file of a node. Undefined where it does not have the field. */
export function proposedEdit(
  to: Extract<ProposalTo, { file: string }>,
  node: string,
  file: NodeFile,
  sets: Readonly<Record<string, number | string>>,
): Exact | undefined {
  const edited = (to.file === 'sysctl' ? editSysctl : editYaml)(file.text, sets);
  if (!edited || edited.fields.length === 0) return undefined;
  return {
    object: `${file.path} on ${node}`,
    fields: edited.fields,
    owner: to.owner,
    diff: lineDiff(file.path, file.text, edited.text),
    command: '',
    afterwards: to.afterwards ?? '',
  };
}

function merged(into: Record<string, unknown>, [key = '', ...rest]: string[], value: unknown): Record<string, unknown> {
  const below = into[key] as Record<string, unknown> | undefined;
  return { ...into, [key]: rest.length > 0 ? merged(below ?? {}, rest, value) : value };
}

function patched({ apiVersion, kind, namespace, name }: ObjectName, body: object): string {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : [];
  const resource = `${kind.toLowerCase()}${group === undefined ? '' : `.${version}.${group}`}`;
  const where = namespace === undefined ? '' : `-n ${namespace} `;
  return `kubectl ${where}patch ${resource} ${name} --type merge -p ${quoted(JSON.stringify(body))}`;
}

/** `conntrack.min: 131072 -> 1048576`, one for each field. */
export const fieldsOf = ({ fields }: Pick<Proposal, 'fields'>): string =>
  fields.map(({ field, from, to }) => `${field}: ${from} -> ${to}`).join(', ');
