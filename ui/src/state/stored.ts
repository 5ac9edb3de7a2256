/**
 * Small things about this window that may be forgotten: widths, folds, where the reader was.
 *
 * The page's own storage is enough for them, and a page without one still works.
 */
const PREFIX = 'threadkeep.';

export function readStored<T>(key: string, fallback: T): T {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback;
  }
}

/** Keeps `value`; null forgets it. */
export function writeStored(key: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Storage is full or switched off: the window forgets a little more.
  }
}
