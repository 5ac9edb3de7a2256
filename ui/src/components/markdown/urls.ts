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

/** What to show of an address in a few letters: its host. */
export function hostOf(href: string): string {
  try {
    const url = new URL(href);
    return url.protocol === 'mailto:' ? url.pathname : url.host;
  } catch {
    return '';
  }
}
