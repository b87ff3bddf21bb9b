import type { PolicyWindow } from './policy.ts';

const week = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

/**
 * Whether a window is open, by the clock on the wall of its zone: an hour that the clock skips is in no window, and one
 * that it shows twice is in it twice. A window over midnight belongs to the day on which it opens.
 * @param now milliseconds since the epoch
 */
export function isOpen({ days = [...week], from, to, zone }: PolicyWindow, now: number): boolean {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(new Date(now));
  const part = (type: string): string => parts.find((one) => one.type === type)?.value ?? '';
  const today = week.findIndex((name) => name === part('weekday').toLowerCase());
  const minutes = Number(part('hour')) * 60 + Number(part('minute'));
  const [opens, closes] = [minutesOf(from), minutesOf(to)];
  const opensOn = (index: number): boolean => days.includes(week[(index + 7) % 7] ?? 'sun');
  if (opens < closes) return opensOn(today) && minutes >= opens && minutes < closes;
  return (opensOn(today) && minutes >= opens) || (opensOn(today - 1) && minutes < closes);
}

function minutesOf(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return hours * 60 + minutes;
}

/** `mon, tue 22:00 to 04:00 Europe/Berlin` */
export const windowText = ({ days, from, to, zone }: PolicyWindow): string =>
  `${days ? `${days.join(', ')} ` : ''}${from} to ${to} ${zone}`;
