import { AT_END, FollowPolicy, type ScrollFacts } from './follow';
import { Heights, type Sized, type Span } from './heights';

/** The scrolled box on screen. Lengths are px. */
export interface ScrollBox {
  facts(): ScrollFacts;
  /** Moves the box to `top`, or as near as its content allows. */
  scrollTo(top: number): void;
  /** The width of the rows. */
  width(): number;
  /** Where the first row of all begins, from the beginning of the content. */
  rowsTop(): number;
  /** The top of a drawn row, below the top of the view; null for a row that is not drawn. */
  topOf(id: string): number | null;
  /** The height of each drawn row. */
  measured(): Iterable<readonly [id: string, height: number]>;
  /** Whether a drawn row has all of its content: a long one is drawn in pieces. */
  whole(id: string): boolean;
  /** Resolves when the rows chosen last are in the page, before they are painted. */
  drawn(): Promise<void>;
}

/** The rows that are scrolled, and how to get more of them. */
export interface ScrolledRows {
  readonly rows: readonly Sized[];
  readonly hasMoreBefore: boolean;
  readonly hasMoreAfter: boolean;
  loadBefore(): unknown;
  loadAfter(): unknown;
  /** Brings the rows around `id`. False when there is no such row any more. */
  goTo(id: string): Promise<boolean>;
  /** Brings the first rows of all. False when they did not come. */
  goToStart(): Promise<boolean>;
  /** Brings the last rows back. */
  goToEnd(): void;
  /** Lets go of rows far above the end. */
  settle(): void;
}

/** A place in the log that survives everything around it: a row, and where it stands. */
export interface Place {
  id: string;
  /** How far the row's top is below the top of the view, px; negative inside a row. */
  offset: number;
  /**
   * How far the row's bottom is below the top of the view, px, of a tall row that is read nearer to its end. Such a row
   * is drawn from both ends, and until it has all of its content this is what holds.
   */
  bottom?: number;
  /** The row was still being drawn: its offset says nothing. */
  drawing?: true;
}

/** Rows in the page: they keep their elements when others come or go above them. */
export interface DrawnSpan extends Span {
  /** The first one; none where there are no rows. */
  first?: string | undefined;
}

/** What there is to draw. */
export interface Shown {
  /** The rows in the page, and the room that the others take. */
  span: DrawnSpan;
  /** The log stays at the end. */
  atEnd: boolean;
}

/** Rounds of drawing and measuring until what is chosen fits what was measured. */
const ROUNDS = 5;
/** A scroll within this time of something done in the log is the reader's, ms. */
const ACTED_MS = 300;
/** How far down the view a row stands that was gone to, as a part of the view's height. */
export const REVEALED_AT = 0.25;

const NOTHING: Span = { start: 0, end: 0, before: 0, after: 0 };

/**
 * The scroller of a long log: chooses the rows to draw, keeps the reader's place, and follows the end.
 *
 * Knows no Svelte and no page: what is on screen is behind {@link ScrollBox}, what is scrolled behind
 * {@link ScrolledRows}. The place is a row and its offset, never a scroll position, so that nothing that changes above
 * it moves what is read.
 */
export class Scroller {
  readonly heights = new Heights();
  readonly #policy = new FollowPolicy();
  readonly #list: ScrolledRows;
  readonly #show: (shown: Shown) => void;
  readonly #keep: (place: Place | null) => void;
  readonly #now: () => number;

  #box: ScrollBox | null = null;
  #shown: Shown = { span: NOTHING, atEnd: true };
  #anchor: Place | null = null;
  /** The position we put the box to ourselves; its scroll event says nothing about the reader. */
  #put = Number.NaN;
  #laying = false;
  #again = false;
  #started = false;
  /** Freed to keep still what the reader opened: the end follows again as soon as it is in view. */
  #held = false;
  #actedAt = Number.NEGATIVE_INFINITY;
  /** Counts journeys to a row: only the last one arrives. */
  #journeys = 0;

  /** `show` is told what to draw; `keep` is told where the reader is, null for the end. */
  constructor(
    list: ScrolledRows,
    show: (shown: Shown) => void,
    keep: (place: Place | null) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#list = list;
    this.#show = show;
    this.#keep = keep;
    this.#now = now;
  }

  get following(): boolean {
    return this.#policy.following;
  }

  /** The box has come into the page. Returns how to let go of it. */
  attach(box: ScrollBox): () => void {
    this.#box = box;
    this.layout();
    return () => {
      this.#box = null;
    };
  }

  /** The rows have changed. The first ones are shown at `place`, where the reader was last. */
  rowsChanged(place: Place | null): void {
    if (!this.#started && this.#list.rows.length > 0) {
      this.#started = true;
      if (place !== null) void this.#restore(place);
    }
    const anchor = this.#anchor;
    if (anchor !== null && this.#started && !this.#list.rows.some(({ id }) => id === anchor.id)) this.#anchor = null;
    this.heights.keep(this.#list.rows);
    this.layout();
  }

  /** A row, or the box, has another size. */
  resized(sizes: Iterable<readonly [id: string, height: number]>): void {
    for (const [id, height] of sizes) this.heights.measure(id, height);
    if (this.#box !== null) this.heights.setWidth(this.#box.width());
    this.layout();
  }

  /** A scroll event. */
  scrolled(): void {
    const box = this.#box;
    if (box === null) return;
    const facts = box.facts();
    const own = Math.abs(facts.top - this.#put) < 1;
    const followed = this.#policy.following;
    this.#policy.scrolled(facts, this.#now() - this.#actedAt < ACTED_MS);
    // The last row is not the end: there is nothing to follow.
    if (this.#list.hasMoreAfter) this.#policy.free();
    if (!own) {
      this.#put = Number.NaN;
      this.#held = false;
      // The reader travels: who was on the way to a row is not any more.
      if (!this.#policy.following) this.#journeys += 1;
    }
    if (!this.#policy.following && (!own || this.#anchor === null)) this.#remember();
    if (this.#policy.following !== followed || !this.#policy.following) this.#report();
    this.layout();
  }

  /** The reader did something in the log that may move it: pressed a key, moved the focus. */
  acted(): void {
    this.#actedAt = this.#now();
  }

  /** The reader goes towards the beginning. Frees the log before the scroll this causes. */
  up(): void {
    this.#held = false;
    if (this.#box === null || !this.#policy.following) return;
    this.#policy.inputUp(this.#box.facts());
    if (!this.#policy.following) this.#freed();
  }

  /** The reader is about to open or close something: it stays where it is, whatever that does to the end. */
  hold(): void {
    if (this.#box === null || !this.#policy.following) return;
    this.#policy.free();
    this.#held = true;
    this.#freed();
  }

  /** To the session's end, and with it from now on. */
  toEnd(): void {
    this.#journeys += 1;
    this.#list.goToEnd();
    this.#follow();
    this.layout();
  }

  /** To the session's first row, which may have to be fetched first. */
  async toStart(): Promise<void> {
    this.#journeys += 1;
    const journey = this.#journeys;
    if (this.#list.hasMoreBefore && !(await this.#list.goToStart())) return;
    const [first] = this.#list.rows;
    const box = this.#box;
    if (box === null || first === undefined) return;
    if (journey !== this.#journeys) {
      // The reader went elsewhere meanwhile: who follows wants the last rows.
      if (this.#policy.following) this.#list.goToEnd();
      return;
    }
    this.#started = true;
    if (!(await this.#travel({ id: first.id, offset: box.rowsTop() }))) return;
    box.scrollTo(0);
    this.settled();
  }

  /** To a row, which may have to be fetched first. False when it is not there, or the reader went elsewhere meanwhile. */
  async reveal(id: string): Promise<boolean> {
    const offset = Math.round((this.#box?.facts().viewport ?? 0) * REVEALED_AT);
    this.#started = true;
    if (!(await this.#travel({ id, offset }))) return false;
    const box = this.#box;
    if (box === null) return false;
    // A row at the end is read from the end on.
    if (toEnd(box.facts()) <= AT_END && !this.#list.hasMoreAfter) this.#follow();
    this.#report();
    this.layout();
    return box.topOf(id) !== null;
  }

  /** Keeps what is in view now, after something else than the reader moved the box. */
  settled(): void {
    if (this.#policy.following) return;
    this.#remember();
    this.#report();
  }

  /** Brings the rows in the page and the position in line with what is known, before the next paint. */
  layout(): void {
    const box = this.#box;
    if (box === null) return;
    if (this.#laying) {
      this.#again = true;
      return;
    }
    if (!this.#choose(box)) {
      this.#place(box);
      return;
    }
    this.#laying = true;
    void this.#lay(box);
  }

  async #lay(box: ScrollBox): Promise<void> {
    for (let round = 0; round < ROUNDS; round += 1) {
      this.#again = false;
      await box.drawn();
      if (this.#box !== box) break;
      for (const [id, height] of box.measured()) this.heights.measure(id, height);
      this.#place(box);
      if (!this.#choose(box) && !this.#again) break;
    }
    this.#laying = false;
  }

  /** Chooses the rows to draw. True when others than before. */
  #choose(box: ScrollBox): boolean {
    const { rows } = this.#list;
    const { viewport } = box.facts();
    const margin = Math.max(600, viewport);
    let next: Span;
    if (this.#policy.following) {
      const total = this.heights.offset(rows, rows.length);
      next = this.heights.span(rows, total - viewport - margin, Number.POSITIVE_INFINITY);
    } else {
      const top = this.#top(box);
      next = this.heights.span(rows, top - margin, top + viewport + margin);
    }
    const span: DrawnSpan = { ...next, first: rows[next.start]?.id };
    const old = this.#shown.span;
    const same =
      span.first === old.first &&
      span.start === old.start &&
      span.end === old.end &&
      Math.abs(span.before - old.before) < 1 &&
      Math.abs(span.after - old.after) < 1;
    if (!same) this.#tell({ ...this.#shown, span });
    return !same;
  }

  /**
   * The top of the view, px from the first row, as the heights known now would have it. What is in the page was laid
   * out by older ones: its positions are no measure for choosing.
   */
  #top(box: ScrollBox): number {
    const anchor = this.#anchor;
    const index = anchor === null ? -1 : this.#list.rows.findIndex(({ id }) => id === anchor.id);
    if (anchor === null || index === -1) {
      // What is drawn will be lower by what came above it.
      const { span } = this.#shown;
      const shift = this.heights.offset(this.#list.rows, startOf(this.#list.rows, span)) - span.before;
      return box.facts().top + shift - box.rowsTop();
    }
    const top = this.heights.offset(this.#list.rows, index);
    return this.#byBottom(box, anchor) ? top + this.heights.of(anchor.id) - anchor.bottom : top - anchor.offset;
  }

  #byBottom(box: ScrollBox, place: Place): place is Place & { bottom: number } {
    return place.bottom !== undefined && (place.drawing === true || !box.whole(place.id));
  }

  /** The scroll position that keeps the reader's place. */
  #wanted(box: ScrollBox): number {
    const { top } = box.facts();
    const anchor = this.#anchor;
    const now = anchor === null ? null : box.topOf(anchor.id);
    if (anchor === null) return top;
    if (now === null) return box.rowsTop() + this.#top(box);
    if (!this.#byBottom(box, anchor)) return top + now - anchor.offset;
    const height = new Map(box.measured()).get(anchor.id) ?? 0;
    return top + now + height - anchor.bottom;
  }

  #place(box: ScrollBox): void {
    const list = this.#list;
    let facts = box.facts();
    if (this.#held && toEnd(facts) <= AT_END && !list.hasMoreAfter) this.#follow();
    const top = this.#policy.following ? facts.content - facts.viewport : this.#wanted(box);
    if (Math.abs(facts.top - top) >= 1) {
      box.scrollTo(top);
      facts = box.facts();
      this.#put = facts.top;
    }
    if (this.#policy.following) {
      list.settle();
    } else if (this.#anchor === null) {
      // The reader jumped to where nothing was drawn, or the row that was read is gone.
      this.#remember();
      if (this.#anchor !== null) this.#report();
    } else if (this.#anchor.drawing === true && box.whole(this.#anchor.id)) {
      // From here on its beginning is known, and its end may move.
      this.#remember();
      this.#report();
    }
    this.#policy.moved(facts);
    if (this.#shown.atEnd !== this.#policy.following) this.#tell({ ...this.#shown, atEnd: this.#policy.following });
    if (this.#policy.following) {
      if (facts.content <= facts.viewport + 1 && list.hasMoreBefore) list.loadBefore();
    } else {
      if (facts.top < facts.viewport * 1.5 && list.hasMoreBefore) list.loadBefore();
      if (toEnd(facts) < facts.viewport && list.hasMoreAfter) list.loadAfter();
    }
  }

  /** Takes the first row in view for the reader's place, rather one that has all of its content. */
  #remember(): void {
    const box = this.#box;
    if (box === null) return;
    const { viewport } = box.facts();
    let first: Place | null = null;
    const heights = new Map(box.measured());
    const { span } = this.#shown;
    const start = startOf(this.#list.rows, span);
    for (const { id } of this.#list.rows.slice(start, start + span.end - span.start)) {
      const top = box.topOf(id);
      if (top === null || top + (heights.get(id) ?? 0) <= 1) continue;
      if (top >= viewport) break;
      const bottom = top + (heights.get(id) ?? 0);
      const deep = top < -viewport && bottom < -top;
      if (box.whole(id)) {
        first = deep ? { id, offset: top, bottom } : { id, offset: top };
        break;
      }
      first ??= deep ? { id, offset: top, bottom, drawing: true } : { id, offset: top };
    }
    this.#anchor = first;
  }

  #freed(): void {
    this.#remember();
    this.#tell({ ...this.#shown, atEnd: false });
    this.#report();
  }

  #follow(): void {
    this.#policy.follow();
    this.#anchor = null;
    this.#held = false;
    this.#report();
  }

  async #restore(place: Place): Promise<void> {
    if (!(await this.#travel(place))) return;
    this.#report();
  }

  /** Brings `place` into view, fetching its row first where it is not here. */
  async #travel(place: Place): Promise<boolean> {
    this.#journeys += 1;
    const journey = this.#journeys;
    if (!this.#list.rows.some(({ id }) => id === place.id)) {
      const came = await this.#list.goTo(place.id);
      if (journey !== this.#journeys) {
        // The rows around it came for nobody: who follows wants the last ones.
        if (this.#policy.following) this.#list.goToEnd();
        return false;
      }
      if (!came) return false;
    }
    this.#policy.free();
    this.#held = false;
    this.#anchor = place;
    this.layout();
    await this.#box?.drawn();
    if (this.#box === null || journey !== this.#journeys) return false;
    this.layout();
    await this.#box.drawn();
    return this.#box !== null && journey === this.#journeys;
  }

  #report(): void {
    this.#keep(this.#policy.following ? null : this.#anchor);
  }

  #tell(shown: Shown): void {
    this.#shown = shown;
    this.#show(shown);
  }
}

/** Where the drawn rows begin by now: others may have come or gone above them since they were chosen. */
export function startOf(rows: readonly Sized[], span: DrawnSpan): number {
  const at = rows.findIndex(({ id }) => id === span.first);
  return at === -1 ? span.start : at;
}

function toEnd({ content, viewport, top }: ScrollFacts): number {
  return content - viewport - top;
}
