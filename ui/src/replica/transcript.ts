import type { Diff, Direction, Item, Part } from '../ipc/contract';

/** The effect of one diff on the rows on screen, so that a reader need not look for it. */
export type Effect =
  | { kind: 'reset' }
  | { kind: 'extend'; side: Direction; count: number }
  | { kind: 'trim'; side: Direction; count: number }
  | { kind: 'insert'; at: number }
  | { kind: 'set'; at: number }
  | { kind: 'remove'; at: number }
  | { kind: 'text'; at: number; part: number; text: string }
  | { kind: 'part'; at: number; part: number }
  | { kind: 'meta'; at: number }
  /** The diff does not fit what we hold: something was missed, ask for a reset. */
  | { kind: 'stale' };

const STALE = { kind: 'stale' } as const;

/**
 * The window's copy of a stretch of one session: a plain fold of diffs, with no idea of how they are drawn.
 *
 * The host has the same stretch and moves it; item `i` here is item `i` there.
 */
export class TranscriptReplica {
  readonly items: Item[] = [];
  hasMoreBefore = false;
  /** The list ends before the session does. */
  hasMoreAfter = false;

  apply(diff: Diff): Effect {
    switch (diff.op) {
      case 'reset':
        this.items.splice(0, this.items.length, ...diff.items);
        this.hasMoreBefore = diff.hasMoreBefore;
        this.hasMoreAfter = diff.hasMoreAfter === true;
        return { kind: 'reset' };
      case 'extend':
        this.items.splice(diff.side === 'before' ? 0 : this.items.length, 0, ...diff.items);
        this.#more(diff.side, diff.hasMore);
        return { kind: 'extend', side: diff.side, count: diff.items.length };
      case 'trim':
        if (diff.count > this.items.length) return STALE;
        this.items.splice(diff.side === 'before' ? 0 : this.items.length - diff.count, diff.count);
        this.#more(diff.side, true);
        return { kind: 'trim', side: diff.side, count: diff.count };
      case 'insert':
        if (diff.index > this.items.length) return STALE;
        this.items.splice(diff.index, 0, diff.item);
        return { kind: 'insert', at: diff.index };
      case 'remove':
        if (diff.index >= this.items.length) return STALE;
        this.items.splice(diff.index, 1);
        return { kind: 'remove', at: diff.index };
      case 'set':
        if (this.#at(diff.index, diff.item.id) === null) return STALE;
        this.items[diff.index] = diff.item;
        return { kind: 'set', at: diff.index };
      case 'patch': {
        const part = this.#at(diff.index, diff.id)?.parts[diff.part];
        if (part === undefined || !appendText(part, diff.text)) return STALE;
        return { kind: 'text', at: diff.index, part: diff.part, text: diff.text };
      }
      case 'part': {
        const parts = this.#at(diff.index, diff.id)?.parts;
        if (parts === undefined || diff.part > parts.length) return STALE;
        parts[diff.part] = diff.value;
        return { kind: 'part', at: diff.index, part: diff.part };
      }
      case 'meta': {
        const item = this.#at(diff.index, diff.id);
        if (item === null) return STALE;
        // In place: a row may hold this very object.
        Object.assign(item, diff.item);
        return { kind: 'meta', at: diff.index };
      }
    }
  }

  #more(side: Direction, more: boolean): void {
    if (side === 'before') this.hasMoreBefore = more;
    else this.hasMoreAfter = more;
  }

  /** The item at a place, if it is the one that is meant. */
  #at(index: number, id: string): Item | null {
    const item = this.items[index];
    return item?.id === id ? item : null;
  }
}

/** Appends to the part's growing text. Returns whether the part has one. */
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

