import { z } from 'zod';
import { ExpressionError } from './cel.ts';

/** A text of a file that is checked when the file is read. @param words what it is called in the complaint */
export const checked = (check: (text: string) => unknown, words: string) =>
  z.string().superRefine((text, context) => {
    try {
      check(text);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      context.addIssue({ code: 'custom', message: `${words} "${text}": ${error.message}` });
    }
  });
