import type { Diff, Item, Part } from '../ipc/contract';

/** What one diff did to the rows on screen, so that a reader need not look for it. `at` counts displayed rows. */
export type Effect =
  | { kind: 'reset' }
  | { kind: 'insert'; at: number }
  | { kind: 'set'; at: number }
  | { kind: 'remove'; at: number }
  | { kind: 'text'; at: number; part: number; text: string }
  | { kind: 'part'; at: number; part: number }
  | { kind: 'meta'; at: number }
  /** Nothing on screen is concerned. */
  | { kind: 'none' }
  /** The diff does not fit what we hold: something was missed, ask for a reset. */
  | { kind: 'stale' };

/**
 * The window's copy of one session's items: a plain fold of diffs, with no idea of how they are drawn.
 *
 * The host speaks of a list of its own: the last N items at its last reset, and what came after. The page may hold more
 * than that at the front (older pages it asked for) or less (rows it let go of, {@link trim}):
 *
 * ```text
 *   items:   [ older pages … | host's list from `dropped` on … ]
 *                            ^ olderCount
 * ```
 *
 * Invariant: `items[olderCount + i - dropped]` is the host's item `i`, for every `i ≥ dropped`.
 */
export class TranscriptReplica {
  readonly items: Item[] = [];
  hasMoreBefore = false;
  /** The list ends before the session does. */
  hasMoreAfter = false;

  #olderCount = 0;
  #dropped = 0;

  /** How many rows at the front came by paging. */
  get olderCount(): number {
    return this.#olderCount;
  }

  apply(diff: Diff): Effect {
    switch (diff.op) {
      case 'reset':
        this.hasMoreAfter = diff.hasMoreAfter === true;
        return this.#reset(diff.items, diff.hasMoreBefore);
      case 'insert':
        return this.#insert(diff.index, diff.item);
      case 'remove':
        return this.#remove(diff.index);
      case 'set': {
        const at = this.#find(diff.index, diff.item.id);
        if (typeof at !== 'number') return at;
        this.items[at] = diff.item;
        return { kind: 'set', at };
      }
      case 'patch': {
        const at = this.#find(diff.index, diff.id);
        if (typeof at !== 'number') return at;
        const part = this.items[at]?.parts[diff.part];
        if (part === undefined || !appendText(part, diff.text)) return { kind: 'stale' };
        return { kind: 'text', at, part: diff.part, text: diff.text };
      }
      case 'part': {
        const at = this.#find(diff.index, diff.id);
        if (typeof at !== 'number') return at;
        const parts = this.items[at]?.parts;
        if (parts === undefined || diff.part > parts.length) return { kind: 'stale' };
        parts[diff.part] = diff.value;
        return { kind: 'part', at, part: diff.part };
      }
      case 'meta': {
        const at = this.#find(diff.index, diff.id);
        if (typeof at !== 'number') return at;
        const item = this.items[at];
        if (item === undefined) return { kind: 'stale' };
        // In place: a row may hold this very object.
        Object.assign(item, diff.item);
        return { kind: 'meta', at };
      }
    }
  }

  /** Puts an older page in front. Rows that are already here are left out. Returns how many were added. */
  prepend(page: Item[], hasMoreBefore: boolean): number {
    const known = new Set(this.items.map((item) => item.id));
    const fresh = page.filter((item) => !known.has(item.id));
    this.items.unshift(...fresh);
    this.#olderCount += fresh.length;
    this.hasMoreBefore = hasMoreBefore;
    return fresh.length;
  }

  /** Lets go of rows at the front until at most `keep` are left; paging brings them back. Returns how many went. */
  trim(keep: number): number {
    const count = Math.max(0, this.items.length - keep);
    if (count === 0) return 0;
    this.items.splice(0, count);
    const older = Math.min(count, this.#olderCount);
    this.#olderCount -= older;
    this.#dropped += count - older;
    this.hasMoreBefore = true;
    return count;
  }

  #reset(items: Item[], hasMoreBefore: boolean): Effect {
    // Older pages survive when the new list goes on from rows we know: the reader keeps the place.
    const first = items[0];
    const seam = first === undefined ? -1 : this.items.findIndex((item) => item.id === first.id);
    const older = seam > 0 && hasMoreBefore ? this.items.slice(0, seam) : [];
    if (older.length === 0) this.hasMoreBefore = hasMoreBefore;
    this.items.splice(0, this.items.length, ...older, ...items);
    this.#olderCount = older.length;
    this.#dropped = 0;
    return { kind: 'reset' };
  }

  #insert(index: number, item: Item): Effect {
    if (index < this.#dropped) {
      this.#dropped += 1;
      return { kind: 'none' };
    }
    const at = this.#olderCount + index - this.#dropped;
    if (at > this.items.length) return { kind: 'stale' };
    this.items.splice(at, 0, item);
    return { kind: 'insert', at };
  }

  #remove(index: number): Effect {
    if (index < this.#dropped) {
      this.#dropped -= 1;
      return { kind: 'none' };
    }
    const at = this.#olderCount + index - this.#dropped;
    if (at >= this.items.length) return { kind: 'stale' };
    this.items.splice(at, 1);
    return { kind: 'remove', at };
  }

  /** The displayed row of the host's item `index`, or the effect of not having it. */
  #find(index: number, id: string): number | Effect {
    if (index < this.#dropped) {
      // The row was let go of; it may be back as part of an older page.
      const at = this.items.findIndex((item) => item.id === id);
      return at === -1 ? { kind: 'none' } : at;
    }
    const at = this.#olderCount + index - this.#dropped;
    return this.items[at]?.id === id ? at : { kind: 'stale' };
  }
}

/** Appends to the part's growing text. False when the part has none. */
function appendText(part: Part, text: string): boolean {
  switch (part.type) {
    case 'text':
    case 'reasoning':
      part.text += text;
      return true;
    case 'tool-call':
      part.arguments += text;
      return true;
    default:
      return false;
  }
}

