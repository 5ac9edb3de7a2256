/** Letters that are drawn at a time. A piece ends at a blank line where there is one between the two, else at a line, else at a word. */
const LEAST = 2_000;
const MOST = 4_000;

/** Where the piece of `text` that begins at `from` ends. */
export function pieceEnd(text: string, from: number): number {
  const most = from + MOST;
  if (text.length <= most) return text.length;
  const piece = text.slice(from, most);
  for (const gap of ['\n\n', '\n', ' ']) {
    const at = piece.lastIndexOf(gap);
    if (at + gap.length >= LEAST) return from + at + gap.length;
  }
  // Not between the halves of one letter.
  return /[\ud800-\udbff]/.test(text.charAt(most - 1)) ? most - 1 : most;
}
