import { z } from 'zod';
import { Name, Needs } from './names.ts';

/** A text in which `*` stands for anything: `node-*`, `*->service/shop/*`. */
const Globs = z.array(z.string().regex(/^[^\s]{1,200}$/)).min(1);
const Days = z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']);
const TimeOfDay = z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'a time of day such as 22:30');
/** The last place where a misspelt zone can be noticed: at night it would be too late. */
const Zone = z.string().refine((zone) => {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}, 'no time zone of that name; give one such as Europe/Berlin');

/** Days are those on which a window opens: `fri` 22:00 to 04:00 ends on Saturday morning. */
export const Window = z
  .strictObject({ days: z.array(Days).min(1).optional(), from: TimeOfDay, to: TimeOfDay, zone: Zone })
  .refine(({ from, to }) => from !== to, { message: 'from and to are the same time', path: ['to'] });

const Moment = z.iso.datetime({ offset: true, error: 'a moment with its offset, such as 2026-12-24T18:00:00+01:00' });
export const Freeze = z
  .strictObject({ from: Moment, to: Moment, reason: z.string().min(1).max(200) })
  .refine(({ from, to }) => Date.parse(from) < Date.parse(to), { message: 'it ends before it begins', path: ['to'] });

const day = 86_400_000;
/** A standing approval that nobody looks at again is no approval. */
const mostDays = 90;
const Standing = z
  .strictObject({ by: z.array(Name).min(1), given: z.iso.date(), until: z.iso.date() })
  .superRefine(({ given, until }, context) => {
    const days = (Date.parse(until) - Date.parse(given)) / day;
    if (days < 0) context.addIssue({ code: 'custom', path: ['until'], message: 'it ends before it is given' });
    if (days > mostDays)
      context.addIssue({ code: 'custom', path: ['until'], message: `${days} days; at most ${mostDays} after it was given` }); // prettier-ignore
  });

const Count = z.int().min(1).max(1_000_000);
/** `any`: also where it is not known how many there are. Only somebody who writes it down takes that risk. */
const Most = z.union([z.int().min(0), z.literal('any')], { error: 'a number, or any' });

const Rule = z
  .strictObject({
    name: Name,
    /** `shadow`: says what it would have done, and does nothing. */
    mode: z.enum(['shadow', 'active']).default('shadow'),
    remedies: z.array(Name).min(1).optional(),
    risks: z.array(z.enum(['low', 'medium', 'high'])).min(1).optional(), // prettier-ignore
    causes: z.array(Name).min(1).optional(),
    nodes: Globs.optional(),
    services: Globs.optional(),
    targets: Globs.optional(),
    /** Who started what the plan comes of: a person, who made the schedule, or a sender of the gateway. */
    requesters: Globs.optional(),
    /** `none`: the standing approval is enough. Else people of these groups have to approve. */
    approvals: z.union([z.literal('none'), Needs], { error: 'none, or a list of groups with a quorum' }),
    standing: Standing.optional(),
    windows: z.array(Window).min(1).optional(),
    freezes: z.array(Freeze).default([]),
    /** Automatic changes of this rule in progress at the same time. */
    atOnce: z.int().min(1).max(20).default(1),
    largest: z.strictObject({ nodes: Count, flows: Most, services: Most }).optional(),
    /** Whether operations that cannot be undone are within its limits. */
    irreversible: z.boolean().default(false),
    /** Whether remedies are within its limits that somebody chose though no proved cause names them. */
    unproved: z.boolean().default(false),
    errorBudget: z
      .strictObject({ failures: Count, perHours: z.number().positive().max(8760) })
      .default({ failures: 1, perHours: 24 }),
    /** Where a limit does not hold. Left out: people for rules without approvals, refuse for those of people. */
    otherwise: z.enum(['people', 'refuse']).optional(),
  })
  .superRefine((rule, context) => {
    const complain = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message }); // prettier-ignore
    if (rule.approvals !== 'none') {
      if (rule.standing) complain('standing', 'goes with `approvals: none` only');
      return;
    }
    if (!rule.standing) complain('standing', '`approvals: none` needs the people who gave it, and until when');
    if (!rule.remedies) complain('remedies', '`approvals: none` is for remedies that it names');
    if (!rule.largest) complain('largest', '`approvals: none` needs the largest nodes, flows and services');
  });

/** When and where changes need nobody, or whom; the first rule that matches a plan decides. */
export const Policy = z
  .strictObject({
    /** Times in which nothing is automatic, whatever the rule. */
    freezes: z.array(Freeze).default([]),
    /** Over all automatic changes of the inventory: so many failures of the last so many, and nothing is automatic. */
    breaker: z
      .strictObject({
        failures: Count,
        of: z.int().min(1).max(100),
        cooldownMinutes: z.number().positive().max(10_080),
      })
      .refine(({ failures, of }) => failures <= of, { message: 'more failures than changes', path: ['failures'] })
      .default({ failures: 3, of: 10, cooldownMinutes: 60 }),
    rules: z.array(Rule),
  })
  .superRefine(({ rules }, context) => {
    rules.forEach(({ name }, index) => {
      if (rules.findIndex((one) => one.name === name) < index)
        context.addIssue({ code: 'custom', path: ['rules', index, 'name'], message: `there are two rules ${name}` });
    });
  });

export type Policy = z.infer<typeof Policy>;
export type PolicyRule = Policy['rules'][number];
export type PolicyWindow = z.infer<typeof Window>;
