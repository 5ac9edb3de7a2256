import { UNSPACED } from './scripts';

/**
 * The delimiters of emphasis and of what is struck out, as marked's tokenizer wants them: one expression that finds what
 * opens, one that finds what closes, by the letters on both sides.
 *
 * CommonMark tells an opening from a closing delimiter by spaces and punctuation beside it. Scripts without spaces have
 * none, so `**「…」**は` would neither open nor close. Here full-width punctuation counts as a letter, and any letter of
 * such a script as a border, like a space. Between letters of other scripts nothing differs from CommonMark. The rule is
 * that of https://github.com/tats-u/markdown-cjk-friendly.
 *
 * The letter before and the letter after a delimiter are of four sorts: space, mark (punctuation of spaced scripts), word
 * (letter of a spaced script), and free (of a script without spaces).
 */
const FREE = `[${UNSPACED}]`;
const MARK = `(?![${UNSPACED}~])[\\p{P}\\p{S}]`;
const WORD = `(?![${UNSPACED}])[^\\s\\p{P}\\p{S}]`;

/**
 * Delimiters that close, or may, as six groups: two that only close, two that only open, two that do both. `run` is the delimiter,
 * of the character `first`; `word` a letter of the sort word.
 */
function closing(run: string, first: string, word: string): string {
  const letter = `(?:${word}|${FREE})`;
  const mark = `(?!${first})${MARK}`;
  const after = (what: string): string => `(?=${run}(?!${first})(?:${what}))`;
  return [
    `${mark}(${run})(?=\\s|$)`,
    `(?:${letter}${after('\\s|$')}|${word}${after(MARK)})(${run})(?!${first})`,
    `(?:\\s${after(letter)}|${mark}${after(word)})(${run})`,
    `\\s(${run})(?!${first})(?=${MARK})`,
    `(?:${mark}${after(`${MARK}|${FREE}`)}|${FREE}${after(MARK)})(${run})(?!${first})`,
    `${letter}(${run})(?=${letter})`,
  ].join('|');
}

/** The rules of marked's inline grammar that differ from its own. */
export const DELIMITERS = {
  emStrongLDelim: new RegExp(`^\\*+(?:((?!\\*)${MARK})|([^\\s*]))?|^_+(?:((?!_)(?!~)[\\p{P}\\p{S}])|([^\\s_]))?`, 'u'),
  emStrongRDelimAst: new RegExp(`^[^_*]*?__[^_*]*?\\*[^_*]*?(?=__)|[^*]+(?=[^*])|${closing('\\*+', '\\*', `(?:${WORD}|~)`)}`, 'gu'),
  // One tilde strikes nothing: it stands between numbers, and before them.
  delLDelim: new RegExp(`^~~(?!~)(?:(${MARK})|[^\\s~])`, 'u'),
  delRDelim: new RegExp(`^[^~]+(?=[^~])|${closing('~~', '~', `(?:${WORD})`)}`, 'gu'),
  // Of a letter of two units the lexer has the second one: an ideograph or an emoji.
  punctuation: new RegExp(`^((?![*_])[\\s\\p{P}\\p{S}${UNSPACED}\\udc00-\\udfff])`, 'u'),
};
