import { Command } from 'commander';
import { mostTargets } from '../../domain/rollout.ts';
import { type RolloutRules, usualRules, wrongWave } from '../../domain/waves.ts';
import { inventoryOption, jsonOption, windowMsOf, windowOption, withSession } from '../command.ts';
import { UserError, clearProgress, exit, paint, print, printJson, progress } from '../output.ts';

interface Options {
  canary: string;
  wave: string;
  soak: string;
  maxFailed: string;
  control: boolean;
  atOnce: string;
  window: string;
  inventory?: string;
  json?: true;
}

export const rollout = new Command('rollout')
  .description('diagnose many targets, plan one remedy for all that need it, and carry it out in waves once approved')
  .argument('<target...>', 'FROM->TO as for diagnose; `*` in FROM stands for nodes of the inventory')
  .option('--canary <nodes>', 'so many nodes first', String(usualRules.canary))
  .option('--wave <size>', 'nodes of each zone in each further wave: a number, or a share such as 25%', usualRules.wave)
  .option(
    '--soak <seconds>',
    'so long a change must go on helping before it is confirmed',
    String(usualRules.soakSeconds),
  )
  .option(
    '--max-failed <number>',
    'more failures stop the rollout and put everything back',
    String(usualRules.maxFailed),
  )
  .option('--no-control', 'credit a cure without looking at a node that is still untouched')
  .option('--at-once <targets>', 'so many are diagnosed at the same time', '2')
  .addOption(windowOption())
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    `
Nothing is changed before somebody else approves it, by \`undrop approve NAME\` or on the gateway's page; then it goes
through the waves. Right before its change each node is diagnosed again; a node that healed, or whose values are others by
now, is left alone.

Examples:
  undrop rollout 'node/*->service/shop/echo'
  undrop rollout 'n*->far' --canary 1 --wave 25% --soak 300 --max-failed 1
`,
  )
  .action(async (targets: string[], options: Options) => {
    const rules = rulesOf(options);
    const [windowMs, atOnce] = [windowMsOf(options.window), wholeNumber('--at-once', options.atOnce, 1, 50)];
    await withSession(options.inventory, async (session) => {
      const [{ startRollout, awaitRollout }, { newRun }, { whoami }, { everyTarget }, { codeOf }, render] =
        await Promise.all([
          import('../../client/rollouts.ts'),
          import('../../client/start.ts'),
          import('../identity.ts'),
          import('../targets.ts'),
          import('../following.ts'),
          import('../render/rollout.ts'),
        ]);
      const all = await everyTarget(session.inventory, targets);
      if (all.length > mostTargets)
        throw new UserError(`${all.length} targets are more than a rollout takes (${mostTargets}): make several`);
      const name = newRun();
      const requester = await whoami(session.inventory);
      const handle = await startRollout(session, name, { targets: all, rules, windowMs, atOnce, requester });
      if (!options.json) print(`${paint.bold(`Rollout ${name}`)}  ${all.length} targets`);
      const now = await awaitRollout(handle, ({ phase, wave, rows }) =>
        progress(render.rolloutLine(phase, wave, rows)),
      );
      clearProgress();
      if ('outcome' in now) {
        process.exitCode = codeOf(now);
        return options.json ? printJson({ rollout: name, ...now }) : render.printRolloutEnd(now);
      }
      const { signed, needs } = now;
      if (!signed) throw new UserError(`rollout ${name} has no plan`, exit.failed);
      if (options.json) return printJson(signed);
      render.printRollout(signed, needs);
      print(`\n${paint.dim('next')}  undrop approve ${name}, or undrop reject ${name} --reason '...'`);
    });
  });

function rulesOf({ canary, wave, soak, maxFailed, control }: Options): RolloutRules {
  const why = wrongWave(wave);
  if (why !== undefined) throw new UserError(`--wave: ${why}`);
  return {
    canary: wholeNumber('--canary', canary, 1, mostTargets),
    wave,
    soakSeconds: wholeNumber('--soak', soak, 0, 24 * 3600),
    maxFailed: wholeNumber('--max-failed', maxFailed, 0, mostTargets),
    control,
  };
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UserError(`${name} takes a whole number from ${least} to ${most}`);
  return value;
}
