import { type ParsedNode, isMap, isPair, isScalar, isSeq, parseDocument } from 'yaml';

/** What an edit made of a text: each field with what it was (`none`: it was not there) and what it is now. */
export interface Edited {
  text: string;
  fields: { field: string; from: string; to: string }[];
}

interface Cut {
  at: number;
  end: number;
  text: string;
  field: string;
  from: string;
}

/**
 * Sets fields of a text in YAML or JSON, and leaves every other byte of it as it is: a diff shows that alone.
 * @param sets dotted path -> value; `*` stands for each element of a list that has the field
 * @returns undefined where the text is no such document, or a path leads through something else than maps and lists
 */
export function editYaml(text: string, sets: Readonly<Record<string, number | string>>): Edited | undefined {
  const document = parseDocument(text);
  if (document.errors.length > 0 || !isMap(document.contents)) return undefined;
  const json = text.trimStart().startsWith('{');
  const fields: Edited['fields'] = [];
  const cuts: Cut[] = [];
  for (const [path, value] of Object.entries(sets)) {
    const found = cutsOf(text, document.contents, path.split('.'), '', value, json);
    if (found === undefined || found.length === 0) return undefined;
    for (const cut of found) {
      if (cut.from === String(value)) continue;
      fields.push({ field: cut.field, from: cut.from, to: String(value) });
      cuts.push(cut);
    }
  }
  // From the end, so that no cut moves another.
  const edited = cuts
    .toSorted((a, b) => b.at - a.at)
    .reduce((so, { at, end, text: by }) => so.slice(0, at) + by + so.slice(end), text);
  return { text: edited, fields };
}

/** The same of a file of sysctl.d: lines of these keys that there are. */
export function editSysctl(text: string, sets: Readonly<Record<string, number | string>>): Edited | undefined {
  const fields: Edited['fields'] = [];
  const wanted = new Map(Object.entries(sets).map(([key, value]) => [key.replaceAll('/', '.'), String(value)]));
  const edited = text.split('\n').map((line) => {
    const [, head = '', key = '', equals = '', from = ''] = /^(\s*-?)([\w./-]+)(\s*=\s*)(.*?)\s*$/.exec(line) ?? [];
    const to = wanted.get(key.replaceAll('/', '.'));
    if (to === undefined || from === to) return line;
    fields.push({ field: key, from, to });
    return `${head}${key}${equals}${to}`;
  });
  return fields.length > 0 ? { text: edited.join('\n'), fields } : undefined;
}

const written = (value: number | string, json: boolean): string =>
  typeof value === 'string' && json ? JSON.stringify(value) : String(value);

/** Undefined: it leads nowhere. Empty: no element of a list has it. */
function cutsOf(
  text: string,
  node: ParsedNode | null,
  [key = '', ...rest]: string[],
  above: string,
  value: number | string,
  json: boolean,
): Cut[] | undefined {
  const field = above ? `${above}.${key}` : key;
  if (isSeq(node)) {
    if (key !== '*') return undefined;
    const each = node.items.flatMap((item, index) =>
      isMap(item) && (rest.length !== 1 || item.has(rest[0]))
        ? (cutsOf(text, item as ParsedNode, rest, `${above}.${index}`, value, json) ?? [])
        : [],
    );
    return each;
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find((one) => isPair(one) && isScalar(one.key) && one.key.value === key);
  if (!pair) return [inserted(text, node as ParsedNode, [key, ...rest], field, value, json)];
  const below = pair.value as ParsedNode | null;
  const empty = below === null || (isScalar(below) && below.value === null);
  if (!empty && rest.length > 0) return cutsOf(text, below, rest, field, value, json);
  if (!empty && !isScalar(below)) return undefined;
  const [at, end] = below?.range ?? [0, 0];
  const from = isScalar(below) && below.value !== null ? `${below.value as string | number | boolean}` : 'none';
  const quoted = isScalar(below) && typeof below.value === 'string' ? JSON.stringify(String(value)) : written(value, json); // prettier-ignore
  const by = rest.length > 0 ? nested(rest, value, json) : quoted;
  return [{ at, end, text: text[at - 1] === ':' ? ` ${by}` : by, field: [field, ...rest].join('.'), from }];
}

const nested = (keys: string[], value: number | string, json: boolean): string =>
  keys.reduceRight((so, key) => `{ ${json ? JSON.stringify(key) : key}: ${so} }`, written(value, json));

/** A field that is not there yet goes before the first one of its map, written as the map is. */
function inserted(
  text: string,
  map: ParsedNode,
  [key = '', ...rest]: string[],
  field: string,
  value: number | string,
  json: boolean,
): Cut {
  const { items, flow } = map as unknown as { items: { key: ParsedNode }[]; flow?: boolean };
  const [start] = map.range;
  const name = json ? JSON.stringify(key) : key;
  const own = `${name}: ${rest.length > 0 ? nested(rest, value, json) : written(value, json)}`;
  const first = items[0]?.key.range[0];
  const base = { field: [field, ...rest].join('.'), from: 'none' };
  if (first === undefined) return { ...base, at: start + 1, end: start + 1, text: ` ${own} ` };
  const between = flow
    ? `,${text.slice(start + 1, first) || ' '}`
    : `\n${' '.repeat(first - (text.lastIndexOf('\n', first - 1) + 1))}`;
  return { ...base, at: first, end: first, text: own + between };
}
