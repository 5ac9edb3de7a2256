import type { SessionMeta } from '../ipc/contract';
import type { Servers } from './servers.svelte';

/** A shared log may hold this word as a name: everybody who never set one was called so. It names nobody. */
const NOBODYS_NAME = /^you$/i;

/** The actor that is this person, and the names of all others. */
export class Actors {
  readonly #own: string;
  readonly #servers: Pick<Servers, 'homeOf'>;

  /** `own`: who the person at this window is, where a server gives no other name to the token. */
  constructor(own: string, servers: Pick<Servers, 'homeOf'>) {
    this.#own = own;
    this.#servers = servers;
  }

  isOwn(actorId: string | null, sessionId: string | null): boolean {
    return actorId === (this.#servers.homeOf(sessionId)?.me ?? this.#own);
  }

  /** How to call an actor: never "You" unless it is this person. */
  nameOf(actorId: string | null, meta: SessionMeta | null): string {
    if (this.isOwn(actorId, meta?.sessionId ?? null)) return 'You';
    if (actorId === null) return 'Somebody';
    const name = meta?.presence.find((one) => one.actorId === actorId)?.name?.trim() ?? '';
    if (name !== '' && !NOBODYS_NAME.test(name)) return name;
    return /^[0-9a-f-]{16,}$/i.test(actorId) ? `Person ${actorId.slice(-4)}` : actorId;
  }
}

/** One or two letters for a name, as on a badge. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/).filter((word) => word !== '');
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => Array.from(word ?? '')[0] ?? '');
  return letters.join('').toUpperCase();
}
