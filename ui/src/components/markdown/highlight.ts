/** Past this many characters a block stays plain: nobody reads it by colour, and it would hold up the window. */
const LONGEST = 40_000;

const queue: { code: HTMLElement; language: string }[] = [];
let running = false;

/** Has every code block in `root` coloured that has a language and was not coloured yet. `root` may be one itself. */
export function highlightIn(root: HTMLElement): void {
  const blocks = root.matches('.md-code') ? [root] : Array.from(root.querySelectorAll<HTMLElement>('.md-code'));
  for (const block of blocks) {
    const { language, coloured } = block.dataset;
    const code = block.querySelector('code');
    if (language === undefined || language === '' || coloured !== undefined || code === null) continue;
    block.dataset['coloured'] = '';
    highlightLater(code, language);
  }
}

/**
 * Colours a finished code block some time soon, one block per turn of the event loop, so that typing and scrolling go
 * first. The highlighter is loaded with the first block that wants it.
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
    const { highlight } = await import('./highlighter');
    for (;;) {
      const next = queue.shift();
      if (next === undefined) break;
      if (!next.code.isConnected) continue;
      const nodes = highlight(next.code.textContent, next.language);
      if (nodes !== null) next.code.replaceChildren(...nodes);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } catch (cause) {
    // Code without colour is still code.
    console.warn('highlighting is not available', cause);
    queue.length = 0;
  } finally {
    running = false;
  }
}
