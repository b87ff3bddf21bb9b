import { expect, test } from '@jest/globals';
import { harmless } from '../cli/output.ts';
import { remediationMarkdown } from '../domain/report.ts';

const evil = {
  'an escape sequence that sets the title': ['\u001b]0;owned\u0007x', '\ufffd]0;owned\ufffdx'],
  'one that clears the screen': ['a\u001b[2Jb', 'a\ufffd[2Jb'],
  'a carriage return that overwrites the line': ['bad\rgood', 'bad\ufffdgood'],
  'text that runs backwards': ['\u202eabc', '\ufffdabc'],
  'an eight-bit control': ['\u009b31m', '\ufffd31m'],
} as const;

test.each(Object.entries(evil))('%s does nothing to the terminal', (_, [text, shown]) => {
  expect(harmless(text)).toBe(shown);
});

test('colours, line ends and every language stay', () => {
  for (const text of ['\u001b[31mred\u001b[39m', 'two\nlines\t', 'größer, 数据报, داده'])
    expect(harmless(text)).toBe(text);
});

test('what strangers write is text in a report: no link, image, code, table or HTML comes of it', () => {
  const reason = '![x](http://192.0.2.1/beacon) <img src=x> `code` | cell\n# heading';
  const decisions = [{ decision: 'reject' as const, principal: '<b>eve</b>', reason, at: 0 }];
  const report = remediationMarkdown('remediate/x', { outcome: 'rejected', says: reason, decisions, changes: [] });
  expect(report).not.toMatch(/(?<!\\)[[\]`|]|<(img|b)|^# heading/m);
});
