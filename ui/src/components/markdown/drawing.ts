import type { TextSink } from '../../state/row.svelte';
import { finishBlock } from './finish';
import { definitionsIn } from './lexer';
import { lastScreenful, pieceEnd } from './pieces';
import { MarkdownStream } from './stream';

/** Letters that are drawn at once when a text is shown: more than a screenful. */
const FIRST = 6_000;
/** A frame's share of drawing text, ms. */
const BUDGET = 10;
/** A frame in which one piece took longer than this, ms, is followed by a pause of some times as long. */
const SLOW = 24;

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
 * nothing flickers, and of a long text the last one too, for who reads at the end; what is between them follows. While
 * more is to come, the root says so by `data-drawing`.
 */
export class Drawing implements TextSink {
  readonly #root: HTMLElement;
  readonly #frames: Frames;
  #stream: MarkdownStream;
  #waiting = '';
  #at = 0;
  /** What stands before the last screenful, where that was drawn by itself. */
  #before: { stream: MarkdownStream; text: string; at: number } | null = null;
  #closing = false;
  #notBefore = 0;

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
    const cut = lastScreenful(text);
    if (cut === null) {
      this.#stream = new MarkdownStream(this.#root, { finished: finishBlock });
      this.#waiting = text;
      while (this.#at < this.#waiting.length && this.#at < FIRST) this.#piece();
    } else {
      const options = { links: definitionsIn(text), finished: finishBlock };
      const before = { stream: new MarkdownStream(this.#part(), options), text: text.slice(0, cut), at: 0 };
      this.#stream = new MarkdownStream(this.#part(), options);
      this.#waiting = '';
      this.#stream.append(text.slice(cut));
      this.#before = before;
      while (before.at < FIRST) this.#piece();
    }
    this.#rest();
  }

  #part(): HTMLElement {
    const part = document.createElement('div');
    part.className = 'md-part';
    this.#root.append(part);
    return part;
  }

  append(text: string): void {
    this.#waiting = this.#waiting.slice(this.#at) + text;
    this.#at = 0;
    this.#frames.request(this.#draw);
  }

  close(): void {
    this.#closing = true;
    // What is drawn already needs no frame of its own to end.
    if (this.#drawn) this.#end();
    else this.#frames.request(this.#draw);
  }

  /** The text is not shown any more. */
  stop(): void {
    this.#frames.cancel(this.#draw);
  }

  readonly #draw = (): void => {
    const began = this.#frames.now();
    if (began < this.#notBefore) {
      this.#frames.request(this.#draw);
      return;
    }
    do {
      this.#piece();
    } while (!this.#drawn && this.#frames.now() - began < BUDGET);
    const took = this.#frames.now() - began;
    this.#notBefore = took > SLOW ? began + took * 3 : 0;
    this.#rest();
  };

  get #drawn(): boolean {
    return this.#at === this.#waiting.length && this.#before === null;
  }

  /** Draws a piece: of what was added last, else of what stands before. */
  #piece(): void {
    const before = this.#before;
    if (this.#at === this.#waiting.length && before !== null) {
      const end = pieceEnd(before.text, before.at);
      before.stream.append(before.text.slice(before.at, end));
      before.at = end;
      if (end < before.text.length) return;
      before.stream.close();
      this.#before = null;
      return;
    }
    const end = pieceEnd(this.#waiting, this.#at);
    if (end > this.#at) this.#stream.append(this.#waiting.slice(this.#at, end));
    this.#at = end;
  }

  #rest(): void {
    if (!this.#drawn) {
      this.#root.dataset['drawing'] = '';
      this.#frames.request(this.#draw);
      return;
    }
    this.#waiting = '';
    this.#at = 0;
    delete this.#root.dataset['drawing'];
    if (this.#closing) this.#end();
  }

  #end(): void {
    this.#closing = false;
    this.#stream.close();
  }
}
