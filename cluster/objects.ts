import { type ApiObject, nameOf } from '../domain/proposal.ts';
import type { ObjectName } from '../domain/runbook.ts';
import type { Reader } from './api.ts';

/**
 * An object that others own, to say what should change in it. Undefined where it is not there or may not be read; the
 * reader's `denied` has the second, under the object's name.
 */
export async function readObject(reader: Reader, name: ObjectName): Promise<ApiObject | undefined> {
  const { apiVersion, kind, namespace, name: called } = name;
  const metadata = { name: called, ...(namespace !== undefined && { namespace }) };
  const object = await reader.may(nameOf(name), () => reader.objects.read({ apiVersion, kind, metadata }));
  return object && { ...object };
}
