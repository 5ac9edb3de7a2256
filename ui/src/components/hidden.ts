/**
 * What is not seen, by Unicode's own classes: controls, format characters (of direction too), line and paragraph
 * separators, whatever a renderer may leave out (tags, fillers, variation selectors, soft hyphens, letters without width),
 * and the letters that only look like nothing. Format characters that are drawn, the signs before Arabic, Syriac and
 * Kaithi numbers, are not among them; nor are tab and line feed.
 */
const UNSEEN =
  /(?![\t\n\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]/gu;

/** Scripts whose spelling needs joiners: those of joined letters, and those with a sign that makes a conjunct. */
const JOINING = [
  'Arabic', 'Syriac', 'Mandaic', 'Nko', 'Mongolian', 'Phags_Pa', 'Manichaean', 'Psalter_Pahlavi', 'Hanifi_Rohingya', 'Sogdian', 'Adlam',
  'Devanagari', 'Bengali', 'Gurmukhi', 'Gujarati', 'Oriya', 'Tamil', 'Telugu', 'Kannada', 'Malayalam', 'Sinhala', 'Tibetan', 'Myanmar',
  'Khmer', 'Javanese', 'Balinese', 'Tai_Tham',
].map((script) => `\\p{Script_Extensions=${script}}`).join('');
const JOINED_BEFORE = new RegExp(`(?=[${JOINING}])[\\p{L}\\p{M}]$`, 'u');
const JOINED_AFTER = new RegExp(`^(?=[${JOINING}])[\\p{L}\\p{M}]`, 'u');
/** A sign that kills the vowel of the letter before it, at the end: a joiner behind it says how both are drawn. */
const KILLER = /[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca]$/u;
const PICTURE_BEFORE = /\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?$/u;
const PICTURE_AFTER = /^\p{Extended_Pictographic}/u;
const SELECTED_BEFORE = /(?=[^\d#*])\p{Emoji}$/u;
const KEY_BEFORE = /[\d#*]$/u;
/** The flags of England, Scotland and Wales: a black flag, their letters as tags, and the tag that ends them. */
const FLAG = /\u{1f3f4}\u{e0067}\u{e0062}(?:\u{e0065}\u{e006e}\u{e0067}|\u{e0073}\u{e0063}\u{e0074}|\u{e0077}\u{e006c}\u{e0073})\u{e007f}/gu;

/**
 * The letters of `text` that are not seen, and where they stand. Those that a word or a picture needs are left out: a
 * joiner between letters of a script that joins, or between the parts of an emoji; the selector that makes an emoji of a
 * sign; the tags of a flag.
 */
export function hiddenIn(text: string): { at: number; letter: string }[] {
  const flags = Array.from(text.matchAll(FLAG), (flag) => ({ from: flag.index, to: flag.index + flag[0].length }));
  const hidden: { at: number; letter: string }[] = [];
  let flag = 0;
  for (const { index: at, 0: letter } of text.matchAll(UNSEEN)) {
    while ((flags[flag]?.to ?? Infinity) <= at) flag += 1;
    if ((flags[flag]?.from ?? Infinity) < at) continue;
    if (!isNeeded(letter, text.slice(Math.max(0, at - 4), at), text.slice(at + letter.length, at + letter.length + 2))) hidden.push({ at, letter });
  }
  return hidden;
}

function isNeeded(letter: string, before: string, after: string): boolean {
  switch (letter) {
    case '\u200d':
      if (PICTURE_BEFORE.test(before) && PICTURE_AFTER.test(after)) return true;
      return isJoint(before, after);
    case '\u200c':
      return isJoint(before, after);
    case '\ufe0e':
    case '\ufe0f':
      return SELECTED_BEFORE.test(before) || (KEY_BEFORE.test(before) && after.startsWith('\u20e3'));
    default:
      return false;
  }
}

function isJoint(before: string, after: string): boolean {
  return JOINED_BEFORE.test(before) && (JOINED_AFTER.test(after) || KILLER.test(before));
}
