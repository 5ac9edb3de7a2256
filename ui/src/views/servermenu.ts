import type { MenuItem } from '../components/PopupMenu.svelte';
import type { ServerSummary } from '../ipc/contract';
import type { AppState } from '../state/app.svelte';
import type { ServerDialog } from '../state/shell.svelte';

/** What can be done with a server. */
export function serverMenu(app: AppState, { id, url, forgotten, connection }: ServerSummary): MenuItem[] {
  const ask = (kind: ServerDialog['kind']) => () => (app.shell.dialog = { kind, server: id });
  const rename = { label: 'Rename…', run: ask('rename-server') };
  if (url === null) return [rename];
  if (forgotten) return [rename, { label: 'Delete its copies here…', danger: true, run: ask('forget-server') }];
  return [
    rename,
    { label: 'Sign in again…', run: ask('sign-in') },
    ...(connection.state === 'live' ? [] : [{ label: 'Try again now', run: () => app.current.reconnect() }]),
    { label: 'Remove…', danger: true, run: ask('forget-server') },
  ];
}
