import { SvelteSet } from 'svelte/reactivity';

import type { SessionMeta } from '../ipc/contract';
import { readStored, writeStored } from './stored';

const OWN = 'own';
/** A shared log may hold this word as a name: everybody who never set one was called so. It names nobody. */
const NOBODYS_NAME = /^you$/i;

/**
 * The actors that are this person, and the names of all others.
 *
 * A server may write a person's messages under another id than they were sent with (that of the token), so own ids are
 * learned from own messages as they come back, and kept for each server.
 */
export class Actors {
  readonly #own = new SvelteSet<string>(readStored<string[]>(OWN, []));
  /** The server in use; empty for the one inside the app. */
  server = $state('');

  /** An own message stands in the log under this id. */
  learn(actorId: string | null): void {
    if (actorId === null || this.#own.has(this.#key(actorId))) return;
    this.#own.add(this.#key(actorId));
    writeStored(OWN, Array.from(this.#own));
  }

  isOwn(actorId: string | null, meta: SessionMeta | null): boolean {
    if (actorId !== null && this.#own.has(this.#key(actorId))) return true;
    // On the server inside the app nobody else writes, unless somebody is there who does.
    if (this.server !== '') return false;
    const people = (meta?.presence ?? []).filter(({ actorType }) => actorType === 'user');
    return people.length <= 1 && people.every((one) => actorId === null || one.actorId === actorId);
  }

  /** How to call an actor: never "You" unless it is this person. */
  nameOf(actorId: string | null, meta: SessionMeta | null): string {
    if (this.isOwn(actorId, meta)) return 'You';
    if (actorId === null) return 'Somebody';
    const name = meta?.presence.find((one) => one.actorId === actorId)?.name?.trim() ?? '';
    if (name !== '' && !NOBODYS_NAME.test(name)) return name;
    return /^[0-9a-f-]{16,}$/i.test(actorId) ? `Person ${actorId.slice(-4)}` : actorId;
  }

  #key(actorId: string): string {
    return JSON.stringify([this.server, actorId]);
  }
}

/** One or two letters for a name, as on a badge. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/).filter((word) => word !== '');
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => Array.from(word ?? '')[0] ?? '');
  return letters.join('').toUpperCase();
}
