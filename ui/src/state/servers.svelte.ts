import { BackendError, type Backend } from '../ipc/backend';
import type { ServerCheck, ServerSummary } from '../ipc/contract';

/** The server inside this computer, which is always there. */
export const THIS_COMPUTER = 'local';
/** What a server answers that does not take a token. */
const REFUSALS = ['server-refused', 'server-forbidden'];

/** The session servers of this person, and the one that the next new session is made on. */
export class Servers {
  /** This computer first, then the others as they were joined. */
  list = $state.raw<ServerSummary[]>([]);

  readonly #backend: Backend;
  #chosen = $state<string | null>(null);

  /** `last`: the server that the last new session was made on. */
  constructor(backend: Backend, last: string | null) {
    this.#backend = backend;
    this.#chosen = last;
  }

  /** Those that a session can be made on. */
  readonly usable: ServerSummary[] = $derived(this.list.filter(({ forgotten }) => !forgotten));

  /** Where the next new session will live. */
  readonly next: ServerSummary | null = $derived(this.usable.find(({ id }) => id === this.#chosen) ?? this.usable[0] ?? null);

  find(id: string | null): ServerSummary | null {
    return this.list.find((server) => server.id === id) ?? null;
  }

  /** The server that a session lives on; null where there is none of the kind any more. */
  homeOf(sessionId: string | null): ServerSummary | null {
    return sessionId === null ? null : this.find(homeIdOf(sessionId));
  }

  /** New sessions are made on this server from now on. */
  choose(id: string): void {
    this.#chosen = id;
  }

  check(url: string, token: string): Promise<ServerCheck> {
    return this.#backend.checkServer(url.trim(), given(token));
  }

  async join(url: string, name: string, token: string): Promise<void> {
    this.choose(await this.#backend.joinServer(url.trim(), name.trim(), given(token)));
  }

  rename(id: string, name: string): Promise<void> {
    return this.#backend.renameServer(id, name.trim());
  }

  /** Signs in again. A token that the server refuses is not kept; what cannot be asked now is found out later. */
  async signIn({ id, url }: ServerSummary, token: string): Promise<ServerCheck> {
    const check = url === null ? { ok: true, code: 'ok', message: '' } : await this.check(url, token);
    if (REFUSALS.includes(check.code)) throw new BackendError(check.code, check.message);
    await this.#backend.setServerToken(id, given(token));
    return check;
  }

  countUnsent(id: string): Promise<number> {
    return this.#backend.countUnsent(id);
  }

  forget(id: string, keepSessions: boolean): Promise<void> {
    return this.#backend.forgetServer(id, keepSessions);
  }
}

/** The id of the server that a session lives on: the first half of the session's own. */
export function homeIdOf(sessionId: string): string {
  const end = sessionId.indexOf('/');
  return end === -1 ? THIS_COMPUTER : sessionId.slice(0, end);
}

function given(token: string): string | null {
  return token.trim() === '' ? null : token.trim();
}
