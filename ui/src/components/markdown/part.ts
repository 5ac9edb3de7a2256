import { highlightWaiting } from './highlight';

/** How near the screen a part is said to be near. */
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
