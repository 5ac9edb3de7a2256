/** A whole window with the scripted host, for tests. */
import { flushSync, mount, unmount } from 'svelte';

import { ScriptedBackend } from '../ipc/scripted/backend';
import type { item } from '../ipc/scripted/content';
import { AppState } from '../state/app.svelte';
import App from './App.svelte';

let close: (() => Promise<void>) | undefined;

/** Ends the window that was opened last. */
export async function closeWindow(): Promise<void> {
  await close?.();
  close = undefined;
}

/** Opens a window on a scene. */
export async function open(scene: string, prepare: (backend: ScriptedBackend) => void = () => undefined): Promise<{ app: AppState; backend: ScriptedBackend }> {
  const backend = new ScriptedBackend(scene);
  backend.pace = 0;
  prepare(backend);
  const app = new AppState(backend, await backend.bootstrap());
  const window = mount(App, { target: document.body, props: { app } });
  app.start();
  flushSync();
  close = async () => {
    app.stopFeed();
    await unmount(window);
  };
  return { app, backend };
}

export function all(testId: string): HTMLElement[] {
  return Array.from(document.querySelectorAll<HTMLElement>(`[data-testid="${testId}"]`));
}

export function one(testId: string): HTMLElement {
  const [found] = all(testId);
  if (found === undefined) throw new Error(`nothing is marked ${testId}`);
  return found;
}

export function press(key: string, on: EventTarget = window, more: KeyboardEventInit = {}): void {
  on.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }));
  flushSync();
}

export function type(text: string): void {
  const field = one('composer') as HTMLTextAreaElement;
  field.value = text;
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  flushSync();
}

/** A window on one session with these rows. */
export function opened(items: ReturnType<typeof item>[], more: (session: ReturnType<ScriptedBackend['add']>, backend: ScriptedBackend) => void = () => undefined): ReturnType<typeof open> {
  return open('first', (backend) => {
    const session = backend.add('A session', items, Date.now());
    backend.first = session.summary.id;
    more(session, backend);
  });
}

export function button(name: RegExp): HTMLButtonElement {
  const found = Array.from(document.querySelectorAll('button')).find(({ textContent }) => name.test(textContent));
  if (found === undefined) throw new Error(`no button is called ${String(name)}`);
  return found;
}

export function click(element: Element | null | undefined): void {
  if (!(element instanceof HTMLElement)) throw new Error('there is nothing to click');
  element.click();
  flushSync();
}
