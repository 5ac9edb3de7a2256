/** Within this many px of the end, the reader is at the end. */
export const AT_END = 8;

export interface ScrollFacts {
  top: number;
  /** The visible height. */
  viewport: number;
  /** The height of all there is. */
  content: number;
}

/**
 * Who moves the log: while it *follows*, it stays at the end; while the reader is *free*, nobody else moves it.
 *
 * Input frees at once, before the scroll it causes, so that text growing in the same moment cannot win. Scroll events
 * are trusted in two cases only. Going down to within {@link AT_END} follows again. Going up frees, if the reader has
 * just done something in the log, or by more than half a view: a screen reader and a search send no input, while layout
 * that shrinks for a moment (a field that measures itself) clamps the log by a few lines.
 */
export class FollowPolicy {
  following = true;
  #last: ScrollFacts = { top: 0, viewport: 0, content: 0 };

  /** The reader turned a wheel, pressed a key or moved a finger towards the beginning. */
  inputUp(facts: ScrollFacts): void {
    // With nothing to scroll there is nowhere to go.
    if (facts.content > facts.viewport + 1) this.following = false;
  }

  /** A scroll event; `acted` says that the reader did something in the log just before. Returns whether the log now follows. */
  scrolled(facts: ScrollFacts, acted = false): boolean {
    const before = this.#last;
    this.#last = facts;
    const toEnd = facts.content - facts.viewport - facts.top;
    if (this.following) {
      const shrank = facts.content < before.content - 1 || facts.viewport > before.viewport + 1;
      const up = before.top - facts.top;
      if (up > (acted ? AT_END : facts.viewport / 2) && toEnd > AT_END && !shrank) this.following = false;
    } else if (facts.top > before.top && toEnd <= AT_END) {
      this.following = true;
    }
    return this.following;
  }

  /** We moved the log ourselves: what follows is measured from here. */
  moved(facts: ScrollFacts): void {
    this.#last = facts;
  }

  /** The reader asked for the end. */
  follow(): void {
    this.following = true;
  }

  free(): void {
    this.following = false;
  }
}
