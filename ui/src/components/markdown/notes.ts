import type { Links, Token, TokenizerAndRendererExtension } from 'marked';

const DEFINITION = /^ {0,3}\[\^([^\]\s[^]{1,100})\]:[ \t]*/;
const DEFINITION_LINE = /\n {0,3}\[\^[^\]\s[^]{1,100}\]:/;
const REFERENCE = /^\[\^([^\]\s[^]{1,100})\](?!\()/;
/** A line that begins a block, and so ends a note that has no indent. */
const BLOCK = /^ {0,3}(?:#{1,6}\s|>|[-+*]\s|\d{1,9}[.)]\s|```|~~~|\[\^[^\]\s[^]+\]:|(?:[-*_][ \t]*){3,}$|\$\$|\\\[|\\begin\{)/;

/** A footnote where it stands. */
export interface Note {
  type: 'note';
  raw: string;
  label: string;
  tokens: Token[];
}

/**
 * The name by which a definition is remembered among those of links: a name that no link can have, for the names of links are
 * folded to lower case.
 */
function keyOf(label: string): string {
  return `NOTE ${label.toLowerCase()}`;
}

/** A footnote (`[^a]: text`, more of it indented): shown where it stands, since what is below may not be there yet. */
export const NOTE: TokenizerAndRendererExtension = {
  name: 'note',
  level: 'block',
  start: (src) => {
    const at = src.search(DEFINITION_LINE);
    return at === -1 ? undefined : at + 1;
  },
  tokenizer(src) {
    const [opening, label] = DEFINITION.exec(src) ?? [];
    if (opening === undefined || label === undefined) return undefined;
    const lines = src.split('\n');
    const content = [(lines[0] ?? '').slice(opening.length)];
    let taken = 1;
    let blanks = 0;
    for (let at = 1; at < lines.length; at += 1) {
      const line = lines[at] ?? '';
      if (line.trim() === '') {
        blanks += 1;
        continue;
      }
      const indented = /^(?: {4}|\t)/.test(line);
      if (!indented && (blanks > 0 || BLOCK.test(line))) break;
      content.push(...Array.from({ length: blanks }, () => ''), indented ? line.replace(/^(?: {4}|\t)/, '') : line);
      taken = at + 1;
      blanks = 0;
    }
    const raw = lines.slice(0, taken).join('\n') + (taken < lines.length ? '\n' : '');
    this.lexer.tokens.links[keyOf(label)] ??= { href: '', title: '' };
    const { top } = this.lexer.state;
    this.lexer.state.top = true;
    const tokens = this.lexer.blockTokens(content.join('\n'), []);
    this.lexer.state.top = top;
    return { type: 'note', raw, label, tokens } satisfies Note;
  },
};

/** A reference to a footnote that is defined somewhere; any other stays as it was written. */
export const NOTE_REFERENCE: TokenizerAndRendererExtension = {
  name: 'noteReference',
  level: 'inline',
  start: (src) => {
    const at = src.indexOf('[^');
    return at === -1 ? undefined : at;
  },
  tokenizer(src) {
    const [raw, label] = REFERENCE.exec(src) ?? [];
    if (raw === undefined || label === undefined) return undefined;
    const links: Links = this.lexer.tokens.links;
    return keyOf(label) in links ? { type: 'noteReference', raw, label } : undefined;
  },
};
