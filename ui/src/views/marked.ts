import type { SearchHit } from '../ipc/contract';

/** A piece of a snippet: matched or not. */
export interface Piece {
  text: string;
  hit: boolean;
}

/** A snippet in pieces, so that matches can be drawn as text, never as HTML. */
export function marked(snippet: string, ranges: SearchHit['ranges']): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { start, end } of ranges) {
    pieces.push({ text: snippet.slice(at, start), hit: false }, { text: snippet.slice(start, end), hit: true });
    at = end;
  }
  pieces.push({ text: snippet.slice(at), hit: false });
  return pieces.filter(({ text }) => text !== '');
}
