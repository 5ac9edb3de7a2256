import { formulaOf } from './math';

/** A function that sets a formula in type: `katex.render`, as far as it is used here. */
type Typeset = (tex: string, into: HTMLElement, display: boolean) => void;

/** Time that formulas take from one turn of the event loop, ms. */
const BUDGET = 8;

/** A formula longer than this, letters, stays as it was written: setting it would hold up the window. */
const LONGEST = 2_000;

let typeset: Typeset | null = null;
let loading = false;
const waiting = new Set<HTMLElement>();
/** Time that this turn of the event loop has left for formulas, ms. */
let left = BUDGET;
/** The next turn goes on. */
let going = false;

/**
 * Has every formula in `root` set in type that is not yet. `root` may be one itself.
 *
 * What sets them is loaded with the first formula. Once it is there, formulas are set before the next frame, as far as
 * time allows, so that nothing moves that is being read. One that cannot be set stays as it was written.
 */
export function formulasIn(root: HTMLElement): void {
  const found = root.matches('.md-math') ? [root] : Array.from(root.querySelectorAll<HTMLElement>('.md-math'));
  for (const one of found) if (one.isConnected && one.dataset['set'] === undefined) waiting.add(one);
  if (waiting.size === 0) return;
  if (typeset !== null) drain(typeset);
  else if (!loading) void load();
}

async function load(): Promise<void> {
  loading = true;
  try {
    ({ typeset } = await import('./typeset'));
    drain(typeset);
  } catch (cause) {
    // A formula as it was written can still be read.
    console.warn('formulas cannot be set in type', cause);
    waiting.clear();
  } finally {
    loading = false;
  }
}

function drain(set: Typeset): void {
  for (const math of waiting) {
    if (left <= 0) break;
    waiting.delete(math);
    const began = performance.now();
    if (math.isConnected) setOne(math, set);
    left -= performance.now() - began;
  }
  if (going) return;
  going = true;
  setTimeout(() => {
    going = false;
    left = BUDGET;
    if (waiting.size > 0) drain(set);
  }, 0);
}

/** Shows the formula in type; its source stays beside it, unseen, and is what is copied. */
function setOne(math: HTMLElement, set: Typeset): void {
  const { source, tex, display } = formulaOf(math.textContent);
  const type = document.createElement('span');
  type.className = 'md-type';
  if (tex.length > LONGEST) {
    math.dataset['set'] = 'failed';
    return;
  }
  try {
    set(tex, type, display);
  } catch {
    math.dataset['set'] = 'failed';
    return;
  }
  const written = document.createElement('span');
  written.className = 'md-source';
  written.setAttribute('aria-hidden', 'true');
  written.textContent = source;
  math.dataset['set'] = '';
  math.replaceChildren(written, type);
}
