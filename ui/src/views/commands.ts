import type { AppState } from '../state/app.svelte';
import type { Chord } from '../state/keymap.svelte';

/** Something that can be done from anywhere, by its keys or by its name in the palette. */
export interface Command {
  id: string;
  name: string;
  group: 'Go to' | 'Session' | 'Window';
  /** The usual keys; the person may have chosen others. */
  keys: readonly Chord[];
  /** Other words that it is looked for by. */
  also?: string;
  run: () => void;
  /** Why it cannot be done now, in words; null when it can. */
  blocked?: () => string | null;
  /** What it does is seen while it is done, so that the palette does not offer it. */
  onlyKeys?: true;
}

/** What commands need of the window besides its state. */
export interface Hands {
  focusComposer: () => void;
  /** Moves the focus to the next part of the window. */
  cycle: (step: -1 | 1) => void;
  rename: () => void;
}

/** All commands, in the order they are listed in. */
export function commandsOf(app: AppState, hands: Hands): Command[] {
  const { appearance, current, shell, shelf } = app;
  const here = (run: (id: string) => void) => () => {
    if (current.id !== null) run(current.id);
  };
  const needsSession = (): string | null => (current.id === null ? 'No session is open' : null);
  return [
    { id: 'palette', name: 'Go to a session, a message or a command', group: 'Go to', keys: ['Ctrl+K', 'Ctrl+Shift+F'], also: 'search find palette', run: () => (shell.dialog = 'search'), onlyKeys: true },
    { id: 'inbox', name: 'Open the approvals that wait', group: 'Go to', keys: ['Ctrl+Shift+A'], also: 'inbox needs you requests', run: () => app.openInbox() },
    { id: 'new', name: 'New session', group: 'Go to', keys: ['Ctrl+N'], also: 'start chat', run: () => {
      app.newSession();
      hands.focusComposer();
    } },
    { id: 'back', name: 'Back to the session before', group: 'Go to', keys: ['Ctrl+['], run: () => void app.walk(-1), blocked: () => (app.trail.peek(-1) === null ? 'There is none before' : null) },
    { id: 'forward', name: 'Forward to the session after', group: 'Go to', keys: ['Ctrl+]'], run: () => void app.walk(1), blocked: () => (app.trail.peek(1) === null ? 'There is none after' : null) },
    { id: 'prompt.before', name: 'To the message of a person above', group: 'Go to', keys: ['Alt+ArrowUp'], also: 'previous prompt', run: () => (current.jump = { step: -1 }), blocked: needsSession, onlyKeys: true },
    { id: 'prompt.after', name: 'To the message of a person below', group: 'Go to', keys: ['Alt+ArrowDown'], also: 'next prompt', run: () => (current.jump = { step: 1 }), blocked: needsSession, onlyKeys: true },
    { id: 'find', name: 'Find in this session', group: 'Session', keys: ['Ctrl+F'], also: 'search', run: () => {
      shell.view = 'session';
      current.find.open = true;
    }, blocked: needsSession },
    { id: 'find.next', name: 'Next found message', group: 'Session', keys: ['Ctrl+G', 'F3'], run: () => current.find.step(1), blocked: () => (current.find.hits.length === 0 ? 'Nothing is looked for' : null), onlyKeys: true },
    { id: 'find.before', name: 'Found message before', group: 'Session', keys: ['Ctrl+Shift+G', 'Shift+F3'], run: () => current.find.step(-1), blocked: () => (current.find.hits.length === 0 ? 'Nothing is looked for' : null), onlyKeys: true },
    { id: 'stop', name: 'Stop the answer', group: 'Session', keys: ['Ctrl+.'], also: 'cancel abort', run: () => current.stop(), blocked: () => (current.running ? null : 'No answer is being written') },
    { id: 'rename', name: 'Rename the session', group: 'Session', keys: ['F2'], also: 'title', run: hands.rename, blocked: needsSession },
    { id: 'pin', name: current.id !== null && shelf.isPinned(current.id) ? 'Unpin the session' : 'Pin the session', group: 'Session', keys: ['Ctrl+Shift+P'], also: 'pin unpin top', run: here((id) => app.togglePin(id)), blocked: needsSession },
    { id: 'archive', name: current.id !== null && shelf.isArchived(current.id) ? 'Take the session out of the archive' : 'Archive the session', group: 'Session', keys: ['Ctrl+Shift+E'], also: 'archive hide', run: here((id) => app.toggleArchive(id)), blocked: needsSession },
    { id: 'copy', name: 'Copy the conversation as Markdown', group: 'Session', keys: [], also: 'export', run: () => void current.copyAll(), blocked: needsSession },
    { id: 'details', name: shell.inspectorOpen ? 'Hide details' : 'Show details', group: 'Session', keys: ['Ctrl+I'], also: 'inspector agents people figures', run: () => shell.toggleInspector(), blocked: needsSession },
    { id: 'reconnect', name: 'Try to connect now', group: 'Session', keys: [], also: 'retry offline', run: () => current.reconnect(), blocked: () => (current.offline ? null : 'Nothing waits for a connection') },
    { id: 'delete', name: 'Delete the session…', group: 'Session', keys: [], also: 'remove', run: () => (shell.dialog = 'delete'), blocked: needsSession },
    { id: 'sidebar', name: shell.sidebarOpen ? 'Hide the sidebar' : 'Show the sidebar', group: 'Window', keys: ['Ctrl+B'], also: 'list sessions', run: () => shell.toggleSidebar() },
    { id: 'settings', name: 'Settings', group: 'Window', keys: ['Ctrl+,'], also: 'preferences options model key', run: () => app.openSettings() },
    { id: 'shortcuts', name: 'Keyboard shortcuts', group: 'Window', keys: ['?', 'Ctrl+/'], also: 'keys help', run: () => (shell.dialog = 'shortcuts') },
    { id: 'add-server', name: 'Add a server…', group: 'Window', keys: [], also: 'join connect', run: () => (shell.dialog = 'add-server') },
    { id: 'zoom.in', name: 'Larger text', group: 'Window', keys: ['Ctrl+=', 'Ctrl++'], also: 'zoom in', run: () => appearance.zoom(1), blocked: () => (appearance.canZoom(1) ? null : 'It is as large as it gets') },
    { id: 'zoom.out', name: 'Smaller text', group: 'Window', keys: ['Ctrl+-'], also: 'zoom out', run: () => appearance.zoom(-1), blocked: () => (appearance.canZoom(-1) ? null : 'It is as small as it gets') },
    { id: 'zoom.reset', name: 'Usual size of text', group: 'Window', keys: ['Ctrl+0'], also: 'zoom reset', run: () => appearance.zoom(0) },
    { id: 'theme.system', name: 'Colours as the system has them', group: 'Window', keys: [], also: 'theme auto', run: () => appearance.setTheme('system'), blocked: () => (appearance.theme === 'system' ? 'They are' : null) },
    { id: 'theme.light', name: 'Light colours', group: 'Window', keys: [], also: 'theme', run: () => appearance.setTheme('light'), blocked: () => (appearance.theme === 'light' ? 'They are' : null) },
    { id: 'theme.dark', name: 'Dark colours', group: 'Window', keys: [], also: 'theme night', run: () => appearance.setTheme('dark'), blocked: () => (appearance.theme === 'dark' ? 'They are' : null) },
    { id: 'density', name: appearance.compact ? 'More room between sessions and messages' : 'Less room between sessions and messages', group: 'Window', keys: [], also: 'density compact comfortable', run: () => appearance.setCompact(!appearance.compact) },
    { id: 'contrast', name: appearance.moreContrast ? 'Contrast as the system has it' : 'More contrast', group: 'Window', keys: [], also: 'high contrast accessibility', run: () => appearance.setMoreContrast(!appearance.moreContrast) },
    { id: 'motion', name: appearance.lessMotion ? 'Motion as the system has it' : 'Less motion', group: 'Window', keys: [], also: 'reduced animation accessibility', run: () => appearance.setLessMotion(!appearance.lessMotion) },
    { id: 'cycle', name: 'To the next part of the window', group: 'Window', keys: ['F6'], run: () => hands.cycle(1), onlyKeys: true },
    { id: 'cycle.back', name: 'To the part of the window before', group: 'Window', keys: ['Shift+F6'], run: () => hands.cycle(-1), onlyKeys: true },
  ];
}

/** Keys that are what they are: they mean something only where one is, or name a place. */
export const FIXED_KEYS: readonly { keys: string; name: string; group: 'Go to' | 'Where one is' }[] = [
  { keys: 'Ctrl+1 … Ctrl+9', name: 'To one of the first nine sessions of the list, pinned ones first', group: 'Go to' },
  { keys: 'Escape', name: 'Back to writing; closes what was opened', group: 'Where one is' },
  { keys: 'Escape, Escape', name: 'Stops the answer', group: 'Where one is' },
  { keys: 'Enter', name: 'Sends the message', group: 'Where one is' },
  { keys: 'Shift+Enter', name: 'Begins a new line', group: 'Where one is' },
  { keys: 'ArrowUp', name: 'In an empty message: what you wrote before', group: 'Where one is' },
  { keys: 'A', name: 'On a request: approves it once', group: 'Where one is' },
  { keys: 'D', name: 'On a request: denies it', group: 'Where one is' },
  { keys: 'J, K', name: 'Among the approvals that wait: to the next, the one before', group: 'Where one is' },
  { keys: 'Shift+F10', name: 'On a message or a session: its menu', group: 'Where one is' },
  { keys: 'Home', name: 'In the messages: to the first', group: 'Where one is' },
  { keys: 'End', name: 'In the messages: to the newest', group: 'Where one is' },
];

/** Commands that have all of the words of a query, those that begin with them first. */
export function matching(commands: readonly Command[], query: string): Command[] {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return [];
  const scored = commands.flatMap((command) => {
    const name = command.name.toLowerCase();
    const all = `${name} ${command.also ?? ''}`;
    const begins = (text: string, word: string): boolean => text.startsWith(word) || text.includes(` ${word}`);
    if (!words.every((word) => begins(all, word))) return [];
    return [{ command, score: words.filter((word) => begins(name, word)).length + (name.startsWith(words[0] ?? '') ? 1 : 0) }];
  });
  return scored.sort((one, other) => other.score - one.score).map(({ command }) => command);
}
