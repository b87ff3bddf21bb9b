import type { ParsedKey } from 'ssh2';
import { sign } from '../activities/signature.ts';
import { UserError } from '../client/errors.ts';
import { decide } from '../client/plans.ts';
import type { Reach } from '../client/start.ts';

/** What a person said, and where they were known from. */
export interface Said {
  run: string;
  digest: string;
  decision: 'approve' | 'reject';
  reason: string;
  person: string;
}

/**
 * Signs what a person said, as the gateway that knows them, and hands it to the plan: whether it counts is decided there,
 * by the same rule for every door.
 * @returns undefined when it counted, else why not
 */
export async function decideFor(
  { engine }: Pick<Reach, 'engine'>,
  gateway: { name: string; key: ParsedKey },
  { run, digest, decision, reason, person }: Said,
): Promise<string | undefined> {
  const handle = engine.client.workflow.getHandle(`remediate/${run}`);
  const said = { digest, decision, reason: reason.slice(0, 1000), principal: person, via: gateway.name };
  try {
    await decide(handle, sign(handle.workflowId, said, gateway.key));
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}
