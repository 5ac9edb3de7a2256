// @vitest-environment happy-dom
import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { item, text } from '../ipc/scripted/content';
import { all, button, click, closeWindow, one, opened, press, type } from './testing';

beforeEach(() => {
  localStorage.clear();
});

afterEach(closeWindow);

function eventually(check: () => void): Promise<void> {
  return vi.waitFor(() => {
    flushSync();
    check();
  }, 15_000);
}

const NOW = Date.now();

/** A window on an answer that is being written, and what was said behind it. */
function writing(...later: string[]): ReturnType<typeof opened> {
  const answer = item('assistant', [text('The first half')], NOW - 5_000, { isComplete: false });
  return opened([item('user', [text('Tell me')], NOW - 9_000), answer, ...later.map((said, at) => item('user', [text(said)], NOW + at))], ({ meta }) => {
    meta.activeGenerations = [{ messageId: answer.id, actorId: 'demo', startedAt: answer.createdAt, lastChunkAt: answer.createdAt, lastChunkSeq: 0 }];
  });
}

describe('a message while an answer is written', { timeout: 40_000 }, () => {
  it('waits for its end by Enter, and ends it by Ctrl+Enter, both said in words', async () => {
    const { app, backend } = await writing();
    // The answer goes on.
    const said = vi.spyOn(backend, 'sendMessage').mockResolvedValue('said');
    expect(one('send').textContent.trim()).toBe('Queue');
    expect(all('steer')).toHaveLength(0);
    type('And then?');
    expect(one('steer').textContent.trim()).toBe('Steer now');
    press('Enter', one('composer'));
    await eventually(() => expect(app.composer.text).toBe(''));
    expect(said).toHaveBeenLastCalledWith(app.current.id, 'And then?', expect.any(String), 'queue', []);
    type('Stop that');
    press('Enter', one('composer'), { ctrlKey: true });
    await eventually(() => expect(app.composer.text).toBe(''));
    expect(said).toHaveBeenLastCalledWith(app.current.id, 'Stop that', expect.any(String), 'steer', []);
  });

  it('is never steered where nothing is written', async () => {
    const { app, backend } = await opened([item('user', [text('Hi')], NOW)]);
    const said = vi.spyOn(backend, 'sendMessage');
    type('Again');
    press('Enter', one('composer'), { ctrlKey: true });
    await eventually(() => expect(app.composer.text).toBe(''));
    expect(said).toHaveBeenCalledExactlyOnceWith(app.current.id, 'Again', expect.any(String), 'queue', []);
    expect(one('send').getAttribute('aria-label')).toBe('Send');
  });

  it('is listed, and answered at once when one asks; Stop says what comes next', async () => {
    const { app, backend } = await writing('One more', 'And another');
    const stopped = vi.spyOn(backend, 'stopRun');
    expect(one('queue').textContent).toContain('2 messages wait for the answer to end');
    expect(all('answer-now')).toHaveLength(1);
    expect(one('stop').title).toContain('2 messages after it are answered next');
    click(one('answer-now'));
    expect(stopped).toHaveBeenCalledTimes(1);
    expect(app.shell.toast).toBe('Stopped. The 2 messages that waited are answered now.');
  });
});

describe('an answer that broke off', { timeout: 40_000 }, () => {
  const failed = { error: { message: 'The run was interrupted.', code: 'interrupted' } };

  it('goes on, is tried again, is given to another agent, and is reported without what was said', async () => {
    const { app, backend } = await opened([item('user', [text('A secret question')], NOW), item('assistant', [text('A secret half')], NOW, failed)], ({ meta }) => {
      meta.agents = [...meta.agents, { agentId: 'other', name: 'Other agent', endpoint: null, triggers: 'mentions', model: null }];
    });
    const said = vi.spyOn(backend, 'sendMessage');
    const again = vi.spyOn(backend, 'regenerate');
    click(one('go-on'));
    expect(said).toHaveBeenCalledExactlyOnceWith(app.current.id, 'Continue.');
    await closeWindow();

    const next = await opened([item('user', [text('A secret question')], NOW), item('assistant', [text('A secret half')], NOW, failed)], ({ meta }) => {
      meta.agents = [...meta.agents, { agentId: 'other', name: 'Other agent', endpoint: null, triggers: 'mentions', model: null }];
    });
    const report = vi.spyOn(next.app.shell, 'copy').mockResolvedValue();
    const asked = vi.spyOn(next.backend, 'sendMessage');
    click(one('mend').querySelector('[aria-haspopup="menu"]'));
    click(button(/Copy report/));
    const [[words] = ['']] = report.mock.calls;
    expect(words).toContain('Code: interrupted');
    expect(words).not.toContain('secret');
    click(one('mend').querySelector('[aria-haspopup="menu"]'));
    click(button(/Ask Other agent instead/));
    // A name of several words is called by its id.
    expect(asked).toHaveBeenCalledExactlyOnceWith(next.app.current.id, '@other A secret question');
    expect(again).not.toHaveBeenCalled();
  });

  it('was stopped, and offers the same; one without a word has nothing to go on from', async () => {
    const { app, backend } = await opened([item('user', [text('Tell me')], NOW), item('assistant', [text('Half')], NOW, { stopped: { by: 'ana', reason: 'steered' } })]);
    const again = vi.spyOn(backend, 'regenerate');
    expect(all('message').at(-1)?.parentElement?.textContent).toContain('Ended for a newer message by you');
    click(one('try-again'));
    expect(again).toHaveBeenCalledExactlyOnceWith(app.current.id, app.current.transcript?.rows[0]?.id);
    await closeWindow();
    await opened([item('user', [text('Tell me')], NOW), item('assistant', [], NOW, { error: { message: 'No key.', code: 'model-unauthorized' } })]);
    expect(all('go-on')).toHaveLength(0);
    expect(all('try-again')).toHaveLength(1);
  });

  it('stays when it was answered again: the new answer stands below it', async () => {
    const { app } = await opened([item('user', [text('Tell me')], NOW), item('assistant', [text('The first answer')], NOW, failed)]);
    click(one('try-again'));
    await eventually(() => expect(app.current.transcript?.rows.filter(({ meta }) => meta.role === 'assistant')).toHaveLength(2));
    expect(document.querySelector('[data-rows]')?.textContent).toContain('The first answer');
  });
});

describe('a copy of a session', { timeout: 40_000 }, () => {
  it('names its original, which names its copies', async () => {
    const { app, backend } = await opened([item('user', [text('Hi')], NOW)], (session, host) => {
      host.add('The copy', [], NOW, { parentId: session.summary.id });
    });
    const original = app.current.id;
    expect(one('forks').textContent).toContain('1 copy');
    click(one('fork-copy'));
    await eventually(() => expect(app.current.title).toBe('The copy'));
    await eventually(() => expect(one('forks').textContent).toContain('A copy of A session'));
    click(one('fork-parent'));
    await eventually(() => expect(app.current.id).toBe(original));
    expect(backend.sessions.size).toBeGreaterThan(1);
  });
});

describe('a file in a message', { timeout: 40_000 }, () => {
  it('is saved as it is, under its own name or one of its kind', async () => {
    const { app, backend } = await opened([
      item('assistant', [
        { type: 'file', url: 'data:text/plain;base64,Z3LDvMOfZQ==', mediaType: 'text/plain', filename: 'notes.txt' },
        { type: 'file', url: 'data:application/json,%7B%7D', mediaType: 'application/json', filename: null },
        { type: 'file', url: 'data:text/plain;base64,%%%', mediaType: 'text/plain', filename: 'bad.txt' },
      ], NOW),
    ]);
    const [first, second, third] = all('save-file');
    click(first);
    await eventually(() => expect(new TextDecoder().decode(backend.saved.get('notes.txt'))).toBe('grüße'));
    await eventually(() => expect(app.shell.toast ?? '').toContain('Downloads/notes.txt'));
    click(second);
    await eventually(() => expect(new TextDecoder().decode(backend.saved.get('file.json'))).toBe('{}'));
    click(third);
    await eventually(() => expect(app.shell.toast ?? '').toContain('damaged'));
    expect(backend.saved.size).toBe(2);
  });
});

describe('the whole conversation', { timeout: 40_000 }, () => {
  it('is copied from its first message on, also what is not here', async () => {
    const { app } = await opened(Array.from({ length: 150 }, (_, at) => item(at % 2 === 0 ? 'user' : 'assistant', [text(`word ${String(at)}`)], NOW + at)));
    const copied = vi.spyOn(app.shell, 'copy').mockResolvedValue();
    expect(app.current.transcript?.rows.length).toBeLessThan(150);
    await app.current.copyAll();
    const words = copied.mock.calls[0]?.[0] ?? '';
    expect(words.match(/word \d+/g)).toEqual(Array.from({ length: 150 }, (_, at) => `word ${String(at)}`));
    expect(words.startsWith('**You:**\n\nword 0\n\n**Demo agent:**\n\nword 1')).toBe(true);
  });
});
