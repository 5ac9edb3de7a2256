import { MarkdownStream } from './stream';

/** A little of each kind of block. */
const SAMPLES = [
  'Words, **strong** and *stressed*, `code` and [a link](https://example.org).\n\n',
  '## A heading\n\n',
  '- one\n- two\n\nNumbers:\n\n1. one\n2. two\n\n',
  '```ts\nlet x = 1;\n```\n\n',
  '| a | b |\n| --- | --- |\n| 1 | 2 |\n\n',
  '> Said.\n\n',
];

/** Time between two of them, ms: whoever types or clicks goes first. */
const PAUSE = 100;

/**
 * Draws a little of everything out of sight, one kind at a time, and takes it away again.
 *
 * The first block of a kind takes a web view several times as long as the next one: its script is not compiled, its
 * styles are not matched and its fonts not loaded yet. So the first answer that is opened is drawn as fast as any other.
 */
export function warmUp(): void {
  const root = document.createElement('div');
  root.className = 'md visually-hidden';
  root.inert = true;
  root.ariaHidden = 'true';
  document.body.append(root);
  const stream = new MarkdownStream(root);
  const samples = SAMPLES.values();
  const next = (): void => {
    const { value, done } = samples.next();
    if (done === true) {
      root.remove();
      return;
    }
    stream.append(value);
    setTimeout(next, PAUSE);
  };
  setTimeout(next, PAUSE);
}
