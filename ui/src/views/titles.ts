import type { SessionSummary } from '../ipc/contract';
import { activity } from './sessionlist';
import { marked, type Piece } from './marked';

/** A session whose title has what was looked for. */
export interface TitleHit {
  session: SessionSummary;
  pieces: Piece[];
}

/** Titles shown at most: who wants another writes more of it. */
const MOST = 20;

/** Sessions whose title has every word of `query`, the most recent first. Case does not matter, nor do quotes. */
export function titlesWith(sessions: readonly SessionSummary[], query: string): TitleHit[] {
  const words = fold(query.replace(/["“”]/g, ' ')).split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return [];
  return sessions
    .filter(({ title }) => {
      const folded = fold(title);
      return words.every((word) => folded.includes(word));
    })
    .sort((a, b) => activity(b) - activity(a))
    .slice(0, MOST)
    .map((session) => ({ session, pieces: marked(session.title, rangesOf(session.title, words)) }));
}

/** Lower case, letter by letter: positions stay those of the title. */
function fold(text: string): string {
  return Array.from(text, (letter) => {
    const lower = letter.toLowerCase();
    return lower.length === letter.length ? lower : letter;
  }).join('');
}

/** Where the words are, in order and apart from each other. */
function rangesOf(title: string, words: readonly string[]): { start: number; end: number }[] {
  const folded = fold(title);
  const found = words
    .map((word) => ({ start: folded.indexOf(word), end: folded.indexOf(word) + word.length }))
    .sort((a, b) => a.start - b.start);
  return found.filter(({ start }, at) => at === 0 || start >= (found[at - 1]?.end ?? 0));
}
