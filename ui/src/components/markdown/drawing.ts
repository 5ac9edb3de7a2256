import type { TextSink } from '../../state/row.svelte';
import { finishBlock } from './finish';
import { definitionsIn } from './lexer';
import { takeApart, textPart } from './part';
import { LONG_TEXT, partsOf, pieceEnd } from './pieces';
import { MarkdownStream, type StreamOptions } from './stream';

/** Letters that are drawn at once when a text is shown: more than a screenful. */
const FIRST = 2_500;
/** Letters at the end of a text that is whole that wait for no frame: about what comes within one. */
const LAST_WORDS = 1_000;
/** A frame's share of drawing text, ms: less where the web view takes long to lay it out, and at the beginning, when that is not known. */
const BUDGET = 3;
const LEAST_BUDGET = 1;
/** A frame that took longer than this, ms, is too long. */
const LONG_FRAME = 18;
/** No more letters than this are drawn in a frame: what costs no time to draw costs some to lay out. */
const SHARE = 4_000;

/** Frames, and the time. */
export interface Frames {
  request(draw: () => void): void;
  cancel(draw: () => void): void;
  now(): number;
}

/**
 * A markdown text on its way to the screen: what was given is drawn piece by piece, a share of each frame.
 *
 * A text that was there before and one that streams take the same way. The first screenful is drawn at once, so that
 * nothing flickers. Of a long text nothing is, since its row takes most of that frame; the next ones draw its last
 * screenful, for who reads at the end, then the first, then what is between them. While more is to come, the root says
 * so by `data-drawing`.
 */
export class Drawing implements TextSink {
  readonly #root: HTMLElement;
  readonly #frames: Frames;
  #stream: MarkdownStream;
  #waiting = '';
  #at = 0;
  /** The text before the last screenful, where that was drawn by itself: the part that grows, and those after it. */
  #before: { stream: MarkdownStream; text: string; at: number; next: string[]; options: StreamOptions; end: HTMLElement } | null = null;
  #closing = false;
  #budget = LEAST_BUDGET;
  /** Time at which the frame before this one drew; never, where it had nothing to draw. */
  #drewAt = Infinity;

  constructor(root: HTMLElement, frames: Frames) {
    this.#root = root;
    this.#frames = frames;
    this.#stream = new MarkdownStream(root, { finished: finishBlock });
  }

  reset(text: string): void {
    this.#root.replaceChildren();
    this.#before = null;
    this.#at = 0;
    this.#closing = false;
    const starts = partsOf(text);
    const [first, ...next] = starts.slice(0, -1).map((from, at) => text.slice(from, starts[at + 1]));
    if (first === undefined) {
      this.#stream = new MarkdownStream(this.#root, { finished: finishBlock });
      this.#waiting = text;
      while (text.length < LONG_TEXT && this.#at < text.length && this.#at < FIRST) this.#piece();
    } else {
      const options = { links: definitionsIn(text), finished: finishBlock };
      const end = textPart();
      this.#root.append(end);
      this.#stream = new MarkdownStream(end, options);
      this.#waiting = text.slice(starts.at(-1));
      this.#before = { stream: this.#partBefore(end, options), text: first, at: 0, next, options, end };
    }
    this.#rest();
  }

  /** The stream of another part, which stands before the last one. */
  #partBefore(end: HTMLElement, options: StreamOptions): MarkdownStream {
    const root = textPart();
    this.#root.insertBefore(root, end);
    return new MarkdownStream(root, options);
  }

  append(text: string): void {
    this.#waiting = this.#waiting.slice(this.#at) + text;
    this.#at = 0;
    this.#frames.request(this.#draw);
  }

  close(): void {
    this.#closing = true;
    // A text that is whole is shown whole: its last words, and its end, wait for no frame.
    if (this.#before === null && this.#waiting.length - this.#at <= LAST_WORDS) while (!this.#drawn) this.#piece();
    if (!this.#drawn) {
      this.#frames.request(this.#draw);
      return;
    }
    this.#frames.cancel(this.#draw);
    this.#rest();
  }

  /** The text is not shown any more. */
  stop(): void {
    this.#frames.cancel(this.#draw);
    takeApart(this.#root);
  }

  readonly #draw = (): void => {
    const began = this.#frames.now();
    this.#budget = began - this.#drewAt > LONG_FRAME ? Math.max(LEAST_BUDGET, this.#budget / 2) : Math.min(BUDGET, this.#budget + 1);
    this.#drewAt = began;
    let letters = 0;
    do {
      letters += this.#piece();
    } while (!this.#drawn && letters < SHARE && this.#frames.now() - began < this.#budget);
    this.#rest();
  };

  get #drawn(): boolean {
    return this.#at === this.#waiting.length && this.#before === null;
  }

  /** Draws a piece: of what was added last, else of what stands before. Returns its length. */
  #piece(): number {
    const before = this.#before;
    if (this.#at === this.#waiting.length && before !== null) {
      const piece = before.text.slice(before.at, pieceEnd(before.text, before.at));
      before.stream.append(piece);
      before.at += piece.length;
      if (before.at < before.text.length) return piece.length;
      before.stream.close();
      const text = before.next.shift();
      this.#before = text === undefined ? null : { ...before, stream: this.#partBefore(before.end, before.options), text, at: 0 };
      return piece.length;
    }
    const piece = this.#waiting.slice(this.#at, pieceEnd(this.#waiting, this.#at));
    this.#stream.append(piece);
    this.#at += piece.length;
    return piece.length;
  }

  #rest(): void {
    if (!this.#drawn) {
      this.#root.dataset['drawing'] = '';
      this.#frames.request(this.#draw);
      return;
    }
    this.#waiting = '';
    this.#at = 0;
    // What comes next waits for no frame: the time until then says nothing about one.
    this.#drewAt = Infinity;
    delete this.#root.dataset['drawing'];
    if (this.#closing) this.#end();
  }

  #end(): void {
    this.#closing = false;
    this.#stream.close();
  }
}
