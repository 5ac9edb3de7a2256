const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const number = numbersOf(undefined);
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Milliseconds of a time on the wire, or null when it is none. */
export function parseTime(time: string | null | undefined): number | null {
  if (time === null || time === undefined) return null;
  const at = Date.parse(time);
  return Number.isNaN(at) ? null : at;
}

export function timeOfDay(at: number): string {
  return clock.format(at);
}

export function fullTime(at: number): string {
  return full.format(at);
}

/** How long ago, in the fewest letters: "now", "5m", "3h", yesterday's "14:02", "Tue", "4 Mar". */
export function age(at: number, now: number): string {
  const passed = now - at;
  if (passed < MINUTE) return 'now';
  if (passed < HOUR) return `${String(Math.floor(passed / MINUTE))}m`;
  if (daysBetween(at, now) === 0) return `${String(Math.floor(passed / HOUR))}h`;
  if (daysBetween(at, now) === 1) return timeOfDay(at);
  if (daysBetween(at, now) < 7) return weekday.format(at).slice(0, 3);
  return day.format(at);
}

/** The heading a time falls under. */
export function dayName(at: number, now: number): string {
  const days = daysBetween(at, now);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days < 7) return weekday.format(at);
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? day.format(at) : dayOfYear.format(at);
}

/** Coarser, for the list of sessions. */
export function period(at: number, now: number): string {
  const days = daysBetween(at, now);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days < 7) return 'Past week';
  if (days < 31) return 'Past month';
  return 'Earlier';
}

export function daysBetween(at: number, now: number): number {
  return Math.round((startOfDay(now) - startOfDay(at)) / DAY);
}

function startOfDay(at: number): number {
  const date = new Date(at);
  date.setHours(0, 0, 0, 0);
  return date.getTime();
}

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${String(seconds)}s`;
  return `${String(Math.floor(seconds / 60))}m ${String(seconds % 60).padStart(2, '0')}s`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number.format(count)} ${count === 1 ? one : many}`;
}

/** A past moment in a sentence: "14:02", or "Tuesday 14:02". */
export function whenWas(at: number, now: number): string {
  return daysBetween(at, now) === 0 ? timeOfDay(at) : `${dayName(at, now)}, ${timeOfDay(at)}`;
}

/** How numbers are written in a locale. One without separators, as `C` is, writes nobody's language: English then. */
export function numbersOf(locale: string | undefined): Intl.NumberFormat {
  const own = new Intl.NumberFormat(locale);
  return /\D/.test(own.format(1_234_567)) ? own : new Intl.NumberFormat('en');
}

/** A number with its separators: "1,000,004". */
export function count(value: number): string {
  return number.format(value);
}

/** A number of bytes in the units people know: "12 KB", "3.4 MB". */
export function size(bytes: number): string {
  if (bytes < 1e6) return `${count(Math.ceil(bytes / 1e3))} KB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
