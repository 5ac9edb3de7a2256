import { MarkdownStream, renderMarkdown, type StreamOptions } from './stream';

/** Words that a reader sees, with the code lines of a growing fence and of a whole one alike. */
export function normal(root: HTMLElement): string {
  const copy = root.cloneNode(true);
  if (!(copy instanceof HTMLElement)) throw new Error('an element is cloned to an element');
  for (const code of Array.from(copy.querySelectorAll('pre code'))) code.textContent = code.textContent.replace(/\n+$/, '');
  for (const block of Array.from(copy.querySelectorAll('[data-coloured]'))) block.removeAttribute('data-coloured');
  copy.normalize();
  return copy.innerHTML;
}

/** `text` drawn at once. */
export function whole(text: string): HTMLElement {
  const root = document.createElement('div');
  root.append(...renderMarkdown(text));
  return root;
}

/** `text` drawn as it comes in pieces of so many letters, over and over. */
export function streamed(text: string, sizes: readonly number[], options: StreamOptions = {}): HTMLElement {
  const root = document.createElement('div');
  const stream = new MarkdownStream(root, options);
  for (let at = 0, piece = 0; at < text.length; piece += 1) {
    const size = sizes[piece % sizes.length] ?? 1;
    stream.append(text.slice(at, at + size));
    at += size;
  }
  stream.close();
  return root;
}
