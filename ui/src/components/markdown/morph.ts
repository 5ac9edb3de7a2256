import { unheld } from './unheld';

/**
 * Makes `target`'s children equal to `next`, touching only what differs.
 *
 * The open end of a growing text is built anew each frame, and is mostly what it was: text that only grew gets the new
 * end appended, so that a selection, a scrolled code block and the layout of everything before it stay. What is new is
 * added as a copy: `next` stays as it was.
 */
export function morphChildren(target: Node, next: Node[]): void {
  const flat = next.flatMap((node) => (node instanceof DocumentFragment ? Array.from(node.childNodes) : [node]));
  let current = target.firstChild;
  for (const wanted of flat) {
    if (current === null) {
      target.appendChild(unheld(wanted));
      continue;
    }
    const following: ChildNode | null = current.nextSibling;
    if (!morphNode(current, wanted)) target.replaceChild(unheld(wanted), current);
    current = following;
  }
  while (current !== null) {
    const following: ChildNode | null = current.nextSibling;
    current.remove();
    current = following;
  }
}

/** Makes `current` like `wanted`. Returns whether that could be done. */
function morphNode(current: Node, wanted: Node): boolean {
  if (current instanceof Text && wanted instanceof Text) {
    const [old, now] = [current.data, wanted.data];
    if (old === now) return true;
    if (now.startsWith(old)) current.appendData(now.slice(old.length));
    else current.data = now;
    return true;
  }
  // The web view compares the two without a word of script about what is in them.
  if (current.isEqualNode(wanted)) return true;
  if (!(current instanceof HTMLElement) || !(wanted instanceof HTMLElement)) return false;
  if (current.nodeName !== wanted.nodeName) return false;
  if (sameMadeUp(current, wanted)) return true;
  if (!sameAttributes(current, wanted)) return false;
  morphChildren(current, Array.from(wanted.childNodes));
  return true;
}

/** The source of a formula, set in type or not. */
function sourceOf(math: HTMLElement): string {
  return math.querySelector('.md-source')?.textContent ?? math.textContent;
}

/** Whether two are the same code or formula, whatever was made of the one that is shown: colours, type. */
function sameMadeUp(current: HTMLElement, wanted: HTMLElement): boolean {
  if (current.classList.contains('md-math')) return wanted.classList.contains('md-math') && sourceOf(current) === sourceOf(wanted);
  if (!current.classList.contains('md-code') || current.dataset['language'] !== wanted.dataset['language']) return false;
  return current.querySelector('code')?.textContent === wanted.querySelector('code')?.textContent;
}

/** Whether two have the same attributes, but for what a person opened or closed. */
function sameAttributes(a: Element, b: Element): boolean {
  const of = (one: Element): Attr[] => Array.from(one.attributes).filter(({ name }) => name !== 'open');
  return of(a).length === of(b).length && of(a).every(({ name, value }) => b.getAttribute(name) === value);
}
