import type { MenuItem } from '../components/PopupMenu.svelte';
import type { AppState } from '../state/app.svelte';
import type { Row } from '../state/row.svelte';

/** Whether a copy of the session can be made at a message: its server makes it, of what it has. */
export function isForkable(app: AppState, row: Row): boolean {
  return row.meta.delivery === null && app.current.meta?.readOnly !== true && !app.current.gone;
}

/** What was said in a row, as it was written. */
export function saidIn(row: Row): string {
  return row.parts.flatMap(({ value }) => (value.type === 'text' && value.subagent === undefined ? [value.text] : [])).join('\n\n');
}

/** What can be done with a message. */
export function rowMenu(app: AppState, row: Row): MenuItem[] {
  const { current, composer, shell } = app;
  const { role, isComplete } = row.meta;
  const said = saidIn(row);
  const noun = role === 'user' ? 'message' : 'answer';
  const writable = current.meta?.readOnly !== true && !current.gone;
  const items: MenuItem[] = [];
  if (said !== '') items.push({ label: `Copy ${noun}`, run: () => void shell.copy(said, `${role === 'user' ? 'Message' : 'Answer'} copied`) });
  items.push({ label: 'Copy with question, as Markdown', run: () => void shell.copy(current.turn(row), 'Copied as Markdown') });
  items.push({ label: 'Copy conversation', run: () => void current.copyAll() });
  if (said !== '' && writable) items.push({ label: 'Quote in the message', run: () => composer.quote(said) });
  if (role === 'user' && current.isOwn(row) && said !== '' && writable) items.push({ label: 'Write it again…', run: () => composer.again(said) });
  if (role === 'assistant' && isComplete && writable && current.questionOf(row) !== null) {
    items.push({ label: 'Answer again', run: () => current.answerAgain(row) });
  }
  if (isForkable(app, row)) items.push({ label: 'Fork from here', run: () => void app.fork(row.id) });
  return items;
}
