/** The highlighter in a thread of its own: to read a long file takes longer than a frame. One answer for each request, in order. */

import { highlight, type Mark } from './highlighter';

/** Blocks of code. */
export type Request = { text: string; language: string }[];

/** The marks of each block; null when its language is not known, or it broke the highlighter. */
export type Answer = (Mark[] | null)[];

self.addEventListener('message', ({ data }: MessageEvent<Request>) => {
  const answer: Answer = data.map(({ text, language }) => {
    try {
      return highlight(text, language);
    } catch (cause) {
      console.warn('a code block stays plain', cause);
      return null;
    }
  });
  self.postMessage(answer);
});
