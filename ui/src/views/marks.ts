/** Stretches of text that are marked at most: more help nobody. */
const MOST = 1_000;
const NAME = 'found';

/** The words of a search, and its phrases in quotes. */
export function wordsOf(query: string): string[] {
  return [...query.matchAll(/["“”]([^"“”]+)["“”]?|\S+/g)].map((match) => (match[1] ?? match[0]).replace(/["“”]/g, '').trim().toLowerCase()).filter((word) => word !== '');
}

/**
 * Marks words where they are drawn, without changing what is drawn: what is not in the page yet is marked when it comes.
 * A web view that cannot marks nothing.
 */
export class Marks {
  readonly #root: HTMLElement;
  readonly #observer: MutationObserver;
  #words: readonly string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(root: HTMLElement) {
    this.#root = root;
    this.#observer = new MutationObserver(() => this.#later());
  }

  /** Marks these words from now on; none: nothing. */
  show(query: string): void {
    this.#words = wordsOf(query);
    this.#observer.disconnect();
    if (this.#words.length > 0) this.#observer.observe(this.#root, { childList: true, subtree: true, characterData: true });
    this.#mark();
  }

  stop(): void {
    this.show('');
    clearTimeout(this.#timer);
  }

  #later(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#mark(), 80);
  }

  #mark(): void {
    if (typeof Highlight === 'undefined') return;
    CSS.highlights.delete(NAME);
    const ranges = rangesOf(this.#root, this.#words);
    if (ranges.length > 0) CSS.highlights.set(NAME, new Highlight(...ranges));
  }
}

/** Where words stand in the text of an element, each inside of one of its texts. */
export function rangesOf(root: Node, words: readonly string[]): Range[] {
  const ranges: Range[] = [];
  if (words.length === 0) return ranges;
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (texts.nextNode() !== null && ranges.length < MOST) {
    const node = texts.currentNode;
    const text = (node.nodeValue ?? '').toLowerCase();
    for (const word of words) {
      for (let at = text.indexOf(word); at !== -1 && ranges.length < MOST; at = text.indexOf(word, at + word.length)) {
        // Letters whose small form is longer stand elsewhere.
        if (at + word.length > (node.nodeValue ?? '').length) break;
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        ranges.push(range);
      }
    }
  }
  return ranges;
}
