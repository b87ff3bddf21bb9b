import type { WorkflowHandle } from '@temporalio/client';
import { Command } from 'commander';
import { inventoryOption, jsonOption, runHelp, withSession } from '../command.ts';
import { paint, print, printJson, wrapped } from '../output.ts';

export const show = new Command('show')
  .description('show what a run found, planned, decided and did')
  .argument('<run>', `${runHelp}, or of a rollout`)
  .option('-a, --all', 'list every cause that was ruled out or not tested')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExamples:\n  undrop show last\n  undrop show last --json | jq .remediation.changes\n')
  .action(async (text: string, { inventory, all, json }: { inventory?: string; all?: true; json?: true }) => {
    await withSession(
      inventory,
      async (session) => {
        const [lookup, { findRunOrRollout }, { progressOf }, render, { printStep }, { printDiagnosis }] =
          await Promise.all([
            import('../../client/runs.ts'),
            import('../../client/rollouts.ts'),
            import('../../client/plans.ts'),
            import('../render/plan.ts'),
            import('../render/conclusion.ts'),
            import('../render/diagnosis.ts'),
          ]);
        const { name: run, rollout } = await findRunOrRollout(session, text);
        if (rollout) return showRollout(run, rollout, json);
        const diagnosis = await lookup.diagnosisOf(session, run);
        const conclusion = await lookup.conclusionOf(diagnosis);
        const known = await lookup.remediationOf(session, run);
        const handle = session.engine.client.workflow.getHandle(`remediate/${run}`);
        const remediation = known?.open ? await progressOf(handle) : known?.result;
        if (json) return printJson({ ...diagnosis, conclusion, remediation: remediation ?? (known && lookup.endedAs(known)) }); // prettier-ignore
        print(`${paint.bold(diagnosis.path.text)}  ${paint.dim(`run ${run}`)}`);
        diagnosis.steps.forEach(printStep);
        const { remediation: _, ...found } = diagnosis;
        const failed = known?.failed;
        // Where there is a plan, nobody is told how to make one.
        printDiagnosis(known ? { ...found, ...(failed === undefined && { roots: [] }) } : diagnosis, conclusion, all);
        if (remediation?.signed) render.printPlan(remediation.signed);
        if (known?.open && remediation?.judged) render.printJudgement(remediation.judged);
        for (const { at, principal, decision, reason, refused } of remediation?.decisions ?? []) {
          const why = refused === undefined ? reason : `refused: ${refused}`;
          print(`  ${paint.dim(new Date(at).toISOString())}  ${principal}: ${decision}  ${wrapped(why, 30)}`);
        }
        remediation?.changes.forEach(render.printChange);
        if (failed !== undefined) print(`\nno plan to decide on: ${failed}`);
        else if (known?.result) render.printRemediation(known.result);
        else if (known) print(`\n${paint.dim('next')}  undrop approve ${run}, or undrop reject ${run} --reason '...'`);
      },
      'reader',
    );
  });

async function showRollout(name: string, handle: WorkflowHandle, json?: true): Promise<void> {
  const [{ rolloutNow }, render] = await Promise.all([
    import('../../client/rollouts.ts'),
    import('../render/rollout.ts'),
  ]);
  const now = await rolloutNow(handle);
  if (json) return printJson({ rollout: name, ...now });
  if (now.signed) render.printRollout(now.signed, now.needs);
  if ('outcome' in now) return render.printRolloutEnd(now);
  print(render.rolloutLine(now.phase, now.wave, now.rows));
  now.rows.forEach(render.printRow);
  if (now.phase === 'waiting for approval')
    print(`\n${paint.dim('next')}  undrop approve ${name}, or undrop reject ${name} --reason '...'`);
}
