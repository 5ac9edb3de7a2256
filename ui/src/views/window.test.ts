// @vitest-environment happy-dom
import { flushSync, mount, unmount } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ScriptedBackend } from '../ipc/scripted/backend';
import { AppState } from '../state/app.svelte';
import App from './App.svelte';

let close: (() => Promise<void>) | undefined;

async function open(scene: string): Promise<{ app: AppState; backend: ScriptedBackend }> {
  const backend = new ScriptedBackend(scene);
  backend.pace = 0;
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

function all(testId: string): HTMLElement[] {
  return Array.from(document.querySelectorAll<HTMLElement>(`[data-testid="${testId}"]`));
}

function one(testId: string): HTMLElement {
  const [found] = all(testId);
  if (found === undefined) throw new Error(`nothing is marked ${testId}`);
  return found;
}

function press(key: string, on: EventTarget = window, more: KeyboardEventInit = {}): void {
  on.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }));
  flushSync();
}

function type(text: string): void {
  const field = one('composer') as HTMLTextAreaElement;
  field.value = text;
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  flushSync();
}

beforeEach(() => {
  localStorage.clear();
});

afterEach(async () => {
  await close?.();
  close = undefined;
});

describe('the window', () => {
  it('draws the open session’s rows in the first flush, before anything is awaited', async () => {
    const { app } = await open('chat');
    const rows = all('message');
    // As many as are near the end of a view without height.
    const last = app.current.transcript?.rows.slice(-rows.length);
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.map((row) => row.dataset['messageId'])).toEqual(last?.map(({ id }) => id));
    expect(rows.map((row) => row.dataset['role'])).toEqual(last?.map(({ meta }) => meta.role));
    expect(rows.at(-1)?.dataset['complete']).toBe('true');
    expect(rows.map((row) => row.textContent).join()).toContain('What the log says');
    expect(one('connection').dataset['state']).toBe('live');
  });

  it('lists sessions with their state and marks the open one', async () => {
    const { app } = await open('approval');
    const row = all('session-row').find((found) => found.dataset['sessionId'] === app.current.id);
    expect(row?.getAttribute('aria-current')).toBe('true');
    expect(row?.dataset['state']).toBe('approval');
    expect(all('needs-you')).toHaveLength(2);
  });

  it('sends by Enter, not by Shift+Enter and not while letters are composed', async () => {
    const { app } = await open('first');
    type('hello');
    const field = one('composer');
    press('Enter', field, { shiftKey: true });
    press('Enter', field, { isComposing: true });
    expect(app.composer.sending).toBe(false);
    press('Enter', field);
    await vi.waitFor(() => {
      flushSync();
      expect(all('message')).toHaveLength(2);
    }, 4_000);
    expect((one('composer') as HTMLTextAreaElement).value).toBe('');
  });

  it('asks with the exact payload and takes the answer by key', async () => {
    const { app } = await open('approval');
    const card = one('approval-card');
    expect(card.textContent).toContain('notes/old-draft.md');
    expect(card.contains(document.activeElement)).toBe(false);
    press('a', one('composer'));
    expect(one('approval-card').dataset['status']).toBe('pending');
    press('d', card);
    expect(one('approval-card').dataset['status']).toBe('deciding');
    await vi.waitFor(() => {
      flushSync();
      expect(one('approval-card').dataset['status']).toBe('denied');
    }, 4_000);
    expect(one('approval-card').textContent).toContain('Denied by you');
    expect(app.sessions.needsYou.some(({ sessionId }) => sessionId === app.current.id)).toBe(false);
  });

  it('says that it is offline, since when, and what will be sent', async () => {
    await open('offline');
    const line = one('connection');
    expect(line.dataset['state']).toBe('offline');
    expect(line.textContent).toMatch(/Offline — as of .+ · 2 messages will be sent/);
    expect(one('composer').getAttribute('placeholder')).toBe('Offline: will send when connected');
  });

  it('names why a message was refused, and lets it go when asked', async () => {
    const { app } = await open('errors');
    const refused = document.querySelector<HTMLElement>('[data-delivery="wedged"]');
    expect(refused?.textContent).toContain('The server says the message is too large');
    const before = app.current.transcript?.rows.length ?? 0;
    Array.from(refused?.querySelectorAll('button') ?? []).find((button) => button.textContent === 'Discard')?.click();
    await vi.waitFor(() => {
      expect(app.current.transcript?.rows).toHaveLength(before - 1);
    });
  });

  it('shows notices with one action each', async () => {
    await open('notices');
    const notices = all('notice');
    expect(notices).toHaveLength(2);
    notices[1]?.querySelector<HTMLButtonElement>('[aria-label="Dismiss"]')?.click();
    flushSync();
    expect(all('notice')).toHaveLength(1);
  });

  it('is driven by keys', async () => {
    const { app } = await open('chat');
    press('b', window, { ctrlKey: true });
    expect(document.querySelector('nav')).toBeNull();
    press('b', window, { ctrlKey: true });
    press('n', window, { ctrlKey: true });
    expect(app.current.id).toBeNull();
    expect(document.querySelector('h1')?.textContent).toBe('New session');
  });

  it('keeps drawing when one row cannot be drawn', async () => {
    const errors = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const { app } = await open('chat');
    const row = app.current.transcript?.rows[1];
    if (row === undefined) throw new Error('the scene has rows');
    // What no version of the host should send: a call without its fields.
    row.parts[0]?.set({ type: 'tool-call', state: 'done' } as never);
    flushSync();
    expect(document.body.textContent).toContain('This message could not be drawn.');
    expect(all('message').length).toBeGreaterThan(3);
    errors.mockRestore();
  });
});
