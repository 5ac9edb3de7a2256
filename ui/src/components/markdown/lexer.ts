import { Lexer, Marked, type Links, type Token, type TokenizerAndRendererExtension } from 'marked';

/** A formula is not longer than this, letters: its end is not looked for any further. */
const LONGEST_MATH = 4_000;
const PAIRS = [
  ['\\(', '\\)'],
  ['\\[', '\\]'],
  ['$$', '$$'],
] as const;
/** The end of a line, and a formula that begins the next. */
const OPENING_LINE = /\n {0,3}(?:\$\$|\\\[)/;
/** A dollar sign opens a formula only where it does not stand before a space, and closes none after a space or before a digit. */
const DOLLARS = /^\$[^\s$](?:[^$\\\n]|\\[^\n]){0,300}?\$(?![\d$])/;

/** The formula that `src` begins with, or null. It may go over lines, not over a blank one. */
function mathAt(src: string): string | null {
  for (const [open, close] of PAIRS) {
    if (!src.startsWith(open)) continue;
    const end = src.slice(0, LONGEST_MATH).indexOf(close, open.length + 1);
    if (end === -1) return null;
    const raw = src.slice(0, end + close.length);
    return /\n[ \t]*\n/.test(raw) ? null : raw;
  }
  const raw = DOLLARS.exec(src)?.[0];
  // Prices are no formulas.
  return raw === undefined || /\s\$$/.test(raw) || !/[\\^_{=]/.test(raw) ? null : raw;
}

/** Markdown would read formulas as escapes and emphasis, and what is copied from the screen would be wrong: kept as written. */
const INLINE_MATH: TokenizerAndRendererExtension = {
  name: 'math',
  level: 'inline',
  start: (src) => {
    const at = src.search(/\\[([]|\$/);
    return at === -1 ? undefined : at;
  },
  tokenizer: (src) => {
    const raw = mathAt(src);
    return raw === null ? undefined : { type: 'math', raw };
  },
};

const BLOCK_MATH: TokenizerAndRendererExtension = {
  name: 'mathBlock',
  level: 'block',
  // It interrupts a paragraph, as a fence does.
  start: (src) => {
    const at = src.search(OPENING_LINE);
    return at === -1 ? undefined : at + 1;
  },
  tokenizer: (src) => {
    const indent = /^ {0,3}(?=\$\$|\\\[)/.exec(src)?.[0];
    if (indent === undefined) return undefined;
    const math = mathAt(src.slice(indent.length));
    const after = math === null ? null : /^[ \t]*(?:\n|$)/.exec(src.slice(indent.length + math.length));
    if (math === null || after === null || after === undefined) return undefined;
    return { type: 'mathBlock', raw: indent + math + after[0] };
  },
};

const marked = new Marked({ extensions: [INLINE_MATH, BLOCK_MATH] });

/** The blocks of a text, and the link definitions known after it. Costs more than the text's length where that is great. */
export function lexBlocks(source: string, links: Links = {}): { tokens: Token[]; links: Links } {
  const lexer = new Lexer(marked.defaults);
  lexer.tokens.links = { ...links };
  const tokens = lexer.lex(source);
  return { tokens, links: lexer.tokens.links };
}

/** The link definitions in a text, found without lexing the rest of it. */
export function definitionsIn(text: string): Links {
  const lines = text.match(/^ {0,3}\[[^\]\n]{1,200}\]:[^\n]{1,2000}$/gm);
  return lines === null ? {} : lexBlocks(lines.join('\n')).links;
}

/** Whether a line of the block that `source` begins with opens a formula that more text may yet close. */
export function opensMath(block: string, source: string): boolean {
  const at = `\n${block}`.search(OPENING_LINE);
  if (at === -1) return false;
  const start = source.slice(at).trimStart();
  return (
    PAIRS.slice(1).some(([open, close]) => start.startsWith(open) && !start.includes(close, open.length)) &&
    start.length < LONGEST_MATH &&
    !/\n[ \t]*\n/.test(start)
  );
}
