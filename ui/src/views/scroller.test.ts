import { beforeEach, describe, expect, it } from 'vitest';

import type { ScrollFacts } from './follow';
import { Scroller, startOf, type Place, type ScrollBox, type ScrolledRows, type Shown } from './scroller';

const VIEWPORT = 800;

/** A log without a page: rows of known heights, drawn and scrolled as a web view would. */
class Page implements ScrollBox, ScrolledRows {
  rows: { id: string }[] = [];
  hasMoreBefore = false;
  hasMoreAfter = false;
  readonly tall = new Map<string, number>();
  readonly unfinished = new Set<string>();
  readonly asked: string[] = [];
  kept: Place | null = null;
  shown: Shown = { span: { start: 0, end: 0, before: 0, after: 0 }, atEnd: true };
  viewport = VIEWPORT;
  now = 0;
  /** Rows that the host has and the page has not. */
  elsewhere: { id: string }[] = [];
  readonly scroller = new Scroller(
    this,
    (shown) => {
      this.shown = shown;
    },
    (place) => {
      this.kept = place;
    },
    () => this.now,
  );
  #top = 0;

  constructor(count: number, height = 100) {
    this.rows = Array.from({ length: count }, (_, at) => ({ id: String(at) }));
    for (const { id } of this.rows) this.tall.set(id, height);
    this.scroller.attach(this);
  }

  async open(place: Place | null = null): Promise<void> {
    this.scroller.rowsChanged(place);
    await this.rest();
  }

  facts(): ScrollFacts {
    this.#clamp();
    return { top: this.#top, viewport: this.viewport, content: this.#content() };
  }

  scrollTo(top: number): void {
    this.#top = top;
    this.#clamp();
  }

  /** The reader, or the web view, scrolls: the event comes after the move. */
  async scroll(by: number): Promise<void> {
    this.scrollTo(this.#top + by);
    this.scroller.scrolled();
    await this.rest();
  }

  width(): number {
    return 700;
  }

  rowsTop(): number {
    return 0;
  }

  topOf(id: string): number | null {
    let y = this.shown.span.before;
    for (const row of this.#drawn()) {
      if (row.id === id) return y - this.facts().top;
      y += this.tall.get(row.id) ?? 0;
    }
    return null;
  }

  *measured(): Iterable<readonly [string, number]> {
    for (const { id } of this.#drawn()) yield [id, this.tall.get(id) ?? 0];
  }

  whole(id: string): boolean {
    return !this.unfinished.has(id);
  }

  drawn(): Promise<void> {
    return Promise.resolve();
  }

  loadBefore(): void {
    this.asked.push('before');
  }

  loadAfter(): void {
    this.asked.push('after');
  }

  settle(): void {
    // Nothing to let go of.
  }

  goTo(id: string): Promise<boolean> {
    this.asked.push(id);
    if (!this.elsewhere.some((row) => row.id === id)) return Promise.resolve(false);
    this.rows = this.elsewhere;
    this.hasMoreAfter = true;
    this.scroller.rowsChanged(null);
    return Promise.resolve(true);
  }

  goToStart(): Promise<boolean> {
    this.asked.push('start');
    this.rows = this.elsewhere;
    this.hasMoreBefore = false;
    this.hasMoreAfter = true;
    this.scroller.rowsChanged(null);
    return Promise.resolve(true);
  }

  goToEnd(): void {
    this.hasMoreAfter = false;
  }

  /** A row has another height, and the page says so. */
  async grow(id: string, height: number): Promise<void> {
    this.tall.set(id, height);
    this.scroller.resized([[id, height]]);
    await this.rest();
  }

  async add(id: string, height = 100): Promise<void> {
    this.rows = [...this.rows, { id }];
    this.tall.set(id, height);
    this.scroller.rowsChanged(null);
    await this.rest();
  }

  get toEnd(): number {
    const { top, viewport, content } = this.facts();
    return content - viewport - top;
  }

  async rest(): Promise<void> {
    for (let turn = 0; turn < 40; turn += 1) await Promise.resolve();
  }

  /** The rows in the page, which are the same ones when others come above them. */
  #drawn(): { id: string }[] {
    const { span } = this.shown;
    const start = startOf(this.rows, span);
    return this.rows.slice(start, start + span.end - span.start);
  }

  get drawnIds(): string[] {
    return this.#drawn().map(({ id }) => id);
  }

  /** Rows come above the first one. */
  async prepend(count: number, height = 130): Promise<void> {
    const fresh = Array.from({ length: count }, (_, at) => ({ id: `before ${String(at)}` }));
    for (const { id } of fresh) this.tall.set(id, height);
    this.rows = [...fresh, ...this.rows];
    this.scroller.rowsChanged(null);
    await this.rest();
  }

  #content(): number {
    const { before, after } = this.shown.span;
    let height = before + after;
    for (const { id } of this.#drawn()) height += this.tall.get(id) ?? 0;
    return height;
  }

  #clamp(): void {
    this.#top = Math.max(0, Math.min(this.#top, this.#content() - this.viewport));
  }
}

describe('a long log', () => {
  let page: Page;

  beforeEach(async () => {
    page = new Page(1_000);
    await page.open();
  });

  it('opens at its end, with the rows near it in the page', () => {
    expect(page.toEnd).toBe(0);
    expect(page.shown.span.end).toBe(1_000);
    expect(page.shown.span.start).toBeGreaterThan(975);
    expect(page.shown.atEnd).toBe(true);
  });

  it('follows what comes and what grows', async () => {
    await page.add('new', 300);
    expect(page.toEnd).toBe(0);
    await page.grow('new', 900);
    expect(page.toEnd).toBe(0);
  });

  it('is free from the first input upward, and says where the reader is', async () => {
    page.scroller.up();
    expect(page.shown.atEnd).toBe(false);
    await page.scroll(-2_030);
    expect(page.kept).toEqual({ id: '971', offset: -70 });
    const before = page.topOf('972');
    await page.add('new');
    expect(page.topOf('972')).toBe(before);
  });

  it('keeps the first row in view where it is, whatever changes above it', async () => {
    page.scroller.up();
    await page.scroll(-3_000);
    const before = page.topOf('965');
    await page.grow('955', 700);
    expect(page.topOf('965')).toBe(before);
    page.rows = [...Array.from({ length: 50 }, (_, at) => ({ id: `older-${String(at)}` })), ...page.rows];
    for (const { id } of page.rows.slice(0, 50)) page.tall.set(id, 240);
    page.scroller.rowsChanged(null);
    await page.rest();
    expect(page.topOf('965')).toBe(before);
  });

  it('keeps the drawn rows and what is read where they are when rows come above them', async () => {
    const page = new Page(60);
    await page.open();
    page.scroller.up();
    await page.scroll(-5_000);
    const [first] = page.drawnIds;
    const seen = page.kept?.id ?? '';
    const before = page.topOf(seen);
    page.rows = [{ id: 'one above' }, ...page.rows];
    page.tall.set('one above', 130);
    // Before anything is chosen anew the same rows are drawn.
    expect(page.drawnIds[0]).toBe(first);
    await page.prepend(60);
    expect(page.drawnIds).toContain(seen);
    expect(page.topOf(seen)).toBe(before);
    expect(page.kept?.id).toBe(seen);
  });

  it('keeps a whole row rather than one that is still being drawn', async () => {
    page.scroller.up();
    await page.scroll(-3_000);
    page.unfinished.add('962');
    await page.scroll(-50);
    expect(page.topOf('962')).toBe(50);
    page.unfinished.add('961');
    await page.scroll(-10);
    expect(page.kept).toEqual({ id: '963', offset: 160 });
  });

  it('keeps the end of a row whose middle is still being drawn', async () => {
    page.tall.set('990', 5_000);
    await page.scroller.reveal('990');
    page.scroller.up();
    await page.scroll(3_000);
    page.unfinished.add('990');
    await page.scroll(-10);
    const bottom = (page.topOf('990') ?? 0) + 5_000;
    await page.grow('990', 9_000);
    expect((page.topOf('990') ?? 0) + 9_000).toBe(bottom);
  });

  it('goes on following when layout of the page’s own moves it by a few lines', async () => {
    // A field that measures itself makes the log taller for a moment: the position is clamped, and nothing put it back.
    await page.scroll(-43);
    expect(page.scroller.following).toBe(true);
    expect(page.toEnd).toBe(0);
  });

  it('is freed by a few lines that the reader caused', async () => {
    page.scroller.acted();
    await page.scroll(-43);
    expect(page.scroller.following).toBe(false);
    expect(page.toEnd).toBe(43);
  });

  it('asks for more rows near the first, and for none at the end', async () => {
    page.hasMoreBefore = true;
    expect(page.asked).toEqual([]);
    page.scroller.up();
    await page.scroll(-98_900);
    expect(page.asked).toContain('before');
  });
});

describe('what a person opens', () => {
  it('stays where it is while the log follows', async () => {
    const page = new Page(100);
    await page.open();
    const before = page.topOf('98');
    page.scroller.hold();
    await page.grow('98', 500);
    expect(page.topOf('98')).toBe(before);
    await page.add('more');
    expect(page.topOf('98')).toBe(before);
    expect(page.shown.atEnd).toBe(false);
  });

  it('lets the log follow again once the end is in view', async () => {
    const page = new Page(100);
    await page.open();
    page.scroller.hold();
    await page.grow('98', 500);
    expect(page.scroller.following).toBe(false);
    await page.grow('98', 100);
    expect(page.scroller.following).toBe(true);
    await page.add('more');
    expect(page.toEnd).toBe(0);
  });
});

describe('the reader’s place', () => {
  it('is found again to the pixel, whatever was estimated', async () => {
    const page = new Page(500);
    for (const { id } of page.rows) page.tall.set(id, 40 + (Number(id) % 7) * 60);
    await page.open({ id: '200', offset: -33 });
    expect(page.topOf('200')).toBe(-33);
    expect(page.kept).toEqual({ id: '200', offset: -33 });
  });

  it('is fetched when its row is not here', async () => {
    const page = new Page(60);
    page.elsewhere = Array.from({ length: 60 }, (_, at) => ({ id: `old-${String(at)}` }));
    for (const { id } of page.elsewhere) page.tall.set(id, 130);
    await page.open({ id: 'old-30', offset: -12 });
    expect(page.asked).toContain('old-30');
    expect(page.topOf('old-30')).toBe(-12);
    expect(page.scroller.following).toBe(false);
  });

  it('is the end when its row is gone', async () => {
    const page = new Page(60);
    await page.open({ id: 'deleted', offset: 0 });
    expect(page.toEnd).toBe(0);
    expect(page.scroller.following).toBe(true);
  });

  it('is waited for inside a row that is drawn in pieces', async () => {
    const page = new Page(10);
    page.tall.set('9', 400);
    await page.open({ id: '9', offset: -5_000 });
    // What the box could do until here is not what the reader wants.
    page.scroller.scrolled();
    await page.rest();
    await page.grow('9', 20_000);
    expect(page.topOf('9')).toBe(-5_000);
  });

  it('near the end of a tall row is there before the row has all of its content, and after', async () => {
    const page = new Page(10);
    page.tall.set('9', 20_000);
    await page.open();
    page.scroller.up();
    await page.scroll(-700);
    const { kept } = page;
    expect(kept).toEqual({ id: '9', offset: -18_500, bottom: 1_500 });

    const again = new Page(10);
    again.tall.set('9', 3_000);
    again.unfinished.add('9');
    await again.open(kept);
    expect((again.topOf('9') ?? 0) + 3_000).toBe(1_500);
    await again.grow('9', 12_000);
    expect((again.topOf('9') ?? 0) + 12_000).toBe(1_500);
    again.unfinished.clear();
    // It has grown at its end, too, since the reader was there.
    await again.grow('9', 20_500);
    expect(again.topOf('9')).toBe(-18_500);
  });

  it('is where the reader goes next, not where a row that came late is', async () => {
    const page = new Page(60);
    let arrive: (came: boolean) => void = () => undefined;
    page.goTo = () => new Promise((resolve) => (arrive = resolve));
    await page.open({ id: 'late', offset: 0 });
    page.scroller.up();
    await page.scroll(-500);
    const top = page.facts().top;
    arrive(true);
    await page.rest();
    expect(page.facts().top).toBe(top);
  });
});

describe('going to a row', () => {
  it('puts it a quarter down the view', async () => {
    const page = new Page(500);
    await page.open();
    expect(await page.scroller.reveal('200')).toBe(true);
    expect(page.topOf('200')).toBe(VIEWPORT / 4);
    expect(page.scroller.following).toBe(false);
  });

  it('at the end leaves the log following', async () => {
    const page = new Page(500);
    await page.open();
    page.scroller.up();
    await page.scroll(-20_000);
    expect(await page.scroller.reveal('499')).toBe(true);
    expect(page.scroller.following).toBe(true);
    await page.add('answer', 400);
    expect(page.toEnd).toBe(0);
  });
});

describe('the first message', () => {
  it('is gone to although its rows are not here, and is the place that is kept', async () => {
    const page = new Page(100);
    page.hasMoreBefore = true;
    await page.open();
    page.elsewhere = Array.from({ length: 30 }, (_, at) => ({ id: `first-${String(at)}` }));
    for (const { id } of page.elsewhere) page.tall.set(id, 100);
    await page.scroller.toStart();
    await page.rest();
    expect(page.asked).toContain('start');
    expect(page.facts().top).toBe(0);
    expect(page.topOf('first-0')).toBe(0);
    expect(page.kept).toMatchObject({ id: 'first-0', offset: 0 });
    expect(page.scroller.following).toBe(false);
  });

  it('is not gone to when the reader turned to the end meanwhile', async () => {
    const page = new Page(100);
    page.hasMoreBefore = true;
    await page.open();
    let arrive: (came: boolean) => void = () => undefined;
    page.goToStart = () => new Promise((resolve) => (arrive = resolve));
    const going = page.scroller.toStart();
    page.scroller.toEnd();
    arrive(true);
    await going;
    expect(page.scroller.following).toBe(true);
  });
});
