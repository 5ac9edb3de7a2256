/**
 * Letters of scripts that are written without spaces between words: Chinese, Japanese, Korean, Thai, Lao, Burmese, Khmer.
 * With their full-width punctuation, without the full-width space. For a character class; those that are one unit long.
 */
export const UNSPACED_SHORT =
  '\\u0e00-\\u0eff\\u1000-\\u109f\\u1100-\\u11ff\\u1780-\\u17ff\\u2e80-\\u2fff\\u3001-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7ff\\uf900-\\ufaff\\ufe10-\\ufe1f\\ufe30-\\ufe6f\\uff00-\\uffef';

/** All of them, for an expression with the flag `u`. */
export const UNSPACED = `${UNSPACED_SHORT}\\u{1b000}-\\u{1b16f}\\u{20000}-\\u{3fffd}`;

const UNSPACED_LETTER = new RegExp(`[${UNSPACED}]`, 'u');

/** Whether `text` has a letter of a script without spaces. */
export function isUnspaced(text: string): boolean {
  return UNSPACED_LETTER.test(text);
}
