import { Command } from 'commander';
import type { AuditWords } from '../auditing.ts';
import { inventoryOption, jsonOption, withSession } from '../command.ts';
import { UserError, paint, print, printJson, wrapped } from '../output.ts';
import type { Rhythm } from '../scheduling.ts';
import type { Session } from '../session.ts';
import { auditOptions } from './audit.ts';

interface Options {
  inventory?: string;
  json?: true;
}
const load = () => import('../scheduling.ts');
/** Schedules live in the server: nobody has to work on anything to change one. */
const inSession = (file: string | undefined, work: (session: Session) => Promise<void>): Promise<void> =>
  withSession(file, work, 'client');
const time = (at: Date | undefined): string => at?.toISOString().slice(0, 16).replace('T', ' ') ?? '-';

const create = auditOptions(new Command('create').description('audit again and again'))
  .argument('<name>', 'name of the schedule, such as hourly')
  .option('--every <time>', 'such as 15m, 1h or 1d')
  .option('--cron <expression>', "such as '0 6 * * 1-5', in UTC")
  .option('--jitter <time>', 'begin at random up to this much later, so that not all clusters begin at once')
  .addOption(inventoryOption())
  .action(async (name: string, options: Rhythm & AuditWords & Options) => {
    await inSession(options.inventory, async (session) => {
      const [{ createSchedule }, { auditInput }, { whoami }] = await Promise.all([
        load(),
        import('../auditing.ts'),
        import('../identity.ts'),
      ]);
      const input = await auditInput(session, await whoami(session.inventory), options);
      const handle = await createSchedule(session, name, options, input);
      const { info } = await handle.describe();
      print(`${paint.bold(name)} audits ${session.inventory.name}, next at ${time(info.nextActionTimes[0])} UTC`);
      if (session.engine.embedded)
        print(paint.dim('your own server runs only while a command does: keep `undrop worker` running'));
    });
  });

const list = new Command('list')
  .description('list the schedules of this inventory')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .action(async ({ inventory, json }: Options) => {
    await inSession(inventory, async (session) => {
      const known = await (await load()).schedules(session);
      if (json) return printJson(known);
      if (known.length === 0) print('no schedules of this inventory: undrop schedule create hourly --every 1h');
      for (const { name, rhythm, paused, note, next, last } of known) {
        const state = paused ? paint.yellow(`paused: ${note}`) : `next ${time(next)}`;
        print(`${paint.bold(name.padEnd(16))} ${rhythm.padEnd(18)} last ${time(last).padEnd(16)}  ${state}`);
      }
    });
  });

const show = new Command('show')
  .description('show a schedule and what its last audits found')
  .argument('<name>')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .action(async (name: string, { inventory, json }: Options) => {
    await inSession(inventory, async (session) => {
      const { pastAudits, rhythmOf, scheduleOf } = await load();
      const { is } = await scheduleOf(session, name);
      const { state, info, memo } = is;
      const past = await pastAudits(session, is);
      const { numActionsTaken: taken, numActionsSkippedOverlap: skipped, nextActionTimes: next } = info;
      if (json) return printJson({ name, rhythm: rhythmOf(memo), paused: state.paused, note: state.note, next, taken, skipped, past }); // prettier-ignore
      print(`${paint.bold(name)}  ${rhythmOf(memo)}`);
      print(state.paused ? paint.yellow(`  paused: ${state.note ?? ''}`) : `  next ${next.slice(0, 3).map(time).join(', ')}`); // prettier-ignore
      print(paint.dim(`  ${taken} audits, ${skipped} skipped because one was in progress`));
      for (const { at, status, says } of past) print(`  ${time(at)}  ${status === 'completed' ? says : paint.yellow(status)}`); // prettier-ignore
    });
  });

const pause = new Command('pause')
  .description('audit no more until it is resumed')
  .argument('<name>')
  .requiredOption('--reason <text>', 'why, for whoever wonders later')
  .addOption(inventoryOption())
  .action(async (name: string, { inventory, reason }: Options & { reason: string }) => {
    if (reason.trim() === '') throw new UserError('--reason says why');
    await inSession(inventory, async (session) => {
      const [{ scheduleOf }, { whoami }] = await Promise.all([load(), import('../identity.ts')]);
      const { handle } = await scheduleOf(session, name);
      await handle.pause(`${await whoami(session.inventory)}: ${reason.trim()}`);
      print(`${name} is paused; ${paint.dim('undrop schedule resume ' + name)}`);
    });
  });

const resume = new Command('resume')
  .description('go on with a schedule that was paused')
  .argument('<name>')
  .addOption(inventoryOption())
  .action(async (name: string, { inventory }: Options) => {
    await inSession(inventory, async (session) => {
      const [{ scheduleOf }, { whoami }] = await Promise.all([load(), import('../identity.ts')]);
      const { handle } = await scheduleOf(session, name);
      await handle.unpause(`${await whoami(session.inventory)} resumed it`);
      print(`${name} goes on, next at ${time((await handle.describe()).info.nextActionTimes[0])} UTC`);
    });
  });

const trigger = new Command('trigger')
  .description('audit once now, unless an audit of this schedule is in progress')
  .argument('<name>')
  .addOption(inventoryOption())
  .action(async (name: string, { inventory }: Options) => {
    await inSession(inventory, async (session) => {
      const started = await (await load()).trigger(session, name);
      print(started ?? wrapped('skipped: an audit of this schedule is still in progress', 0));
    });
  });

const remove = new Command('delete')
  .description('remove a schedule; its past audits stay')
  .argument('<name>')
  .addOption(inventoryOption())
  .action(async (name: string, { inventory }: Options) => {
    await inSession(inventory, async (session) => {
      const { handle } = await (await load()).scheduleOf(session, name);
      await handle.delete();
      print(`${name} is deleted`);
    });
  });

const apply = new Command('apply')
  .description('make the schedules those of a file; may be done again')
  .argument('<file>', 'with the list `schedules`: name, every or cron, and the options of create')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .action(async (file: string, { inventory, json }: Options) => {
    await inSession(inventory, async (session) => {
      const [{ applySchedules }, { whoami }] = await Promise.all([import('../applying.ts'), import('../identity.ts')]);
      const done = await applySchedules(session, file, await whoami(session.inventory));
      if (json) return printJson(done);
      if (done.length === 0) print('there is nothing to make, and nothing to delete');
      for (const { name, outcome } of done) print(`${paint.bold(name.padEnd(16))} ${outcome}`);
    });
  });

export const schedule = new Command('schedule')
  .description('audits that repeat: create, look at, pause and resume them')
  .addHelpText(
    'after',
    `
Examples:
  undrop schedule create hourly --every 1h --jitter 5m
  undrop schedule create mornings --cron '0 6 * * 1-5' --only 'gpu-*' --diagnose
  undrop schedule apply schedules.yaml
  undrop schedule pause hourly --reason 'the network is being rebuilt'
`,
  );
for (const command of [create, apply, list, show, pause, resume, trigger, remove]) schedule.addCommand(command);
