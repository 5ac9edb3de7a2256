import { UNSPACED } from './scripts';

const ALLOWED = new Set(['http:', 'https:', 'mailto:']);

/** The address if it is absolute and of an allowed scheme, else null. Never relative: there is nothing to be relative to. */
export function allowedUrl(href: string): string | null {
  let url: URL;
  try {
    url = new URL(href.trim());
  } catch {
    return null;
  }
  return ALLOWED.has(url.protocol) ? url.href : null;
}

/** The host of an address, to show it in a few letters. */
export function hostOf(href: string): string {
  try {
    const url = new URL(href);
    return url.protocol === 'mailto:' ? url.pathname : url.host;
  } catch {
    return '';
  }
}

/** Full-width punctuation: no part of an address that somebody typed. */
const FULL_WIDTH = /[\u3001-\u3003\u3008-\u3011\u3014-\u301f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]/;
/** Other punctuation of a sentence, at the end of an address or before the next word of a script without spaces. */
const OUTER = new RegExp(`[\\u00ab\\u00bb\\u060c\\u061b\\u061f\\u06d4\\u0964\\u0965\\u2013-\\u201f\\u2026\\u2039\\u203a]+(?=$|[${UNSPACED}])`, 'u');
/** A host that goes over into a word: `example.org` and what follows it. */
const HOST = new RegExp(`^(?:[a-z]+://|www\\.)(?:[a-z0-9-]+\\.)*[a-z][a-z0-9-]*(?=[${UNSPACED}])`, 'iu');

/** The length of `address` itself: without the sentence that goes on behind it, as it does where no spaces are written. */
export function addressEnd(address: string): number {
  const ends = [FULL_WIDTH, OUTER].map((end) => address.search(end)).filter((at) => at !== -1);
  const host = HOST.exec(address)?.[0];
  if (host?.includes('.') === true) ends.push(host.length);
  return Math.min(address.length, ...ends);
}
