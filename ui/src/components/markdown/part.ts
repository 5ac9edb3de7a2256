import { highlightWaiting } from './highlight';

/** Distance from the screen within which a part is said to be near. */
const NEAR = '1000px';

let observer: IntersectionObserver | null = null;

/**
 * A part of a long text: the fewer blocks stand side by side, the less a web view has to look at when one is added.
 *
 * One near the screen has `data-near`. Far away, nothing in it scrolls and its code has no colours: that costs a web view
 * something at every layout of the page, and nobody sees it.
 */
export function textPart(): HTMLElement {
  const part = document.createElement('div');
  part.className = 'md-part';
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!(target instanceof HTMLElement)) continue;
        if (!isIntersecting) delete target.dataset['near'];
        else if (target.dataset['near'] === undefined) {
          target.dataset['near'] = '';
          highlightWaiting(target);
        }
      }
    },
    { scrollMargin: NEAR },
  );
  observer.observe(part);
  return part;
}

/** Time that texts that are not shown any more take from one turn of the event loop, ms. */
const SHARE = 3;
/** Time between two such turns, ms. */
const PAUSE = 30;

/**
 * Takes a text apart that is not shown any more, some of it at a time.
 *
 * A web view frees what is taken out of a text there and then. Left whole, the text is freed by its garbage collector, all
 * at once: one of a megabyte held up the window for 200 ms, while another was read.
 */
export function takeApart(root: HTMLElement): void {
  setTimeout(() => {
    // It is shown after all.
    if (root.isConnected) return;
    const began = performance.now();
    while (performance.now() - began < SHARE) {
      const last = root.lastElementChild;
      if (last === null) return;
      // Within a part and within a list or table that grew long, the blocks go one by one.
      if (last.childElementCount > 0) last.lastElementChild?.remove();
      else last.remove();
    }
    takeApart(root);
  }, PAUSE);
}
