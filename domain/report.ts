import type { RecordedDecision } from './approval.ts';
import { described } from './operation.ts';
import { radiusLine } from './plan.ts';
import { proposalsMarkdown } from './proposal-report.ts';
import { judgementText } from './remit.ts';
import type { Runbook } from './runbook.ts';
import { type ChangeResult, type DiagnoseResult, type RemediateResult, surveyLine } from './runs.ts';
import { significant, wilson } from './statistics.ts';
import { sumLine, summarise, sumsOf } from './summary.ts';
import { type Conclusion, openLoss } from './verdict.ts';

/** Text of nodes and of people, as text: no cell ends early, no link, image, code or HTML comes of it. */
export const escape = (text: string): string =>
  text
    .replaceAll(/[|[\]`]/g, '\\$&')
    .replaceAll('<', '&lt;')
    .replaceAll(/\s+/g, ' ');
export const row = (cells: readonly (string | number)[]): string =>
  `| ${cells.map((cell) => escape(String(cell))).join(' | ')} |`;
const list = (places: readonly string[]): string => places.join(', ');

/** What was done instead of sending, for reports. */
export const passiveMeans =
  "the target's own traffic was watched at both ends, by keyed hashes of its payloads; requests and answers both count.";

/** The report of a diagnosis in Markdown: what was lost, what explains it, what was ruled out, what next, what to learn. */
export function diagnosisMarkdown(
  runbook: Runbook,
  run: Omit<DiagnoseResult, 'report'>,
  conclusion: Conclusion,
): string {
  const lines = [`# ${run.path.text}: ${headline(conclusion)}`, '', `Run ${run.run}. ${escape(conclusion.says)}.`, ''];
  if (conclusion.passive) lines.push(`Nothing was sent: ${passiveMeans}`, '');
  if (run.survey) {
    lines.push(
      '## Where it was looked for',
      '',
      conclusion.passive
        ? 'Clients by the flows that nodes track; nothing was sent to find them.'
        : 'A few datagrams on each path; the one that lost most was looked at.',
      '',
    );
    lines.push(...run.survey.map((one) => `- ${escape(surveyLine(one))}`), '');
  }
  lines.push('## What was lost', '', row(['step', 'question', 'sent', 'lost', '95 % interval', 'accounted for by']));
  lines.push(row(['---', '---', '--:', '--:', '---', '---']));
  for (const account of conclusion.accounts) {
    const step = run.steps.find((one) => one.step === account.step);
    const { low, high } = account.sent ? wilson(account.lost, account.sent) : { low: 0, high: 1 };
    const interval = `${(low * 100).toFixed(1)} to ${(high * 100).toFixed(1)} %`;
    const by = account.explained.map((one) =>
      one.among === undefined
        ? `${one.cause} at ${one.place}: ${one.counter} +${one.counted}`
        : `${one.cause} at ${one.place}: ${one.counter}, ${one.counted} of +${one.among} with other traffic's`,
    );
    lines.push(row([account.step, step?.question ?? '', account.sent, account.lost, interval, list(by)]));
  }
  for (const step of run.steps)
    if (step.failed !== undefined) lines.push(row([step.step, step.question, conclusion.passive ? 'not watched' : 'not sent', '', '', step.failed])); // prettier-ignore
  const sums = sumsOf(conclusion);
  if (sums.length) lines.push('', ...sums.map((sum) => `- ${escape(sumLine(sum))}`));
  lines.push('', '## What explains it', '');
  if (conclusion.roots.length === 0) lines.push('No cause is proved.');
  for (const verdict of conclusion.verdicts.filter(({ kind }) => kind === 'proved')) {
    const cause = runbook.causes.find(({ id }) => id === verdict.cause);
    const relation = cause?.condition ? 'a condition of' : 'an effect of';
    const effect = verdict.effectOf ? ` (${relation} ${verdict.effectOf})` : '';
    lines.push(
      `### ${verdict.cause} at ${verdict.place}: ${cause?.title ?? ''}${effect}`,
      '',
      escape(verdict.says),
      '',
    );
    if (!verdict.effectOf && cause) lines.push(`${cause.mechanism.trim()}`, '', `Owner: ${cause.owner}`, '');
  }
  section('## Suspected', 'suspected');
  section('## Discarded hypotheses, and the number that rules each out', 'refuted');
  section('## Not tested, and why', 'untested');
  for (const [place, why] of Object.entries(conclusion.unseen))
    lines.push(`- ${escape(place)} could not be seen: ${escape(why)}`);
  lines.push('', '## What next', '', escape(nextLine(runbook, conclusion)), '');
  const learned = conclusion.roots.flatMap(({ cause }) => runbook.causes.find(({ id }) => id === cause) ?? []);
  if (learned.length) lines.push('## Lessons: prevent the next one', '');
  for (const cause of new Set(learned)) lines.push(`- ${cause.id}: ${cause.prevent} (${cause.sources.join('; ')})`);
  const proof = `Judged by runbook ${run.runbook.slice(0, 12)} from evidence ${run.evidence.first.slice(0, 12)} and ${run.evidence.parts.length} windows; \`undrop explain ${run.run}\` judges it again.`;
  return [...lines, '', proof, ''].join('\n');

  function section(title: string, kind: 'suspected' | 'refuted' | 'untested'): void {
    const found = summarise(runbook, conclusion, kind);
    if (found.length === 0) return;
    lines.push('', title, '', row(['cause', 'at', 'why']), row(['---', '---', '---']));
    for (const { cause, verdicts } of found)
      for (const verdict of verdicts) lines.push(row([`${cause.id}: ${cause.title}`, verdict.place, verdict.says]));
  }
}

/** `OFFLOAD-CSUM-TX at h1`, or in a few words why there is no such name. */
export function headline({ kind, roots, accounts, passive }: Conclusion): string {
  const names = roots.map(({ cause, place }) => `${cause} at ${place}`).join(', ');
  if (kind === 'no-loss') return 'no loss';
  if (kind === 'inconclusive') {
    if (accounts.every(({ sent }) => sent === 0)) return passive ? 'no traffic was seen' : 'nothing could be sent';
    const judged = accounts.some(({ lost }) => significant(lost));
    return judged ? 'loss without a proved cause' : 'too little loss to judge';
  }
  const open = accounts.filter((one) => significant(one.lost) && openLoss(one) > 0).map(({ step }) => step);
  return kind === 'partly' ? `${names}; ${open.join(', ')} not explained` : names;
}

/** What a person should do now. */
export function nextLine(runbook: Runbook, conclusion: Conclusion): string {
  const { passive } = conclusion;
  const again = 'Run without --passive';
  if (passive && conclusion.next)
    return `${again}: it sends, and takes the step ${conclusion.next.step} (${conclusion.next.why}).`;
  if (conclusion.next) return `Most telling next step: ${conclusion.next.step} (${conclusion.next.why})`;
  if (conclusion.kind === 'no-loss') return 'Nothing to do now. If users still see loss, run again while it happens.';
  if (passive && conclusion.accounts.every(({ sent }) => sent === 0))
    return `${again}: some 5,000 small datagrams to undrop's own listener say more; or watch for longer (--window) while users send.`;
  if (conclusion.accounts.every(({ sent }) => sent === 0))
    return 'Nothing can be said before something can be sent: each step says why it was not.';
  if (!conclusion.accounts.some(({ lost }) => significant(lost)))
    return 'Run again while users see the loss: more of it, in one step, can be held against counters.';
  const remedies = conclusion.roots.flatMap(
    ({ cause }) => runbook.causes.find(({ id }) => id === cause)?.remedies ?? [],
  );
  if (passive && remedies.length)
    return `${again}, and plan from that (${[...new Set(remedies)].join(', ')}): a change is measured by probes before and after.`;
  const does = (id: string): boolean => runbook.remedies.some((one) => one.id === id && one.operations.length > 0);
  if (remedies.some(does)) return `Make a plan and have it approved: ${[...new Set(remedies)].join(', ')}.`;
  if (remedies.length)
    return `undrop has no safe operation for this; a plan proposes the exact change to its owner: ${[...new Set(remedies)].join(', ')}.`;
  const owners = conclusion.roots.map(({ cause }) => runbook.causes.find(({ id }) => id === cause)?.owner ?? '');
  if (owners.length) return `undrop has no safe operation for this; it belongs to: ${[...new Set(owners)].join('; ')}.`;
  if (passive) return `${again}: probes of several sizes, rates and routes tell more apart than users' traffic does.`;
  return 'Nothing that undrop can read explains the loss; capture packets at both ends of the lossy hop.';
}

/** The second half of the report: what was planned, decided, done and proved. */
export function remediationMarkdown(workflowId: string, result: Omit<RemediateResult, 'report'>): string {
  const { signed, decisions, changes } = result;
  const lines = [`# ${workflowId}: ${result.outcome}`, '', `${escape(result.says)}.`, ''];
  if (signed) {
    const { plan, digest } = signed;
    lines.push(`## Plan ${digest.slice(0, 12)}: ${plan.title}`, '', `Asked for by ${plan.requester}.`, '');
    for (const change of plan.changes)
      for (const operation of change.operations) lines.push(`- ${change.place}: ${escape(described(operation))}`);
    lines.push(
      `- prediction: ${plan.predict}, within ${plan.withinSeconds} s`,
      `- risk ${plan.risk}; cost: ${plan.cost}`,
    );
    lines.push(`- touches ${escape(radiusLine(plan.radius))}`);
    lines.push(`- owner: ${plan.owner}; lasts ${plan.lasts}`);
    for (const why of plan.ruledOut ?? []) lines.push(`- instead of ${escape(why)}`);
  }
  lines.push(...proposalsMarkdown(result.proposals ?? signed?.plan.proposals ?? [], escape));
  if (result.judged) lines.push('', '## Policy', '', `${escape(judgementText(result.judged))}.`);
  if (result.proposals) return [...lines, ''].join('\n');
  lines.push(...decisionsMarkdown(decisions));
  for (const change of changes)
    lines.push(
      '',
      `## ${change.place}: ${change.outcome}`,
      '',
      `${escape(change.says)}.`,
      '',
      ...changeMarkdown(change),
    );
  return [...lines, ''].join('\n');
}

/** Who decided what and when, also what did not count. */
export function decisionsMarkdown(decisions: readonly RecordedDecision[]): string[] {
  const lines = decisions.map(({ decision, principal, reason, at, refused }) => {
    const counted = refused === undefined ? '' : ` (refused: ${escape(refused)})`;
    return `- ${new Date(at).toISOString()} ${escape(principal)}: ${decision}${reason ? `, "${escape(reason)}"` : ''}${counted}`;
  });
  return ['', '## Decisions', '', ...(lines.length ? lines : ['Nobody decided.'])];
}

/** What was measured around a change, read back after it, and where its node noted it. */
export const changeMarkdown = ({ verification, proof, id }: ChangeResult): string[] => [
  ...(verification?.steps ?? []).map(
    ({ step, before, after }) =>
      `- ${step}: lost ${before.lost} of ${before.sent} before, ${after.lost} of ${after.sent} after`,
  ),
  ...proof.map((line) => `- read back: ${escape(line)}`),
  ...(id ? [`- journal on the node: /run/undrop/${id}`] : []),
];
