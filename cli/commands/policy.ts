import { Command, Option } from 'commander';
import { FileError } from '../../domain/yaml.ts';
import { inventoryOption, jsonOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import { UserError, exit, paint, print, printJson, wrapped } from '../output.ts';

interface Options {
  inventory?: string;
  runs?: string;
  at?: string;
  json?: true;
}

const runsOption = (): Option => new Option('--runs <folder>', 'the recorded runs (default: those of the data folder)');

/** Files that people wrote and that are wrong: their message is all that helps. */
async function load(file: string) {
  const { loadPolicy } = await import('../../activities/policy.ts');
  return loadPolicy(file).catch((error: unknown) => {
    throw error instanceof FileError ? new UserError(error.message) : error;
  });
}

const folderOf = async (named?: string): Promise<string> =>
  named ?? (await import('../../worker/paths.ts')).runsFolder();

const lint = new Command('lint')
  .description('check a policy: form, fields, and that every remedy, cause, group and person is there')
  .argument('<file>', 'the policy')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    '\nExamples:\n  undrop policy lint policy.yaml\n  undrop policy lint policy.yaml -i undrop.yaml\n',
  )
  .action(async (file: string, { inventory: named, json }: Options) => {
    const [{ policy, digest }, { strangersOf }] = await Promise.all([load(file), import('../trying.ts')]);
    const inventory = named === undefined ? undefined : await readInventory(named);
    const wrong = strangersOf(policy, inventory);
    if (wrong.length) throw new UserError(wrong.map((one) => `${file}: ${one}`).join('\n'));
    const rules = policy.rules.map(({ name, mode, standing }) => ({ name, mode, until: standing?.until }));
    if (json) return printJson({ digest, rules });
    for (const { name, mode, until } of rules)
      print(`${mode.padEnd(6)}  ${name}${until === undefined ? '' : paint.dim(`  standing approval until ${until}`)}`);
    print(`${rules.length} rules are well formed; digest ${digest.slice(0, 12)}`);
  });

const test = new Command('test')
  .description('say what a policy would have done with recorded remediations, and why')
  .argument('<file>', 'the policy')
  .addOption(runsOption())
  .option('--at <time>', 'judge all at this moment, such as 2026-12-24T20:00:00Z, instead of each at its own')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    `
Needs no server. Each recorded plan is judged in the order of the runs; what would have been automatic counts for
budgets and the breaker, with the outcome that it really had.

Examples:
  undrop policy test policy.yaml
  undrop policy test policy.yaml --at 2026-12-24T20:00:00Z
  undrop policy test policy.yaml --runs /srv/undrop/runs --json | jq '.[] | select(.would == "standing")'
`,
  )
  .action(async (file: string, { runs, at, inventory: named, json }: Options) => {
    const moment = at === undefined ? undefined : Date.parse(at);
    if (Number.isNaN(moment)) throw new UserError('--at takes a moment such as 2026-12-24T20:00:00Z');
    const [{ policy }, { recordedRuns }, { tryPolicy }, { approvalsText }, folder] = await Promise.all([
      load(file),
      import('../recorded.ts'),
      import('../trying.ts'),
      import('../../domain/remit.ts'),
      folderOf(runs),
    ]);
    const inventory = named === undefined ? undefined : await readInventory(named);
    const tried = tryPolicy(policy, await recordedRuns(folder), moment, inventory);
    if (json) return printJson(tried);
    for (const { run, plan, remedy, places, outcome, judged, would } of tried) {
      const rule = judged.rule === undefined ? 'no rule' : `${judged.rule}${judged.shadow ? ' (shadow)' : ''}`;
      const colour = would === 'standing' ? paint.yellow : would === 'refused' ? paint.red : paint.green;
      print(`${run}  ${plan}  ${remedy} at ${places.join(', ')}: ${outcome}`);
      print(`  ${rule}: ${colour(approvalsText(would))}`);
      const whys = judged.why.map((why) => `${judged.against.includes(why) ? 'NOT ' : ''}${why}`);
      for (const why of whys) print(`    ${paint.dim(wrapped(why, 4))}`);
    }
    const count = (what: string): number => tried.filter(({ would }) => would === what).length;
    const people = tried.length - count('standing') - count('refused');
    print(
      `${tried.length} recorded plans: ${count('standing')} would need nobody, ${people} need people, ${count('refused')} would be refused`,
    );
  });

const explain = new Command('explain')
  .description('say what the policy said of a run’s plans, and what it says of them now')
  .argument('<run>', 'name of a recorded run, the end of its name, or `last`')
  .option('--policy <file>', 'this policy instead of the one that the inventory names')
  .addOption(runsOption())
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    '\nExamples:\n  undrop policy explain last\n  undrop policy explain 287ac1 --policy policy.yaml\n',
  )
  .action(async (text: string, { policy: file, runs, inventory: named, json }: Options & { policy?: string }) => {
    const [{ recordedRuns }, { tryPolicy }, { judgementText }, folder] = await Promise.all([
      import('../recorded.ts'),
      import('../trying.ts'),
      import('../../domain/remit.ts'),
      folderOf(runs),
    ]);
    const all = await recordedRuns(folder);
    const run = text === 'last' ? all.at(-1)?.run : all.findLast((one) => one.run.endsWith(text))?.run;
    if (run === undefined) throw new UserError(`there is no recorded plan of a run "${text}" in ${folder}`);
    const inventory = file === undefined || named !== undefined ? await readInventory(named) : undefined;
    const now = file ?? inventory?.policy;
    const found = all.filter((one) => one.run === run);
    const rules = now === undefined ? undefined : await load(now);
    const tried = rules && tryPolicy(rules.policy, found, Date.now(), inventory);
    const told = found.map(({ signed, result: { judged, outcome, decisions } }, index) => ({
      run,
      plan: signed.digest.slice(0, 12),
      outcome,
      decisions,
      said: judged ?? null,
      now: tried?.[index]?.judged ?? null,
      edited: signed.plan.policy?.digest !== rules?.digest,
    }));
    if (json) return printJson(told);
    for (const { plan, outcome, decisions, said, now: judged, edited } of told) {
      print(`${paint.bold(run)}  plan ${plan}: ${outcome}`);
      print(`  then  ${wrapped(said ? judgementText(said) : 'there was no policy, so people decided', 8)}`);
      for (const one of decisions.filter(({ principal }) => principal.startsWith('policy:')))
        print(`        ${wrapped(`${one.principal} approved: ${one.reason}`, 8)}`);
      if (judged)
        print(`  now   ${wrapped(`${judgementText(judged)}${edited ? '; the policy was edited since' : ''}`, 8)}`);
    }
    process.exitCode = exit.ok;
  });

export const policy = new Command('policy').description(
  'the auto-remediation policy: check it, and try it on past runs',
);
for (const command of [lint, test, explain]) policy.addCommand(command);
