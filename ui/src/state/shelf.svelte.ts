import { SvelteMap, SvelteSet } from 'svelte/reactivity';

import { readStored, writeStored } from './stored';

const PINNED = 'pinned';
const ARCHIVED = 'archived';

/**
 * What this person put on top of the list of sessions, and what out of it. Kept by the window: nobody else's list
 * changes.
 *
 * A pinned session is shown although its row is far down the list and not here, so its title is kept with it.
 */
export class Shelf {
  readonly #pinned = new SvelteMap<string, string>();
  readonly #archived = new SvelteSet<string>();

  constructor() {
    for (const entry of listOf(readStored<unknown>(PINNED, []))) {
      if (Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'string') this.#pinned.set(entry[0], entry[1]);
    }
    for (const id of listOf(readStored<unknown>(ARCHIVED, []))) if (typeof id === 'string') this.#archived.add(id);
  }

  /** Ids and titles, in the order they were pinned. */
  get pinned(): readonly (readonly [id: string, title: string])[] {
    return [...this.#pinned];
  }

  isPinned(id: string): boolean {
    return this.#pinned.has(id);
  }

  isArchived(id: string): boolean {
    return this.#archived.has(id);
  }

  get archivedCount(): number {
    return this.#archived.size;
  }

  pin(id: string, title: string): void {
    this.#archived.delete(id);
    this.#pinned.set(id, title);
    this.#store();
  }

  unpin(id: string): void {
    this.#pinned.delete(id);
    this.#store();
  }

  archive(id: string): void {
    this.#pinned.delete(id);
    this.#archived.add(id);
    this.#store();
  }

  unarchive(id: string): void {
    this.#archived.delete(id);
    this.#store();
  }

  /** A session is deleted: nothing is kept of it. */
  forget(id: string): void {
    this.#pinned.delete(id);
    this.#archived.delete(id);
    this.#store();
  }

  /** The titles are these now. */
  rename(id: string, title: string): void {
    if (!this.#pinned.has(id) || this.#pinned.get(id) === title) return;
    this.#pinned.set(id, title);
    this.#store();
  }

  #store(): void {
    writeStored(PINNED, this.#pinned.size === 0 ? null : [...this.#pinned]);
    writeStored(ARCHIVED, this.#archived.size === 0 ? null : [...this.#archived]);
  }
}

function listOf(stored: unknown): unknown[] {
  return Array.isArray(stored) ? stored : [];
}
