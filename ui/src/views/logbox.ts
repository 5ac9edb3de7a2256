import { tick } from 'svelte';
import type { Attachment } from 'svelte/attachments';

import type { ScrollFacts } from './follow';
import type { ScrollBox, Scroller } from './scroller';

/** What opens or closes something in a message. */
const UNFOLDS = '[aria-expanded], [data-unfolds], summary';
const WRITES = 'input, textarea, [contenteditable]';

/**
 * The log's element on screen: measures its rows, hears what the reader does, and tells the scroller.
 *
 * The log is marked by {@link LogBox.log}; in it an element `[data-rows]` holds all rows, each marked by
 * {@link LogBox.row} and named by `data-row`.
 */
export class LogBox implements ScrollBox {
  readonly #scroller: Scroller;
  readonly #rows = new Map<string, HTMLElement>();
  #log: HTMLElement | null = null;
  #content: HTMLElement | null = null;
  #touchY = 0;

  readonly #observer = new ResizeObserver((entries) => {
    this.#scroller.resized(
      entries.flatMap((entry): [string, number][] => {
        const id = entry.target instanceof HTMLElement ? entry.target.dataset['row'] : undefined;
        return id === undefined ? [] : [[id, entry.borderBoxSize[0]?.blockSize ?? entry.contentRect.height]];
      }),
    );
  });

  constructor(scroller: Scroller) {
    this.#scroller = scroller;
  }

  readonly log: Attachment<HTMLElement> = (log) => {
    this.#log = log;
    this.#content = log.querySelector('[data-rows]');
    this.#observer.observe(log);
    if (this.#content !== null) this.#observer.observe(this.#content);
    const heard = new AbortController();
    const on = <K extends keyof HTMLElementEventMap>(type: K, hear: (event: HTMLElementEventMap[K]) => void, capture = false): void => {
      log.addEventListener(type, hear, { signal: heard.signal, passive: type !== 'keydown', capture });
    };
    on('scroll', () => {
      this.#scroller.scrolled();
    });
    on('wheel', ({ deltaY }) => {
      if (deltaY < 0) this.#scroller.up();
    });
    on('touchstart', ({ touches }) => {
      this.#touchY = touches[0]?.clientY ?? 0;
    });
    on('touchmove', ({ touches }) => {
      if ((touches[0]?.clientY ?? 0) > this.#touchY) this.#scroller.up();
    });
    on('pointerdown', (event) => {
      // On the scrollbar: the only part of the log's own box that is not its content.
      if (event.target === log && event.offsetX >= log.clientWidth) this.#scroller.up();
    });
    on('focusin', () => {
      this.#scroller.acted();
    });
    // Before the click is answered.
    on('click', ({ target }) => {
      if (target instanceof Element && target.closest(UNFOLDS) !== null) this.#scroller.hold();
    }, true);
    on('keydown', (event) => {
      if (event.target instanceof HTMLElement && event.target.closest(WRITES) !== null) return;
      this.#scroller.acted();
      if (['PageUp', 'ArrowUp', 'Home'].includes(event.key)) this.#scroller.up();
      if (event.key === 'Home' && event.target === log) {
        event.preventDefault();
        void this.#scroller.toStart();
      }
      if (event.key === 'End' && event.target === log) {
        event.preventDefault();
        this.#scroller.toEnd();
      }
    });
    const detach = this.#scroller.attach(this);
    return () => {
      heard.abort();
      detach();
      this.#observer.disconnect();
      this.#log = null;
      this.#content = null;
    };
  };

  readonly row: Attachment<HTMLElement> = (element) => {
    const id = element.dataset['row'] ?? '';
    this.#rows.set(id, element);
    this.#observer.observe(element);
    return () => {
      this.#observer.unobserve(element);
      if (this.#rows.get(id) === element) this.#rows.delete(id);
    };
  };

  /** A drawn row. */
  element(id: string): HTMLElement | null {
    return this.#rows.get(id) ?? null;
  }

  facts(): ScrollFacts {
    const log = this.#log;
    return log === null
      ? { top: 0, viewport: 0, content: 0 }
      : { top: log.scrollTop, viewport: log.clientHeight, content: log.scrollHeight };
  }

  scrollTo(top: number): void {
    if (this.#log !== null) this.#log.scrollTop = top;
  }

  width(): number {
    return this.#log?.clientWidth ?? 0;
  }

  rowsTop(): number {
    return this.#content?.offsetTop ?? 0;
  }

  topOf(id: string): number | null {
    const row = this.#rows.get(id);
    if (row === undefined || this.#log === null) return null;
    return row.getBoundingClientRect().top - this.#log.getBoundingClientRect().top;
  }

  *measured(): Iterable<readonly [string, number]> {
    for (const [id, row] of this.#rows) yield [id, row.getBoundingClientRect().height];
  }

  whole(id: string): boolean {
    return this.#rows.get(id)?.querySelector('[data-drawing]') === null;
  }

  drawn(): Promise<void> {
    return tick();
  }
}
