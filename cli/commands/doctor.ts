import { Command } from 'commander';
import { inventoryOption, jsonOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import type { ProposedFile } from '../management.ts';
import { exit, paint, print, printJson, wrapped } from '../output.ts';

/** One thing that was looked at. `warn`: undrop works, but something will be untested or impossible. */
export interface Finding {
  about: string;
  state: 'ok' | 'warn' | 'bad';
  says: string;
  proposal?: ProposedFile;
}

const marks = { ok: paint.green('ok  '), warn: paint.yellow('warn'), bad: paint.red('bad ') };

export const doctor = new Command('doctor')
  .description('check Temporal, what is stored, your key, your rights in the cluster, and every node of the inventory')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExamples:\n  undrop doctor\n  undrop doctor -i prod.yaml --json\n')
  .action(async ({ inventory: file, json }: { inventory?: string; json?: true }) => {
    const inventory = await readInventory(file);
    const [
      { checkApproval, checkCluster, checkPolicy, checkTemporal },
      { checkData },
      { checkNodes },
      { checkManagement },
    ] = await Promise.all([
      import('../checks.ts'),
      import('../data.ts'),
      import('../node-checks.ts'),
      import('../management.ts'),
    ]);
    const findings: Finding[] = [];
    for (const check of [
      checkTemporal(inventory),
      checkData(inventory),
      checkApproval(inventory),
      checkPolicy(inventory),
      checkCluster(inventory),
      checkNodes(inventory),
      checkManagement(inventory),
    ]) {
      for await (const finding of check) {
        findings.push(finding);
        if (json) continue;
        print(`${marks[finding.state]}  ${finding.about}: ${wrapped(finding.says, 6)}`);
        if (finding.proposal) printFile(finding.proposal);
      }
    }
    if (json) printJson(findings);
    process.exitCode = findings.some(({ state }) => state === 'bad') ? exit.failed : exit.ok;
  });

function printFile({ path, text, traps, apply }: ProposedFile): void {
  print(`      ${paint.dim(path)}`);
  for (const line of text.trimEnd().split('\n')) print(`        ${line}`);
  print(`      ${paint.dim('load')}   ${wrapped(apply, 13)}`);
  for (const trap of traps) print(`      ${paint.dim('trap')}   ${wrapped(trap, 13)}`);
}
