import { Command } from 'commander';
import { inventoryOption, jsonOption, runHelp, withSession } from '../command.ts';
import { paint, print, printJson, wrapped } from '../output.ts';

export const show = new Command('show')
  .description('show what a run found, planned, decided and did')
  .argument('<run>', runHelp)
  .option('-a, --all', 'list every cause that was ruled out or not tested')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExamples:\n  undrop show last\n  undrop show last --json | jq .remediation.changes\n')
  .action(async (text: string, { inventory, all, json }: { inventory?: string; all?: true; json?: true }) => {
    await withSession(
      inventory,
      async (session) => {
        const [lookup, { progressOf }, render, { printStep }, { printDiagnosis }] = await Promise.all([
          import('../../client/runs.ts'),
          import('../../client/plans.ts'),
          import('../render/plan.ts'),
          import('../render/conclusion.ts'),
          import('../render/diagnosis.ts'),
        ]);
        const run = await lookup.findRun(session, text);
        const diagnosis = await lookup.diagnosisOf(session, run);
        const conclusion = await lookup.conclusionOf(diagnosis);
        const known = await lookup.remediationOf(session, run);
        const handle = session.engine.client.workflow.getHandle(`remediate/${run}`);
        const remediation = known?.open ? await progressOf(handle) : known?.result;
        if (json) return printJson({ ...diagnosis, conclusion, remediation });
        print(`${paint.bold(diagnosis.path.text)}  ${paint.dim(`run ${run}`)}`);
        diagnosis.steps.forEach(printStep);
        const { remediation: _, ...found } = diagnosis;
        printDiagnosis(known ? { ...found, roots: [] } : diagnosis, conclusion, all);
        if (remediation?.signed) render.printPlan(remediation.signed);
        if (known?.open && remediation?.judged) render.printJudgement(remediation.judged);
        for (const { at, principal, decision, reason, refused } of remediation?.decisions ?? []) {
          const why = refused === undefined ? reason : `refused: ${refused}`;
          print(`  ${paint.dim(new Date(at).toISOString())}  ${principal}: ${decision}  ${wrapped(why, 30)}`);
        }
        remediation?.changes.forEach(render.printChange);
        if (known?.result) render.printRemediation(known.result);
        else if (known) print(`\n${paint.dim('next')}  undrop approve ${run}, or undrop reject ${run} --reason '...'`);
      },
      'reader',
    );
  });
