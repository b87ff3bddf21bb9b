import { UserError, exit } from './output.ts';

/** Asks a yes-or-no question at the terminal. @throws UserError where there is none */
export async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UserError('there is no terminal to ask at; give --yes');
  const { createInterface } = await import('node:readline/promises');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`\n${question} [y/N] `)).trim());
  } catch (error) {
    if (error instanceof Error && error.name === 'AbortError')
      throw new UserError('interrupted; nothing was decided', exit.interrupted);
    throw error;
  } finally {
    terminal.close();
  }
}
