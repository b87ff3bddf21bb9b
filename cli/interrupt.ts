import { clearProgress, exit } from './output.ts';

/**
 * Runs work that ^C ends in an orderly way: the first ^C calls `cancel`, which makes the work end by itself after its
 * clean-up; a second one leaves at once (what is durable goes on at the next start).
 */
export async function interruptible<T>(work: () => Promise<T>, cancel: () => Promise<unknown>): Promise<T> {
  let times = 0;
  const interrupt = (): void => {
    if (++times > 1) process.exit(exit.interrupted);
    clearProgress();
    process.stderr.write('cleaning up; ^C again leaves at once\n');
    cancel().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  try {
    return await work();
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}
