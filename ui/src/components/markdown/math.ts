import type { Lexer, TokenizerAndRendererExtension } from 'marked';

import { isUnspaced } from './scripts';

/** A formula is not longer than this, letters: its end is not looked for any further. */
const LONGEST = 4_000;
const PAIRS = [
  ['\\(', '\\)'],
  ['\\[', '\\]'],
  ['$$', '$$'],
] as const;
/** Surroundings that make a formula without any delimiters. */
const SURROUNDINGS = /^\\begin\{((?:equation|align|aligned|alignat|gather|gathered|split|cases|[pbBvV]?matrix|array|CD)\*?)\}/;
/** The end of a line, and a formula that begins the next. */
const OPENING_LINE = /\n {0,3}(?:\$\$|\\\[|\\begin\{)/;
/** The signs with which a formula may begin in a line. */
const OPENING = /\\(?:[([]|begin\{)|\$/;
/** A dollar sign opens a formula only where it does not stand before a space, and closes none after a space or before a digit. */
const DOLLARS = /^\$(?!\s)((?:[^$\\\n`]|\\[^\n`]){1,300}?)\$(?![\d$])/;
/** The signs that only formulas have. */
const SIGNS = /[\\^_{}=]/;
const OPERATOR = /[-+*/<>|!,()≤≥≠±×·÷→∈]/;
/** Prose: two words, one after the other. */
const PROSE = /\p{L}{2,}[,;:]?\s+\p{L}{2,}/u;

/** A formula in a text. */
export interface Formula {
  /** The formula with its delimiters, as it was written. */
  source: string;
  tex: string;
  /** Whether it stands on a line of its own. */
  display: boolean;
}

/** The formula that `source` is, delimiters and all. */
export function formulaOf(source: string): Formula {
  if (SURROUNDINGS.test(source)) return { source, tex: source, display: true };
  const width = source.startsWith('$') && !source.startsWith('$$') ? 1 : 2;
  return { source, tex: source.slice(width, -width).trim(), display: source.startsWith('$$') || source.startsWith('\\[') };
}

/** The formula that `src` begins with, delimiters and all, or null. It may go over lines, not over a blank one. */
function mathAt(src: string, before: string): string | null {
  // `US$5`, and a run of dollar signs that was no formula.
  const inWord = /[\p{L}\p{N}$]/u.test(before) && !isUnspaced(before);
  for (const [open, close] of PAIRS) {
    if (!src.startsWith(open)) continue;
    const end = src.slice(0, LONGEST).indexOf(close, open.length + 1);
    if (end === -1 || src.startsWith('$$$')) return null;
    const source = src.slice(0, end + close.length);
    if (/\n[ \t]*\n/.test(source)) return null;
    const body = source.slice(open.length, -close.length);
    // Brackets and parentheses are also escaped in plain prose.
    if (!SIGNS.test(body) && (inWord || !isBare(body.trim(), open !== '\\('))) return null;
    return source;
  }
  const surroundings = SURROUNDINGS.exec(src)?.[1];
  if (surroundings !== undefined) {
    const close = `\\end{${surroundings}}`;
    const end = src.slice(0, LONGEST).indexOf(close);
    return end === -1 || /\n[ \t]*\n/.test(src.slice(0, end)) ? null : src.slice(0, end + close.length);
  }
  if (inWord) return null;
  const [source, body] = DOLLARS.exec(src) ?? [];
  if (source === undefined || body === undefined || /\s$/.test(body) || isPrice(body)) return null;
  if (!SIGNS.test(body) && !isBare(body, false)) return null;
  // `$n$th`, but not `$HOME/$USER`.
  if (/^[A-Za-z]/.test(src.slice(source.length)) && !/^[A-Za-z]$|[\\^]/.test(body)) return null;
  return source;
}

/** Whether `body`, which has none of the signs of a formula, may be one. */
function isBare(body: string, display: boolean): boolean {
  if (isUnspaced(body) || PROSE.test(body) || body === '') return false;
  // A number or a word in brackets is a note or a place to fill in.
  if (display) return OPERATOR.test(body) || /^\p{L}$/u.test(body);
  return !/\s/.test(body) || OPERATOR.test(body);
}

/** `5 and`, `10 (or`: a price, and words after it. */
function isPrice(body: string): boolean {
  return /^\d/.test(body) && !body.includes('\\') && (/\s\(?\p{L}{2,}/u.test(body) || isUnspaced(body));
}

/** The place in `src` where a formula may begin, or undefined. */
export function mathStart(src: string): number | undefined {
  const at = src.search(OPENING);
  return at === -1 ? undefined : at;
}

/** Markdown would read formulas as escapes and emphasis: they are tokens of their own. */
export const INLINE_MATH: TokenizerAndRendererExtension = {
  name: 'math',
  level: 'inline',
  start: mathStart,
  tokenizer: (src, tokens) => {
    if (src.search(OPENING) !== 0) return undefined;
    const raw = mathAt(src, tokens.at(-1)?.raw.slice(-1) ?? '');
    return raw === null ? undefined : { type: 'math', raw };
  },
};

export const BLOCK_MATH: TokenizerAndRendererExtension = {
  name: 'mathBlock',
  level: 'block',
  // It interrupts a paragraph, as a fence does.
  start: (src) => {
    const at = src.search(OPENING_LINE);
    return at === -1 ? undefined : at + 1;
  },
  tokenizer: (src) => {
    const indent = /^ {0,3}(?=\$\$|\\\[|\\begin\{)/.exec(src)?.[0];
    if (indent === undefined) return undefined;
    const text = mathAt(src.slice(indent.length), '');
    if (text === null) return undefined;
    const [end, after] = /^[ \t]*([.,;:。，；：]?)[ \t]*(?:\n|$)/.exec(src.slice(indent.length + text.length)) ?? [];
    return end === undefined ? undefined : { type: 'mathBlock', raw: indent + text + end, text, after };
  },
};

/**
 * Covers the formulas in `masked`, so that no emphasis begins or ends in them. `masked` is `src` with code, links and
 * escapes covered, letter for letter.
 */
export function maskMath(src: string, masked: string): string {
  let result = '';
  let from = 0;
  for (let at = 0; at < src.length; ) {
    const start = mathStart(src.slice(at));
    if (start === undefined) break;
    at += start;
    // What is covered already begins no formula; an escape is covered by a plus sign.
    const open = masked.charAt(at) === src.charAt(at) || masked.startsWith('++', at);
    const math = open ? mathAt(src.slice(at), src.charAt(at - 1)) : null;
    if (math === null) {
      at += 1;
      continue;
    }
    result += `${masked.slice(from, at)}[${'a'.repeat(math.length - 2)}]`;
    at += math.length;
    from = at;
  }
  return result + masked.slice(from);
}

/** The hook of marked's lexer that keeps emphasis out of formulas. The lexer says what it reads in `run`. */
export function emStrongMask(this: { lexer: Lexer & { run: string } }, masked: string): string {
  return maskMath(this.lexer.run, masked);
}

/** Whether a line of the block that `source` begins with opens a formula that more text may yet close. */
export function opensMath(block: string, source: string): boolean {
  const at = `\n${block}`.search(OPENING_LINE);
  if (at === -1) return false;
  const start = source.slice(at).trimStart();
  const surroundings = SURROUNDINGS.exec(start)?.[1];
  const pairs = [...PAIRS.slice(1), ...(surroundings === undefined ? [] : [[`\\begin{${surroundings}}`, `\\end{${surroundings}}`] as const])];
  return pairs.some(([open, close]) => start.startsWith(open) && !start.includes(close, open.length)) && start.length < LONGEST && !/\n[ \t]*\n/.test(start);
}
