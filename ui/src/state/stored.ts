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

/** A value that is written often and wanted seldom: kept for a moment before it is stored. */
export interface StoredLater<T> {
  read(): T | null;
  /** Keeps `value`; null forgets it. */
  write(value: T | null): void;
  /** Stores what was written last, now. */
  flush(): void;
}

/** How long a value rests before it is stored, ms. */
const REST = 200;

export function storedLater<T>(key: string): StoredLater<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let latest: T | null | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    if (latest !== undefined) writeStored(key, latest);
    latest = undefined;
  };
  return {
    read: () => readStored<T | null>(key, null),
    write(value) {
      latest = value;
      clearTimeout(timer);
      timer = setTimeout(flush, REST);
    },
    flush,
  };
}
