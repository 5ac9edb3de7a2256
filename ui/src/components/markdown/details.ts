import type { Token, TokenizerAndRendererExtension } from 'marked';

/** Something that is opened to be read: `<details>`, with no attribute but `open`. */
export interface Details {
  type: 'details';
  raw: string;
  open: boolean;
  summary: Token[];
  tokens: Token[];
}

const OPENING = /^ {0,3}<details( open)?>[ \t]*\n?/i;
const SUMMARY = /^\s*<summary>([^]{0,1000}?)<\/summary>[ \t]*\n?/i;
const TAG = /<(\/?)details(?: open)?>/gi;
/** One that is longer than this, letters, is text: nothing that grows may be open for longer. */
const LONGEST = 7_000;
/** Those in each other that are read. */
const DEEPEST = 8;

/** Where the one that `src` begins with is closed, behind its last tag; -1 where it is not, or too far away. */
function endOf(src: string): number {
  const near = src.slice(0, LONGEST);
  if (!/<\/details>/i.test(near)) return -1;
  let depth = 0;
  for (const { 1: closes, index, 0: tag } of near.matchAll(TAG)) {
    depth += closes === '' ? 1 : -1;
    if (depth === 0) return index + tag.length;
    if (depth > DEEPEST) return -1;
  }
  return -1;
}

/** Whether a block opens one that more text may yet close. */
export function opensDetails(block: string, source: string): boolean {
  return OPENING.test(block) && source.length < LONGEST && endOf(source) === -1;
}

export const DETAILS: TokenizerAndRendererExtension = {
  name: 'details',
  level: 'block',
  tokenizer(src) {
    const [opening, open] = OPENING.exec(src) ?? [];
    if (opening === undefined) return undefined;
    const end = endOf(src);
    // What stands behind it in its last line would be lost.
    const rest = end === -1 ? null : /^[ \t]*(?:\n|$)/.exec(src.slice(end));
    if (rest === null) return undefined;
    const inside = src.slice(opening.length, end).replace(/<\/details>$/i, '');
    const [named = '', title = ''] = SUMMARY.exec(inside) ?? [];
    const { top } = this.lexer.state;
    this.lexer.state.top = true;
    const summary: Token[] = [];
    this.lexer.inline(title.replace(/\s+/g, ' ').trim(), summary);
    const tokens = this.lexer.blockTokens(inside.slice(named.length), []);
    this.lexer.state.top = top;
    return { type: 'details', raw: src.slice(0, end + rest[0].length), open: open !== undefined, summary, tokens } satisfies Details;
  },
};
