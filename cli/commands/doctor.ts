import { Command } from 'commander';
import { inventoryOption, jsonOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import { exit, paint, print, printJson, wrapped } from '../output.ts';

/** One thing that was looked at. `warn`: undrop works, but something will be untested or impossible. */
export interface Finding {
  about: string;
  state: 'ok' | 'warn' | 'bad';
  says: string;
}

const marks = { ok: paint.green('ok  '), warn: paint.yellow('warn'), bad: paint.red('bad ') };

export const doctor = new Command('doctor')
  .description('check Temporal, your key, your rights in the cluster, and every node of the inventory')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExamples:\n  undrop doctor\n  undrop doctor -i prod.yaml --json\n')
  .action(async ({ inventory: file, json }: { inventory?: string; json?: true }) => {
    const inventory = await readInventory(file);
    const { checkApproval, checkCluster, checkNodes, checkPolicy, checkTemporal } = await import('../checks.ts');
    const findings: Finding[] = [];
    const checks = [checkTemporal(), checkApproval(inventory), checkPolicy(inventory)];
    for (const check of [...checks, checkCluster(inventory), checkNodes(inventory)]) {
      for await (const finding of check) {
        findings.push(finding);
        if (!json) print(`${marks[finding.state]}  ${finding.about}: ${wrapped(finding.says, 6)}`);
      }
    }
    if (json) printJson(findings);
    process.exitCode = findings.some(({ state }) => state === 'bad') ? exit.failed : exit.ok;
  });
