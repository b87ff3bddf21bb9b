import { Argument, Command, Option } from 'commander';
import { UserError, clearProgress, exit, paint, print, printJson, progress } from '../output.ts';

const load = () => import('../../lab/lab.ts');
const names = ['netns', 'fleet', 'vm', 'kubernetes'] as const;
type Name = (typeof names)[number];
const labArgument = (): Argument => new Argument('[lab]', 'which lab (default: netns)').choices(names);
const labOption = (): Option => new Option('-l, --lab <lab>', 'the same').choices(names);

/** A lab may be named in either way. */
function named(argument: Name | undefined, { lab }: { lab?: Name }): Name {
  if (argument && lab && argument !== lab) throw new UserError(`which lab, ${argument} or ${lab}?`);
  return argument ?? lab ?? 'netns';
}

/** Runs a lab's work; what its scripts complain about is all that the user needs. */
async function inLab(work: (lab: typeof import('../../lab/lab.ts')) => Promise<void>): Promise<void> {
  const lab = await load();
  try {
    await work(lab);
  } catch (error) {
    if (error instanceof lab.LabError) throw new UserError(error.message, exit.failed);
    throw error;
  }
}

const up = new Command('up')
  .description('make the lab: namespaces of undrop’s own, nothing of this machine is touched')
  .addArgument(labArgument())
  .addOption(labOption())
  .action((argument: Name | undefined, options: { lab?: Name }) =>
    inLab(async (labs) => {
      const lab = named(argument, options);
      await labs.up(lab, progress);
      clearProgress();
      const broken =
        lab === 'fleet'
          ? '`card` in lab/fleet/lib.sh breaks its nodes'
          : '`undrop lab faults` lists what can be broken';
      print(`the ${lab} lab is up; ${broken}, its inventory is lab/${lab}/undrop.yaml`);
      if (lab === 'kubernetes') print(`KUBECONFIG=${labs.kubeconfig} (its kubectl: ${labs.kubectl})`);
    }),
  );

const down = new Command('down')
  .description('remove the lab, also after a crash')
  .addArgument(labArgument())
  .addOption(labOption())
  .action((argument: Name | undefined, options: { lab?: Name }) =>
    inLab((labs) => labs.down(named(argument, options))),
  );

const breaks = new Command('break')
  .description('inject a fault')
  .argument('<fault>')
  .action((id: string) =>
    inLab(async (labs) => {
      const fault = labs.faultNamed(id);
      await labs.inject(fault);
      print(`${fault.title}. Try: undrop diagnose '${fault.target}' -i lab/${fault.lab}/undrop.yaml`);
    }),
  );

const heals = new Command('heal')
  .description('take a fault back')
  .argument('<fault>')
  .action((id: string) => inLab((labs) => labs.heal(labs.faultNamed(id))));

const list = new Command('faults')
  .description('list the faults and what must be found')
  .option('--json')
  .action(async ({ json }: { json?: true }) => {
    const { faults } = await import('../../lab/fault.ts');
    if (json) return printJson(faults());
    for (const { id, lab, title, expect } of faults())
      print(`${id.padEnd(28)} ${lab.padEnd(10)} ${expect.join(' ') || paint.dim('nothing')}  ${paint.dim(title)}`);
  });

const matrix = new Command('matrix')
  .description('inject every fault of all labs for real, diagnose it, and compare with what must be found')
  .argument('[faults...]', 'only these')
  .addOption(new Option('-l, --lab <lab>', 'only this lab').choices(names))
  .option('--write', 'write docs/matrix.md; needs every fault')
  .option('--json', 'print the result as JSON')
  .addHelpText('after', '\nExamples:\n  undrop lab matrix\n  undrop lab matrix narrow-wire shaper\n')
  .action((ids: string[], options: { lab?: Name; write?: true; json?: true }) =>
    inLab(async (labs) => {
      const [{ faults }, { diagnoseFault, matrixMarkdown }, { loadRunbook }] = await Promise.all([
        import('../../lab/fault.ts'),
        import('../../lab/matrix.ts'),
        import('../../runbooks/load.ts'),
      ]);
      if (options.write && (ids.length || options.lab)) throw new UserError('--write goes without faults and --lab');
      const runbook = loadRunbook();
      const all = ids.length ? ids.map(labs.faultNamed) : faults();
      const wanted = all.filter(({ lab }) => options.lab === undefined || lab === options.lab);
      const rows = [];
      for (const lab of new Set(wanted.map((fault) => fault.lab))) {
        await labs.up(lab, progress);
        try {
          for (const fault of wanted.filter((one) => one.lab === lab)) {
            progress(`${fault.id} …`);
            const row = await diagnoseFault(fault, runbook);
            rows.push(row);
            clearProgress();
            const found = row.proved.join(', ') || row.conclusion.kind;
            if (!options.json)
              print(`${row.ok ? paint.green('right') : paint.red('WRONG')}  ${fault.id.padEnd(28)} ${found}`);
          }
        } finally {
          clearProgress();
          await labs.down(lab);
        }
      }
      const wrong = rows.filter(({ ok }) => !ok).length;
      process.exitCode = wrong ? exit.failed : exit.ok;
      if (options.write) {
        const { writeFile } = await import('node:fs/promises');
        await writeFile(new URL('../../docs/matrix.md', import.meta.url), matrixMarkdown(runbook, rows));
      }
      if (options.json)
        return printJson(
          rows.map(({ fault: { id, expect }, proved, ok, conclusion }) => ({
            fault: id,
            expect,
            proved,
            ok,
            conclusion,
          })),
        );
      print(`${rows.length - wrong} right, ${wrong} wrong`);
    }),
  );

export const lab = new Command('lab')
  .description('real networks to break: bring one up, inject faults, see what is found')
  .addHelpText(
    'after',
    `
Examples:
  undrop lab up && undrop lab break narrow-wire
  undrop diagnose 'p1->p2' -i lab/netns/undrop.yaml
  undrop lab heal narrow-wire && undrop lab down
`,
  );
for (const command of [up, breaks, heals, list, matrix, down]) lab.addCommand(command);
