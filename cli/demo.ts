import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { newKey, publicLine, sign, sshKey } from '../activities/signature.ts';
import type { WorkflowHandle } from '@temporalio/client';
import type { Inventory } from '../domain/inventory.ts';
import type { RemediateInput, RemediateResult } from '../domain/runs.ts';
import type { Fault } from '../lab/fault.ts';
import { down, faultNamed, heal, inject, labInventory, namespaceState, up } from '../lab/lab.ts';
import { setUp } from '../lab/setup.ts';
import { dataFolder } from '../worker/paths.ts';
import { confirmed } from './confirm.ts';
import { followDiagnosis } from './diagnosing.ts';
import { newRun, startDiagnosis } from '../client/start.ts';
import { conclusionOf } from '../client/runs.ts';
import { UserError, clearProgress, complain, exit, paint, print, progress } from './output.ts';
import { awaitPlan, decide } from '../client/plans.ts';
import { codeOf } from './following.ts';
import { followRemediation } from './remediating.ts';
import { startRemediation } from '../client/start.ts';
import { printDiagnosis } from './render/diagnosis.ts';
import { printPlan, printRemediation } from './render/plan.ts';
import { type Session, openSession } from './session.ts';

/** Who asks for plans in the demo: as an alert would. Nobody may approve their own request. */
const requester = 'demo-alert';
const approver = userInfo().username;

/** ^C at any moment: what is in progress is cancelled, then everything is put back and removed. */
class Interruption {
  private came = false;
  private handle: WorkflowHandle | undefined;
  private readonly onSignal = (): void => {
    if (this.came) process.exit(exit.interrupted);
    this.came = true;
    clearProgress();
    complain('cleaning up; ^C again leaves at once');
    this.handle?.cancel().catch((error: unknown) => complain(String(error)));
  };

  constructor() {
    process.on('SIGINT', this.onSignal).on('SIGTERM', this.onSignal);
  }

  /** Waits for a workflow that ^C cancels. */
  async during<T>(handle: WorkflowHandle, work: Promise<T>): Promise<T> {
    this.handle = handle;
    try {
      return await work;
    } finally {
      this.handle = undefined;
      this.check();
    }
  }

  /** @throws UserError once ^C was pressed */
  check(): void {
    if (this.came) throw new UserError('interrupted; the lab is removed', exit.interrupted);
  }

  end(): void {
    process.off('SIGINT', this.onSignal).off('SIGTERM', this.onSignal);
  }
}

interface Round {
  title: string;
  fault: string;
  /** A remedy that somebody insists on, instead of the one that the cause names. */
  override?: RemediateInput['override'];
  wanted: RemediateResult['outcome'];
}

const rounds: Round[] = [
  { title: 'A fault is found, and its remedy approved and verified', fault: 'broken-tx-checksum', wanted: 'confirmed' },
  {
    title: 'Somebody insists on a remedy that does not help: it is put back',
    fault: 'random-drop',
    override: { remedy: 'disable-tx-checksum', place: 'h1' },
    wanted: 'reverted',
  },
];

/** Breaks the namespace lab for real and goes the whole way, twice. @returns the exit code */
export async function runDemo(yes: boolean, only?: string): Promise<number> {
  progress('looking at what is missing');
  await setUp('demo', (line) => progress(line));
  progress('making the lab');
  const interruption = new Interruption();
  try {
    await up('netns', progress);
    interruption.check();
    const { inventory, key } = await demoInventory();
    const session = await openSession(inventory);
    try {
      let code: number = exit.ok;
      for (const [index, round] of rounds.entries()) {
        if (only !== undefined && only !== String(index + 1)) continue;
        print(`\n${paint.bold(`${index + 1} of ${rounds.length}  ${round.title}`)}`);
        code = Math.max(code, await play(session, key, round, yes, interruption));
      }
      return code;
    } finally {
      await session.close();
    }
  } finally {
    clearProgress();
    await down('netns');
    interruption.end();
  }
}

async function play(
  session: Session,
  key: string,
  round: Round,
  yes: boolean,
  interruption: Interruption,
): Promise<number> {
  const fault = faultNamed(round.fault);
  try {
    await inject(fault);
    interruption.check();
    const result = await wholeWay(session, key, round, fault, yes, interruption);
    return result === undefined
      ? exit.unchanged
      : result.outcome === round.wanted
        ? exit.ok
        : codeOf(result) || exit.failed;
  } finally {
    await heal(fault);
  }
}

/** Trigger, diagnosis, plan, approval, change, verification, report. Undefined when the user said no. */
async function wholeWay(
  session: Session,
  key: string,
  { override }: Round,
  fault: Fault,
  yes: boolean,
  interruption: Interruption,
): Promise<RemediateResult | undefined> {
  const run = newRun();
  print(`${paint.dim('broken')}  ${fault.title}`);
  print(`${paint.dim('run')}     ${run}: undrop diagnose '${fault.target}'`);
  const diagnosing = await startDiagnosis(session, run, {
    target: fault.target,
    requester,
    windowMs: 1500,
    propose: false,
  });
  const diagnosis = await interruption.during(diagnosing, followDiagnosis(diagnosing, false));
  printDiagnosis({ ...diagnosis, roots: [] }, await conclusionOf(diagnosis));
  const handle = await startRemediation(session, diagnosis, requester, override);
  const plan = await interruption.during(
    handle,
    awaitPlan(handle, () => progress('  reading before-values …')),
  );
  clearProgress();
  const old = namespaceState('h1');
  if (plan) {
    printPlan(plan);
    const agreed = yes || (await confirmed('Approve exactly this?'));
    const decision = { digest: plan.digest, principal: approver };
    const answer = agreed
      ? { decision: 'approve' as const, reason: '' }
      : { decision: 'reject' as const, reason: 'the user said no' };
    await decide(handle, sign(handle.workflowId, { ...decision, ...answer }, sshKey(key)));
    if (!agreed) print('rejected; nothing was changed');
    else print(`${paint.dim(`approved by ${approver}, signed with an ssh key of the demo`)}\n`);
    if (!agreed) return undefined;
  }
  const result = await interruption.during(handle, followRemediation(session, handle, false));
  printRemediation(result);
  if (result.outcome === 'reverted') {
    const same = namespaceState('h1') === old;
    print(
      `${paint.dim('proof')}   ethtool -k of h1 before and after: ${same ? paint.green('identical') : paint.red('different')}`,
    );
    if (!same) return { ...result, outcome: 'failed' };
  }
  return result;
}

/** The lab's inventory with an approver, whose key stays with the user's data so that a later command can use it too. */
async function demoInventory(): Promise<{ inventory: Inventory; key: string }> {
  const file = join(dataFolder(), 'demo-key');
  const known = await readFile(file, 'utf8').catch(() => undefined);
  const key = known ?? newKey();
  await mkdir(dataFolder(), { recursive: true, mode: 0o700 });
  if (known === undefined) await writeFile(file, key, { mode: 0o600 });
  const inventory = labInventory('netns');
  return {
    inventory: {
      ...inventory,
      approval: { ...inventory.approval, approvers: [{ name: approver, key: publicLine(sshKey(key)), groups: [] }] },
    },
    key,
  };
}
