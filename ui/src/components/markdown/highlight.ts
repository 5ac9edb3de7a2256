import { LINES_TOGETHER } from './render';
import { unheld } from './unheld';
import type { Mark } from './highlighter';
import type { Answer, Request } from './highlighter.worker';

/** A block with more characters than this stays plain: nobody reads it by colour, and it would hold up the window. */
const LONGEST = 40_000;

/** Letters that are coloured in a frame, about: they are laid out anew. */
const SHARE = 1_000;
/** Letters that are asked for at once, about. */
const TOGETHER = 4_000;

interface Block {
  code: HTMLElement;
  language: string;
  text: string;
}

const queue: Omit<Block, 'text'>[] = [];
let running = false;

/**
 * Has every code block in `root` coloured that has a language and was not coloured yet. `root` may be one itself.
 *
 * Those in a part of a long text wait until the part is near the screen: colours are most of what a text has of elements,
 * and nobody sees those far away.
 */
export function highlightIn(root: HTMLElement): void {
  const part = root.closest<HTMLElement>('.md-part');
  const waits = part !== null && part.dataset['near'] === undefined;
  const blocks = root.matches('.md-code') ? [root] : Array.from(root.querySelectorAll<HTMLElement>('.md-code'));
  for (const block of blocks) {
    const [language, coloured] = [block.getAttribute('data-language') ?? '', block.getAttribute('data-coloured')];
    if (language === '' || (coloured !== null && (coloured === '' || waits))) continue;
    block.setAttribute('data-coloured', waits ? 'later' : '');
    const code = block.querySelector('code');
    if (!waits && code !== null) highlightLater(code, language);
  }
}

/** Has the code coloured that was whole before its part came near the screen. */
export function highlightWaiting(part: HTMLElement): void {
  for (const block of Array.from(part.querySelectorAll<HTMLElement>('.md-code[data-coloured=later]'))) highlightIn(block);
}

/**
 * Colours a finished code block some time soon, one block after the other, so that typing and scrolling go first. The
 * highlighter is loaded with the first block that wants it.
 */
function highlightLater(code: HTMLElement, language: string): void {
  if (code.textContent.length > LONGEST) return;
  queue.push({ code, language });
  if (running) return;
  running = true;
  setTimeout(() => void drain(), 30);
}

async function drain(): Promise<void> {
  try {
    let drawn = 0;
    while (queue.length > 0) {
      const blocks = nextBlocks();
      const answers = await ask(blocks);
      for (const [at, { code, text }] of blocks.entries()) {
        const marks = answers[at];
        // One that was drawn anew meanwhile comes again.
        if (marks === undefined || marks === null || code.textContent !== text) continue;
        const groups = Array.from(code.children);
        for (const lines of linesOf(marks)) {
          drawn += lines.textContent.length;
          groups.shift()?.replaceChildren(unheld(lines));
          if (drawn < SHARE) continue;
          await new Promise((resolve) => requestAnimationFrame(resolve));
          drawn = 0;
        }
      }
    }
  } catch (cause) {
    // Code without colour is still code.
    console.warn('highlighting is not available', cause);
    queue.length = 0;
  } finally {
    running = false;
  }
}

/** The next blocks that wait and are still shown, about as many letters as are asked for at once, or one that is longer. */
function nextBlocks(): Block[] {
  const blocks: Block[] = [];
  for (let letters = 0; letters < TOGETHER; ) {
    const next = queue.shift();
    if (next === undefined) break;
    if (!next.code.isConnected) continue;
    const text = next.code.textContent;
    letters += text.length;
    blocks.push({ ...next, text });
  }
  return blocks;
}

let worker: Worker | null = null;

/** Asks the worker. One request at a time: the next answer is the one to it. */
function ask(blocks: Block[]): Promise<Answer> {
  const asked = (worker ??= new Worker(new URL('./highlighter.worker.ts', import.meta.url), { type: 'module' }));
  return new Promise((resolve, reject) => {
    asked.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
    asked.onerror = () => {
      worker = null;
      reject(new Error('the highlighter fell'));
    };
    const request: Request = blocks.map(({ text, language }) => ({ text, language }));
    asked.postMessage(request);
  });
}

/** The coloured code as nodes, as many lines together as a code block has in one element. */
export function* linesOf(marks: Mark[]): Generator<DocumentFragment> {
  let lines = 0;
  let root = document.createDocumentFragment();
  /** The elements that are open, the innermost last. */
  let open: Node[] = [root];
  const into = (): Node => open.at(-1) ?? root;
  for (const mark of marks) {
    if (typeof mark === 'string') {
      let from = 0;
      for (let end = mark.indexOf('\n'); end !== -1; end = mark.indexOf('\n', end + 1)) {
        lines += 1;
        if (lines < LINES_TOGETHER) continue;
        into().appendChild(document.createTextNode(mark.slice(from, end + 1)));
        yield root;
        from = end + 1;
        lines = 0;
        // What is open goes on in the next lines.
        root = document.createDocumentFragment();
        const outer = open.slice(1);
        open = [root];
        for (const element of outer) open.push(into().appendChild(element.cloneNode(false)));
      }
      if (from < mark.length) into().appendChild(document.createTextNode(mark.slice(from)));
    } else if ('begins' in mark) {
      const element = document.createElement('span');
      element.className = mark.begins;
      open.push(into().appendChild(element));
    } else if (open.length > 1) {
      open.pop();
    }
  }
  if (root.hasChildNodes()) yield root;
}
