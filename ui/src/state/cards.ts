import type { JsonValue, Part } from '../ipc/contract';

/** How far an entry of a plan is; what is not known has not begun. */
export type EntryState = 'pending' | 'in_progress' | 'completed';

export interface PlanEntry {
  text: string;
  state: EntryState;
}

/** What an agent means to do. One that it wrote as a text has no entries. */
export interface Plan {
  id: string;
  entries: PlanEntry[];
  text: string;
}

/** How much of what an agent can keep in mind is taken. */
export interface ContextUse {
  used: number;
  size: number;
  /** What it cost so far, in words; null where nobody says it. */
  cost: string | null;
}

/** What an agent says beside its answer. */
export interface Remark {
  grave: boolean;
  title: string;
  text: string;
  /** Ways to sign in, where it wants that. */
  signIn: { name: string; description: string; command: string }[];
}

/** Entries of a plan that are drawn. */
const MOST = 200;

/** The plans in an answer, in the order in which they were made; those that are given up are left out. */
export function plansIn(parts: readonly Part[]): Plan[] {
  return parts.flatMap((part) => (part.type === 'data' && part.name === 'acp.plan' ? planOf(part.data, part.id) : []));
}

function planOf(data: JsonValue, name: string | null): Plan[] {
  if (!isObject(data) || data['removed'] === true) return [];
  const entries = Array.isArray(data['entries']) ? data['entries'].slice(0, MOST).flatMap(entryOf) : [];
  const text = typeof data['markdown'] === 'string' ? data['markdown'] : '';
  return entries.length === 0 && text === '' ? [] : [{ id: name ?? 'main', entries, text }];
}

function entryOf(entry: JsonValue | undefined): PlanEntry[] {
  if (!isObject(entry) || typeof entry['content'] !== 'string') return [];
  const { status } = entry;
  return [{ text: entry['content'], state: status === 'in_progress' || status === 'completed' ? status : 'pending' }];
}

/** How far a plan is, in words. */
export function planWords({ entries }: Plan): string {
  const done = entries.filter(({ state }) => state === 'completed').length;
  return entries.length === 0 ? 'Plan' : `Plan · ${String(done)} of ${String(entries.length)} done`;
}

/** How much of its memory an agent used in an answer; null where it does not say. */
export function contextIn(parts: readonly Part[]): ContextUse | null {
  for (const part of [...parts].reverse()) {
    if (part.type !== 'data' || part.name !== 'acp.usage' || !isObject(part.data)) continue;
    const { used, size, cost } = part.data;
    if (typeof used === 'number' && typeof size === 'number' && size > 0 && used >= 0) return { used, size, cost: costOf(cost) };
  }
  return null;
}

function costOf(cost: JsonValue | undefined): string | null {
  if (!isObject(cost) || typeof cost['amount'] !== 'number') return null;
  const { amount, currency } = cost;
  try {
    return new Intl.NumberFormat(undefined, { style: 'currency', currency: typeof currency === 'string' ? currency : 'USD', maximumFractionDigits: 4 }).format(amount as number);
  } catch {
    // No currency that anybody knows.
    return `${String(amount)} ${String(currency)}`.slice(0, 40);
  }
}

/** What an agent says of itself beside its answer; null for what is none. */
export function remarkOf(name: string, data: JsonValue): Remark | null {
  if (!isObject(data)) return null;
  const word = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');
  if (name === 'acp.compaction') {
    const { status, summary, error } = data;
    const failed = word(error) !== '';
    const title = failed ? 'The agent could not sum up what was said before' : status === 'in_progress' ? 'The agent sums up what was said before' : 'The agent summed up what was said before';
    return { grave: failed, title, text: failed ? word(error) : word(summary), signIn: [] };
  }
  if (name !== 'acp.notice') return null;
  const title = word(data['title']);
  const text = word(data['description']);
  const { signIn } = data;
  const methods = isObject(signIn) && Array.isArray(signIn['methods']) ? signIn['methods'] : [];
  return {
    grave: data['severity'] === 'warning' || data['severity'] === 'error',
    title: title === '' ? (text === '' ? 'A remark of the agent' : text) : title,
    text: title === '' ? '' : text,
    signIn: methods.slice(0, 20).flatMap((method) => (isObject(method) && word(method['name']) !== '' ? [{ name: word(method['name']), description: word(method['description']), command: word(method['command']) }] : [])),
  };
}

/** Cards of an agent that stand at another place than in its answer. */
export function isElsewhere(part: Part): boolean {
  return part.type === 'data' && part.name === 'acp.usage';
}

function isObject(value: unknown): value is Record<string, JsonValue | undefined> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
