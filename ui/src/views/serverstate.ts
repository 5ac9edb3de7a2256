import type { ServerSummary } from '../ipc/contract';

/** How a server is, for its mark and its line in the list. */
export interface ServerState {
  mark: 'ok' | 'waits' | 'refused' | 'removed';
  words: string;
  /** The words are a sentence on what is wrong. */
  trouble: boolean;
}

/** How a server is, in words. */
export function stateOf({ connection, forgotten, url }: ServerSummary): ServerState {
  if (forgotten) return { mark: 'removed', words: 'Removed: can be read only', trouble: false };
  const { state, message } = connection;
  switch (state) {
    case 'live':
      return { mark: 'ok', words: url === null ? 'Ready' : 'Connected', trouble: false };
    case 'connecting':
    case 'catchingUp':
      return { mark: 'waits', words: 'Connecting…', trouble: false };
    case 'refused':
      return { mark: 'refused', words: message ?? 'The server does not let you in.', trouble: true };
    case 'offline':
      return { mark: 'waits', words: message ?? 'Not connected', trouble: message !== null };
    default:
      return { mark: 'waits', words: message ?? 'It cannot be reached, and is tried again.', trouble: true };
  }
}
