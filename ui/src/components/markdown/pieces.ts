/** Letters that are drawn at a time. A piece ends at a blank line where there is one between the two, else at a line, else at a word. */
const LEAST = 500;
const MOST = 1_000;

/** The end of the piece of `text` that begins at `from`. */
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

/** Letters at the end of a text that are more than a screenful. */
const LAST = 4_000;
/** A text longer than this, letters, is drawn in parts, and not at once. */
export const LONG_TEXT = 24_000;
/** Length of a part, letters, about. */
const PART = 12_000;
/** The beginning of a line that goes on a block from before, although a blank line stands between. */
const GOES_ON = /^(?:\s|[-+*]\s|\d+[.)]|[>|<])/;

/**
 * The beginnings of a long text's parts: each at a block that stands by itself, behind a blank line and in no fence. The last
 * is the last screenful. A short text is one part, and so is one that has no such place.
 */
export function partsOf(text: string): number[] {
  const starts = [0];
  if (text.length < LONG_TEXT) return starts;
  const end = text.length - LAST;
  let wanted = Math.min(PART, end);
  let fence = '';
  let blank = false;
  for (let at = 0; at < text.length; ) {
    const stop = text.indexOf('\n', at);
    const next = stop === -1 ? text.length : stop + 1;
    const first = text.charAt(at);
    // Most lines are neither of interest nor looked at.
    if (first === '`' || first === '~' || first === ' ' || at >= wanted) {
      const line = text.slice(at, Math.min(next, at + 200));
      const marker = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
      if (fence === '' && blank && at >= wanted && !GOES_ON.test(line)) {
        starts.push(at);
        if (at >= end) break;
        wanted = Math.min(at + PART, end);
      }
      if (fence === '') fence = marker ?? '';
      else if (marker?.startsWith(fence) === true && line.trim() === marker) fence = '';
    }
    blank = next - at === 1;
    at = next;
  }
  return (starts.at(-1) ?? 0) < end ? [0] : starts;
}
