import { Lexer, Marked, Tokenizer, type Links, type Token, type Tokens } from 'marked';

import { DETAILS } from './details';
import { DELIMITERS } from './emphasis';
import { BLOCK_MATH, emStrongMask, INLINE_MATH, mathStart } from './math';
import { NOTE, NOTE_REFERENCE } from './notes';
import { UNSPACED_SHORT } from './scripts';
import { addressEnd } from './urls';

/** The lexer calls itself to this depth, twice for a quote in a quote; what is deeper is plain text. */
const DEEPEST = 48;

const marked = new Marked({ extensions: [DETAILS, NOTE, BLOCK_MATH, NOTE_REFERENCE, INLINE_MATH] });
const OPTIONS = marked.defaults;

/** Marked's inline grammar, for scripts without spaces too. */
const INLINE = {
  ...Lexer.rules.inline.gfm,
  ...DELIMITERS,
  // `www.` begins an address also behind a letter of such a script.
  text: new RegExp(Lexer.rules.inline.gfm.text.source.replaceAll('[^\\s*_~(]', `[^\\s*_~(${UNSPACED_SHORT}]`)),
};

function plainText(src: string): Tokens.Text {
  return { type: 'text', raw: src, text: src };
}

function plainParagraph(src: string): Tokens.Paragraph {
  return { type: 'paragraph', raw: src, text: src, tokens: [plainText(src)] };
}

/** Marked's lexer with a limit to its depth: its own calls itself for each level, and a long line of `>` would end it. */
class DeepLexer extends Lexer {
  /** The inline source that is read at the moment. */
  run = '';
  #depth = 0;

  /** The result of `read`, one level deeper, or that of `plain` where it is too deep. */
  deeper<T>(read: () => T, plain: () => T): T {
    if (this.#depth >= DEEPEST) return plain();
    this.#depth += 1;
    const result = read();
    this.#depth -= 1;
    return result;
  }

  override blockTokens(src: string, tokens: Token[] = [], lastParagraphClipped = false): never {
    this.deeper<unknown>(
      () => super.blockTokens(src, tokens, lastParagraphClipped),
      () => src.trim() !== '' && tokens.push(plainParagraph(src)),
    );
    return tokens as never;
  }

  override inlineTokens(src: string, tokens: Token[] = []): Token[] {
    const { run } = this;
    // A tag of raw HTML ends with its block.
    if (run === '') this.state.inLink = false;
    this.run = src;
    this.deeper<unknown>(() => super.inlineTokens(src, tokens), () => tokens.push(plainText(src)));
    this.run = run;
    return tokens;
  }
}

/** The first line of a text that ends a paragraph: blank, or one that makes a heading of it. */
const PARAGRAPH_END = /\n(?: {0,3}(=+|-+) *(?:\n|$)|\s*?\n)/;
/** A second line as that of a table: what separates its head from its rows. */
const TABLE_LINE = /^[^\n]*\n {0,3}[|:-]/;

/**
 * Marked's tokenizer, with addresses that end where their sentence goes on.
 *
 * JavaScriptCore takes a millisecond for some of marked's rules at each block, also where one look says that they do not match:
 * that look comes first.
 */
class ChatTokenizer extends Tokenizer {
  override lheading(src: string): Tokens.Heading | undefined {
    return PARAGRAPH_END.exec(src)?.[1] === undefined ? undefined : super.lheading(src);
  }

  override table(src: string): Tokens.Table | undefined {
    return TABLE_LINE.test(src) ? super.table(src) : undefined;
  }

  override html(src: string): Tokens.HTML | undefined {
    return /^ {0,3}</.test(src) ? super.html(src) : undefined;
  }

  /** A fence of tildes loses its indent as one of backticks does. */
  override fences(src: string): Tokens.Code | undefined {
    const code = super.fences(src);
    const indent = /^( {1,3})~~~/.exec(src)?.[1]?.length;
    if (code === undefined || indent === undefined) return code;
    return { ...code, text: code.text.split('\n').map((line) => line.slice(Math.min(indent, line.search(/\S|$/)))).join('\n') };
  }

  /** Marked reads a quote in a quote, on a lazy line, without the lexer. */
  override blockquote(src: string): Tokens.Blockquote | undefined {
    if (!(this.lexer instanceof DeepLexer) || !/^ {0,3}>/.test(src)) return undefined;
    return this.lexer.deeper(
      () => super.blockquote(src),
      () => ({ type: 'blockquote', raw: src, text: src, tokens: [plainParagraph(src)] }),
    );
  }

  /** An address in the text, which ends where the sentence around it goes on. */
  override url(src: string): Tokens.Link | undefined {
    const link = super.url(src);
    if (link === undefined) return undefined;
    const end = addressEnd(link.raw);
    return end === link.raw.length ? link : end === 0 ? undefined : super.url(link.raw.slice(0, end));
  }
}

/**
 * The blocks of a text, and the definitions of links and footnotes known after it. Costs more than the text's length
 * where that is great.
 */
export function lexBlocks(source: string, links: Links = {}): { tokens: Token[]; links: Links } {
  const tokenizer = new ChatTokenizer();
  const hooks = mathStart(source) === undefined ? null : { emStrongMask };
  const lexer = new DeepLexer({ ...OPTIONS, tokenizer, hooks } as typeof OPTIONS);
  tokenizer.rules = { ...tokenizer.rules, inline: INLINE };
  lexer.tokens.links = { ...links };
  const tokens = lexer.lex(source);
  return { tokens, links: lexer.tokens.links };
}

/** The definitions in a text, found without lexing the rest of it. */
export function definitionsIn(text: string): Links {
  const lines = text.match(/^ {0,3}\[[^\]\n]{1,200}\]:[^\n]{1,2000}$/gm);
  return lines === null ? {} : lexBlocks(lines.join('\n')).links;
}
