import { hiddenIn } from './hidden';

/** A line of a comparison. */
export interface DiffLine {
  kind: 'same' | 'removed' | 'added' | 'skipped';
  text: string;
}

/** Lines that differ more than this are told as all removed and all added: to find the fewest costs their square. */
const MOST_EDITS = 600;

/** The lines of `before` and `after` as one list: without the added ones it is `before`, without the removed ones `after`. */
export function diffLines(before: string, after: string): DiffLine[] {
  const a = linesOf(before);
  const b = linesOf(after);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const same = (lines: readonly string[]): DiffLine[] => lines.map((text) => ({ kind: 'same', text }));
  return [
    ...same(a.slice(0, start)),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...same(a.slice(a.length - end)),
  ];
}

/** The fewest edits between two lists of lines (Myers 1986), removed ones first. */
function middle(a: readonly string[], b: readonly string[]): DiffLine[] {
  const whole = (): DiffLine[] => [
    ...a.map((text): DiffLine => ({ kind: 'removed', text })),
    ...b.map((text): DiffLine => ({ kind: 'added', text })),
  ];
  if (a.length === 0 || b.length === 0) return whole();
  const most = Math.min(a.length + b.length, MOST_EDITS);
  const reach: Map<number, number>[] = [];
  let furthest = new Map([[1, 0]]);
  for (let edits = 0; edits <= most; edits += 1) {
    const next = new Map(furthest);
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      next.set(k, x);
      if (k === a.length - b.length && x >= a.length) return walkBack(a, b, [...reach, furthest], edits);
    }
    reach.push(furthest);
    furthest = next;
  }
  return whole();
}

function walkBack(a: readonly string[], b: readonly string[], reach: readonly Map<number, number>[], edits: number): DiffLine[] {
  const lines: DiffLine[] = [];
  let x = a.length;
  let y = b.length;
  for (let d = edits; d >= 0; d -= 1) {
    const before = reach[d] ?? new Map<number, number>();
    const k = x - y;
    const down = k === -d || (k !== d && (before.get(k - 1) ?? -1) < (before.get(k + 1) ?? -1));
    const fromK = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : (before.get(fromK) ?? 0);
    const fromY = d === 0 ? 0 : fromX - fromK;
    while (x > fromX && y > fromY) {
      x -= 1;
      y -= 1;
      lines.push({ kind: 'same', text: a[x] ?? '' });
    }
    if (d === 0) break;
    if (down) {
      y -= 1;
      lines.push({ kind: 'added', text: b[y] ?? '' });
    } else {
      x -= 1;
      lines.push({ kind: 'removed', text: a[x] ?? '' });
    }
  }
  return lines.reverse();
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.split('\n');
}

/** Lines around a change that are shown. */
const CONTEXT = 3;

/** A comparison with the long stretches that did not change left out. */
export function shortened(lines: readonly DiffLine[]): DiffLine[] {
  const near = new Set<number>();
  lines.forEach(({ kind }, at) => {
    if (kind === 'same') return;
    for (let around = at - CONTEXT; around <= at + CONTEXT; around += 1) near.add(around);
  });
  const result: DiffLine[] = [];
  let left = 0;
  const say = (): void => {
    if (left > 0) result.push({ kind: 'skipped', text: String(left) });
    left = 0;
  };
  lines.forEach((line, at) => {
    if (near.has(at)) {
      say();
      result.push(line);
    } else {
      left += 1;
    }
  });
  say();
  return result;
}

/** A change of a file, as a call asks for it. */
export interface Edit {
  /** The file, where the call says. */
  path: string | null;
  lines: DiffLine[];
  /** How many lines it adds and removes, where not all of them are here. */
  counts?: { added: number; removed: number };
  /** Not all of it is here: it was too long to be told. */
  cut?: boolean;
}

/** Names under which calls give the text before and after. */
const PAIRS: readonly (readonly [string, string])[] = [
  ['old_string', 'new_string'],
  ['old_str', 'new_str'],
  ['oldString', 'newString'],
  ['old_text', 'new_text'],
  ['oldText', 'newText'],
  ['old', 'new'],
  ['search', 'replace'],
  ['find', 'replace'],
  ['before', 'after'],
  ['original', 'updated'],
];
const PATHS = ['path', 'file_path', 'filePath', 'file', 'filename', 'target_file'];
const LONGEST_PATH = 180;
const PATCHES = ['patch', 'diff', 'unified_diff'];

/** What a call changes, and its arguments that say no more than that; null where it is no edit. */
export function editsOf(input: unknown): { edits: Edit[]; told: ReadonlySet<string> } | null {
  if (!isObject(input)) return null;
  const path = PATHS.map((name) => input[name]).find((value) => typeof value === 'string') ?? null;
  const told = new Set<string>();
  const edits: Edit[] = [];
  const pair = pairOf(input);
  if (pair !== null) {
    edits.push({ path, lines: diffLines(pair.before, pair.after) });
    for (const name of pair.names) told.add(name);
  }
  const many = input['edits'];
  if (Array.isArray(many) && many.length > 0) {
    const each = many.map((one) => (isObject(one) ? pairOf(one) : null));
    // Nothing may be left out: what says more than before and after is shown as it came.
    if (each.every((one, at) => one !== null && Object.keys(many[at] as object).length === one.names.length)) {
      for (const one of each) if (one !== null) edits.push({ path, lines: diffLines(one.before, one.after) });
      told.add('edits');
    }
  }
  for (const name of PATCHES) {
    const patch = input[name];
    if (typeof patch === 'string' && isPatch(patch)) {
      edits.push({ path, lines: linesOfPatch(patch) });
      told.add(name);
    }
  }
  if (edits.length === 0) return null;
  // Its name stands above the change, unless it is one that a line has no room for, or that hides something.
  for (const name of PATHS) {
    const value = input[name];
    if (typeof value === 'string' && value === path && value.length <= LONGEST_PATH && hiddenIn(value).length === 0) told.add(name);
  }
  return { edits, told };
}

/** How many lines an edit adds and removes. */
export function countOf({ lines, counts }: Edit): { added: number; removed: number } {
  if (counts !== undefined) return counts;
  return { added: lines.filter(({ kind }) => kind === 'added').length, removed: lines.filter(({ kind }) => kind === 'removed').length };
}

function pairOf(input: Record<string, unknown>): { before: string; after: string; names: readonly [string, string] } | null {
  for (const names of PAIRS) {
    const [before, after] = names.map((name) => input[name]);
    if (typeof before === 'string' && typeof after === 'string') return { before, after, names };
  }
  return null;
}

function isPatch(text: string): boolean {
  return /^(?:@@ |\*\*\* Begin Patch|diff --git |--- )/m.test(text) && /^[+-]/m.test(text);
}

/** The lines of a unified diff, or of one in `*** Begin Patch`. Every line of it is there. */
export function linesOfPatch(patch: string): DiffLine[] {
  return patch.split('\n').map((line): DiffLine => {
    if (/^(?:\+\+\+ |--- |@@|diff --git |index |\*\*\* )/.test(line)) return { kind: 'same', text: line };
    if (line.startsWith('+')) return { kind: 'added', text: line.slice(1) };
    if (line.startsWith('-')) return { kind: 'removed', text: line.slice(1) };
    return { kind: 'same', text: line.startsWith(' ') ? line.slice(1) : line };
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
