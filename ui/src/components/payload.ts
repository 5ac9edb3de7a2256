import { hiddenIn } from './hidden';

/** One argument of a tool call, ready to be shown whole. */
export interface Field {
  name: string | null;
  text: string;
}

/** Keys that say best what a call is about, in order. */
const TELLING = ['command', 'cmd', 'path', 'file', 'filename', 'url', 'query', 'pattern', 'title', 'name', 'text'];

/** The arguments of a call as fields, nothing left out. Text in another form (unfinished JSON) is one nameless field. */
export function fieldsOf(input: unknown, raw: string): Field[] {
  const value = input ?? parse(raw);
  if (value === undefined || value === null) return raw.trim() === '' ? [] : [{ name: null, text: raw }];
  if (typeof value !== 'object' || Array.isArray(value)) return [{ name: null, text: textOf(value) }];
  return Object.entries(value).map(([name, field]) => ({ name, text: textOf(field) }));
}

/** A value as text: strings as they are, everything else as indented JSON. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return JSON.stringify(value, null, 2) ?? 'null';
}

/** What a call is about, on one line. */
export function summaryOf(input: unknown, raw: string, longest = 72): string {
  const value = input ?? parse(raw);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const entries = Object.entries(value);
    if (entries.length === 0) return '';
    const known = TELLING.flatMap((key) => entries.filter(([name]) => name === key));
    const [, telling] = known[0] ?? entries[0] ?? ['', ''];
    return clip(typeof telling === 'string' ? telling : JSON.stringify(telling), longest);
  }
  return clip(value === undefined || value === null ? raw : textOf(value), longest);
}

/** Text on one line, of at most so many letters, with letters that hide made visible. */
export function clip(text: string, longest: number): string {
  // Nothing is gained from looking at all of a long text.
  const line = revealHidden(text.slice(0, longest * 8).replace(/[\t\n\r ]+/g, ' '))
    .map((piece) => (piece.hidden ? '\ufffd' : piece.text))
    .join('')
    .trim();
  return line.length > longest || text.length > longest * 8 ? `${line.slice(0, longest - 1)}…` : line;
}

/** The beginning of a text in Markdown as plain words, for one line of a list. */
export function plainWords(markdown: string): string {
  return markdown
    .slice(0, 400)
    .replace(/```[\w-]*/g, ' ')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/^\s{0,3}(?:#{1,6}\s+|>\s?|[-*+]\s+(?:\[[ xX]\]\s+)?|\d+[.)]\s+)/gm, '')
    .replace(/^\s*\|?[\s:|-]{3,}\|?\s*$/gm, ' ')
    .replace(/(\*\*|__|~~)(?=\S)([\s\S]*?\S)\1/g, '$2')
    .replace(/(^|[\s(])[*_](?=\S)([^*_\n]*?\S)[*_](?=[\s).,;:!?]|$)/g, '$1$2')
    .replace(/`([^`]*)`/g, '$1')
    .replace(/\s*\|\s*/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** A file, and the line in it. */
export function placeWords({ path, line }: { path: string; line: number | null }): string {
  return line === null ? path : `${path}:${String(line)}`;
}

/** A text that is a list or an object in JSON; undefined for any other. */
export function parsed(text: string): unknown {
  return /^\s*[[{]/.test(text) ? parse(text) : undefined;
}

function parse(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}

/**
 * Splits text into what can be read and what hides ({@link hiddenIn}), which makes a command look like another one. A
 * card that asks for consent names it.
 */
export function revealHidden(text: string): { text: string; hidden: boolean }[] {
  const pieces: { text: string; hidden: boolean }[] = [];
  let from = 0;
  for (const { at, letter } of hiddenIn(text)) {
    if (at > from) pieces.push({ text: text.slice(from, at), hidden: false });
    const code = letter.codePointAt(0) ?? 0;
    pieces.push({ text: `U+${code.toString(16).toUpperCase().padStart(4, '0')}`, hidden: true });
    from = at + letter.length;
  }
  if (from < text.length) pieces.push({ text: text.slice(from), hidden: false });
  return pieces;
}
