/** A piece of a text: what may be read, or a secret with what may be seen of it. */
export interface Piece {
  text: string;
  /** What stands for it while it is masked; null for what is no secret. */
  mask: string | null;
}

/** What keys and tokens look like, in lengths that bound the search, each with the part of its beginning that tells which kind it is. */
const SHAPES: readonly RegExp[] = [
  /(gh[pousr]_)[A-Za-z0-9]{16,}/g,
  /(github_pat_)\w{20,}/g,
  /(glpat-)[\w-]{16,}/g,
  /(sk-(?:ant-|proj-|or-)?)[\w-]{16,}/g,
  /((?:AKIA|ASIA))[0-9A-Z]{16}/g,
  /(xox[abeoprs]-)[A-Za-z0-9-]{10,}/g,
  /(AIza)[\w-]{30,}/g,
  /(npm_)[A-Za-z0-9]{30,}/g,
  /(hf_)[A-Za-z0-9]{20,}/g,
  /(eyJ)[\w-]{10,2000}\.[\w-]{10,4000}\.[\w-]{5,2000}/g,
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /(\b[Bb](?:earer|asic) )[\w.~+/=-]{12,}/g,
  /(\b[a-z][a-z0-9+.-]{0,20}:\/\/[^\s/:@]{1,200}:)[^\s/@]{3,200}(?=@)/gi,
  /((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)["']?\s{0,8}[=:]\s{0,8}["']?)[^\s"',;&]{6,}/gi,
];

/** Names of fields that hold nothing but a secret. */
const NAMED = /(?:^|_)(?:password|passwd|pwd|secret|token|api_?key|private_?key|access_?key|secret_?key|credentials?|authorization|cookie)$/;
/** What is not seen of it, whatever its length. */
const DOTS = '••••••••';

/**
 * Where a text has secrets. `name` is the field it stands in, if any.
 *
 * A secret is a run of letters without spaces, or a key between its marks: no command can hide in one.
 */
export function secretsIn(text: string, name: string | null = null): Piece[] {
  if (name !== null && NAMED.test(snake(name)) && /^(?:(?:bearer|basic) )?\S{4,}$/i.test(text) && !/^[\d.]+$/.test(text)) {
    return [{ text, mask: DOTS }];
  }
  const found: { from: number; to: number; shown: string }[] = [];
  for (const shape of SHAPES) {
    for (const match of text.matchAll(shape)) found.push({ from: match.index, to: match.index + match[0].length, shown: match[1] ?? '' });
  }
  found.sort((one, other) => one.from - other.from || other.to - one.to);
  const pieces: Piece[] = [];
  let at = 0;
  for (const { from, to, shown } of found) {
    if (from < at) continue;
    if (from > at) pieces.push({ text: text.slice(at, from), mask: null });
    pieces.push({ text: text.slice(from, to), mask: `${shown}${DOTS}` });
    at = to;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), mask: null });
  return pieces;
}

/** A text with its secrets masked, for where there is one line. */
export function withoutSecrets(text: string, name: string | null = null): string {
  return secretsIn(text, name).map((piece) => piece.mask ?? piece.text).join('');
}

function snake(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').replace(/[-.\s]/g, '_').toLowerCase();
}
