// @vitest-environment happy-dom
import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { ScriptedBackend } from '../ipc/scripted/backend';
import type { Diff, ItemMeta, JsonValue, Part } from '../ipc/contract';
import { call, item, text } from '../ipc/scripted/content';
import { all, button, click, closeWindow, one, open, opened, press, type } from './testing';

beforeEach(() => {
  localStorage.clear();
});

afterEach(closeWindow);

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

  it('says what still runs when it is closed, and does what the person wants about it', async () => {
    const { backend } = await open('chat');
    backend.askToQuit({ running: 2, stops: false });
    flushSync();
    expect(one('quit-dialog').textContent).toContain('2 answers');
    expect(one('quit-dialog').textContent).toContain('go on without the window');
    click(one('quit-stop'));
    expect(backend.quitAnswers).toEqual(['stop']);
    expect(all('quit-dialog')).toHaveLength(0);
    backend.askToQuit({ running: 1, stops: true });
    flushSync();
    expect(one('quit-dialog').textContent).toContain('stops what they do');
    expect(all('quit-stop')).toHaveLength(0);
    click(one('quit-confirm'));
    expect(backend.quitAnswers).toEqual(['stop', 'quit']);
  });

  it('keeps quiet about a session that is muted from its menu, until it is to notify again', async () => {
    const { app } = await open('chat');
    const id = app.current.id ?? '';
    const choose = async (label: string): Promise<void> => {
      const row = all('session-row').find((row) => row.dataset['sessionId'] === id || row.getAttribute('aria-current') === 'true');
      row?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true, clientX: 5, clientY: 5 }));
      flushSync();
      click(button(new RegExp(label)));
      await vi.waitFor(() => expect(app.settings.isMuted(id)).toBe(label === 'Do not notify'));
    };
    await choose('Do not notify');
    await choose('Notify again');
    expect(app.settings.value.mutedSessions).toEqual([]);
  });

  it('shows what an agent shares, as it is now, once it is asked for', async () => {
    let share: (state: JsonValue) => void = () => undefined;
    const { app } = await opened([item('user', [text('Plan my trip')], 1)], (session, backend) => {
      share = (state) => {
        backend.share(session, 'demo', state);
      };
      share({ city: 'Zürich', steps: ['look'] });
    });
    expect(all('inspector')).toHaveLength(0);
    press('i', window, { ctrlKey: true });
    await vi.waitFor(() => expect(one('shared-state').textContent).toContain('Zürich'));
    expect(one('inspector').textContent).toContain('Demo agent');
    share({ city: 'Bern', steps: ['look', 'book'] });
    await vi.waitFor(() => expect(one('shared-state').textContent).toContain('Bern'));
    expect(one('shared-state').textContent).not.toContain('Zürich');
    press('i', window, { ctrlKey: true });
    expect(all('inspector')).toHaveLength(0);
    expect(app.shell.inspectorOpen).toBe(false);
  });

  it('keeps what is drawn of an answer when it ends, and when its session is read again', async () => {
    const { app } = await opened([item('assistant', [text('A first paragraph.')], Date.now(), { isComplete: false })]);
    const paragraph = one('message').querySelector('.md p');
    expect(paragraph?.textContent).toBe('A first paragraph.');
    const { transcript } = app.current;
    const answer = transcript?.rows[0];
    const { id, meta } = answer ?? {};
    expect(transcript?.apply({ op: 'meta', index: 0, id: id ?? '', item: { ...(meta as ItemMeta), isComplete: true } })).toBe(true);
    flushSync();
    const again = item('assistant', [text('A first paragraph.')], Date.now());
    expect(transcript?.apply({ op: 'reset', sessionId: transcript.sessionId, items: [{ ...again, id: id ?? '' }], hasMoreBefore: false } as Diff)).toBe(true);
    flushSync();
    expect(one('message').querySelector('.md p')).toBe(paragraph);
  });

  it('lists sessions with their state and marks the open one', async () => {
    const { app } = await open('approval');
    const row = all('session-row').find((found) => found.dataset['sessionId'] === app.current.id);
    expect(row?.getAttribute('aria-current')).toBe('true');
    expect(row?.dataset['state']).toBe('approval');
    expect(all('needs-you')).toHaveLength(2);
  });

  it('draws a subagent’s work as a group of its own, with cards and what was said meanwhile', async () => {
    const subagent = 's1';
    await opened([
      item('assistant', [
        text('I ask somebody.'),
        {
          type: 'subagent',
          id: subagent,
          name: 'reader',
          description: 'Reads files',
          parent: null,
          toolCallId: null,
          state: 'done',
          result: null,
          error: null,
        },
        { type: 'text', text: 'What it read', subagent },
        { type: 'activity', id: 'p', kind: 'SEARCH_RESULTS', content: { hits: ['one', 'two'], query: 'q' } },
        { type: 'steering-message', id: 'st', text: 'In French, please', files: [] },
        text('Here it is.'),
      ], Date.now()),
    ]);
    const row = one('message');
    expect(row.textContent).not.toContain('What it read');
    click(one('subagent').querySelector('button'));
    const group = one('subagent').textContent;
    expect(group).toContain('Reads files');
    expect(group).toContain('What it read');
    expect(group).not.toContain('Here it is.');
    expect(one('activity-card').textContent).toContain('Search results');
    expect(one('activity-card').querySelectorAll('li')).toHaveLength(2);
    expect(one('steering').textContent).toContain('In French, please');
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

describe('payloads', () => {
  it('come into the page in parts, and say how much there is', async () => {
    const content = 'x'.repeat(1_000_004);
    await opened([item('assistant', [call('write_file', { path: 'a.txt', content }, { state: 'done', output: content })], Date.now())]);
    const card = one('tool-card');
    expect(card.textContent.length).toBeLessThan(500);
    click(card.querySelector('button'));
    expect(one('tool-card').textContent.length).toBeLessThan(12_000);
    expect(one('tool-card').textContent).toContain('4,000 of 1,000,004 characters');
    click(all('show-more')[0]);
    expect(one('tool-card').textContent).toContain('24,000 of 1,000,004 characters');
  });

  it('of ten thousand fields come in parts too', async () => {
    const input = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`field${String(at)}`, at]));
    await opened([item('assistant', [call('many', input, { state: 'done' })], Date.now())]);
    click(one('tool-card').querySelector('button'));
    expect(one('tool-card').querySelectorAll('dd').length).toBeLessThan(100);
    expect(one('tool-card').textContent).toContain('40 of 10,000 arguments');
  });

  it('of a person are drawn as far as they are seen', async () => {
    await opened([item('user', [text('word '.repeat(100_000))], Date.now())]);
    expect(one('message').textContent.length).toBeLessThan(3_000);
    click(button(/Show all/));
    expect(one('message').textContent.length).toBeLessThan(20_000);
    expect(one('message').textContent).toContain('of 500,000 characters');
  });
});

describe('people', () => {
  const rows = (): ReturnType<typeof item>[] => [
    item('user', [text('From me')], Date.now(), { actorId: 'me', delivery: { state: 'sent', entryId: 'e', reason: null } }),
    item('user', [text('From Bo')], Date.now(), { actorId: 'bo' }),
    item('user', [text('From one without a name')], Date.now(), { actorId: '0f3c9a5e-7d1b-4c2a-9e8f-00112233abcd' }),
  ];

  async function shared(): ReturnType<typeof open> {
    return opened(rows(), ({ meta }) => {
      const person = meta.presence[0];
      if (person === undefined) throw new Error('the session has a person');
      // Everybody calls himself by the word.
      meta.presence = [
        { ...person, actorId: 'me', name: 'You' },
        { ...person, actorId: 'bo', name: 'Bo Lind' },
        { ...person, actorId: '0f3c9a5e-7d1b-4c2a-9e8f-00112233abcd', name: 'You' },
      ];
    });
  }

  it('are told apart by who they are, never by the word in the log', async () => {
    await shared();
    const labels = all('message').map((row) => row.getAttribute('aria-label')?.split(',')[0]);
    expect(labels).toEqual(['You', 'Bo Lind', 'Person abcd']);
    const authors = all('author').map(({ textContent }) => textContent);
    expect(authors).toHaveLength(2);
    expect(authors[0]).toContain('BL');
    expect(authors[0]).toContain('Bo Lind');
    expect(document.querySelectorAll('.bubble.own')).toHaveLength(1);
    expect(document.querySelectorAll('.bubble.other')).toHaveLength(2);
  });

  it('are this person where they have this person’s id, and nowhere else', async () => {
    const { app } = await opened([item('user', [text('From me')], Date.now()), item('user', [text('From a namesake')], Date.now(), { actorId: 'ana2' })]);
    expect(all('message').map((row) => row.getAttribute('aria-label')?.split(',')[0])).toEqual(['You', 'ana2']);
    expect(app.current.personName('ana')).toBe('You');
    expect(app.current.personName(null)).toBe('Somebody');
  });
});

describe('a message that is not delivered', () => {
  it('can be changed, and is sent as it is then', async () => {
    const { backend } = await open('errors');
    const edited = vi.spyOn(backend, 'editEntry');
    click(document.querySelector('[data-delivery="wedged"] [data-testid="edit"]'));
    const field = document.querySelector<HTMLTextAreaElement>('.changing textarea');
    if (field === null) throw new Error('it can be changed');
    field.value = 'Shorter';
    field.dispatchEvent(new Event('input', { bubbles: true }));
    flushSync();
    press('Enter', field);
    expect(edited).toHaveBeenCalledWith(expect.any(String), 'Shorter');
    await vi.waitFor(() => {
      flushSync();
      expect(document.querySelector('.changing')).toBeNull();
      expect(all('message').some((row) => row.textContent.includes('Shorter'))).toBe(true);
    });
  });
});

describe('a question with a form', () => {
  it('is answered by its fields, in the types that were asked for, or declined', async () => {
    const responseSchema = { type: 'object', required: ['name'], properties: { name: { type: 'string' }, age: { type: 'integer' } } };
    const question: Part = {
      type: 'question',
      reason: 'input_required',
      message: 'Who are you?',
      responseSchema,
      expiresAt: null,
      approval: { id: 'q', approved: null, respondedBy: null },
    };
    const { app, backend } = await opened([item('assistant', [question], 1, { isComplete: true })]);
    const answered = vi.spyOn(backend, 'respondApproval').mockResolvedValue();
    const [name, age] = Array.from(one('question-form').querySelectorAll('input'));
    const fill = (field: HTMLInputElement | undefined, value: string): void => {
      if (field === undefined) throw new Error('it is asked');
      field.value = value;
      field.dispatchEvent(new Event('input', { bubbles: true }));
      flushSync();
    };
    click(one('confirm'));
    flushSync();
    expect(one('question-form').textContent).toContain('name is missing.');
    expect(answered).not.toHaveBeenCalled();
    fill(name, 'Ada');
    fill(age, '36');
    // The session is read again: what was filled in stays.
    const messageId = app.current.transcript?.rows[0]?.id;
    const again = { ...item('assistant', [structuredClone(question)], 1, { isComplete: true }), id: messageId ?? '' };
    expect(app.current.transcript?.apply({ op: 'set', index: 0, item: again })).toBe(true);
    flushSync();
    click(one('confirm'));
    expect(answered).toHaveBeenCalledWith(app.current.id, { messageId, approvalId: 'q' }, true, { name: 'Ada', age: 36 }, undefined);
  });
});

describe('a fork', () => {
  it('has what was said up to the message it is made at, and is shown', async () => {
    const { app } = await opened([item('user', [text('One')], 1), item('assistant', [text('Two')], 2), item('user', [text('Three')], 3)]);
    const from = app.current.id;
    click(all('fork')[1]);
    await vi.waitFor(() => {
      flushSync();
      expect(app.current.id).not.toBe(from);
      expect(all('message').map((row) => row.querySelector('[data-part="text"]')?.textContent.trim())).toEqual(['One', 'Two']);
    });
  });
});

describe('the settings', () => {
  it('say how much of the disk the sessions take, and which take most', async () => {
    const { app } = await open('chat');
    app.openSettings();
    await vi.waitFor(() => {
      flushSync();
      expect(one('settings-disk').textContent).toMatch(/\d+ sessions take [\d.,]+ (KB|MB)/);
    });
    expect(one('settings-disk').querySelectorAll('li').length).toBeGreaterThan(1);
  });
});

describe('a failed run', () => {
  const failed = (): ReturnType<typeof item>[] => [
    item('user', [text('Summarise it')], Date.now()),
    item('assistant', [], Date.now(), { error: { message: 'The key was refused.', code: 'model_http_401' }, finishReason: 'error' }),
  ];

  it('offers to try again, and the settings where they may help', async () => {
    const { app, backend } = await opened(failed());
    const asked = vi.spyOn(backend, 'regenerate');
    click(one('mend-settings'));
    expect(app.shell.view).toBe('settings');
    app.leaveView();
    flushSync();
    click(one('try-again'));
    expect(asked).toHaveBeenCalledWith(app.current.id, app.current.transcript?.rows[0]?.id);
    await vi.waitFor(() => {
      flushSync();
      expect(all('message')).toHaveLength(3);
    }, 4_000);
    expect(all('try-again')).toHaveLength(0);
  });

  it('is heard as failed', async () => {
    const { app } = await opened(failed());
    const { meta } = app.current;
    if (meta === null) throw new Error('the session is open');
    const running = { messageId: 'm', actorId: 'demo', startedAt: null, lastChunkAt: null, lastChunkSeq: 0 };
    app.current.takeMeta({ ...meta, activeGenerations: [running] });
    app.current.takeMeta({ ...meta, activeGenerations: [] });
    flushSync();
    expect(one('announcer').textContent).not.toContain('complete');
    expect(one('failures').textContent).toContain('Demo agent failed: The key was refused.');
    expect(one('failures').getAttribute('role')).toBe('alert');
  });
});

describe('an agent that is not set up', () => {
  it('is sent nothing, and says why; the text stays', async () => {
    const { app, backend } = await open('first');
    const created = vi.spyOn(backend, 'createSession');
    click(one('agent-webhook'));
    type('hello?');
    expect((one('send') as HTMLButtonElement).disabled).toBe(true);
    expect(one('unsendable').textContent).toContain('No webhook URL is set yet.');
    press('Enter', one('composer'));
    expect(created).not.toHaveBeenCalled();
    expect(app.composer.text).toBe('hello?');
    click(one('agent-demo'));
    expect((one('send') as HTMLButtonElement).disabled).toBe(false);
  });
});

describe('checking the model', () => {
  it('keeps nothing of what was typed', async () => {
    const { app, backend } = await open('chat');
    const before = { ...backend.settings };
    const asked: string[] = [];
    backend.checkModel = () => {
      asked.push(`${backend.settings.modelName} ${String(backend.settings.hasModelKey)}`);
      return Promise.resolve({ ok: true, message: 'It answered.' });
    };
    app.openSettings();
    await vi.waitFor(() => {
      flushSync();
      one('settings');
    }, 10_000);
    const fill = (testId: string, value: string): void => {
      const field = one(testId) as HTMLInputElement;
      field.value = value;
      field.dispatchEvent(new InputEvent('input', { bubbles: true }));
    };
    fill('settings-model-url', 'http://localhost/v1');
    fill('settings-model-name', 'llama');
    fill('settings-model-key', 'secret');
    flushSync();
    expect(Array.from(document.querySelectorAll('button')).some(({ textContent }) => /^Store/.test(textContent.trim()))).toBe(false);
    click(one('settings-check-model'));
    await vi.waitFor(() => {
      flushSync();
      expect(one('settings').textContent).toContain('It answered.');
    });
    expect(asked).toEqual(['llama true']);
    click(button(/Cancel/));
    expect(backend.settings).toEqual(before);
  });

  it('never loses a key that is stored', async () => {
    const { app, backend } = await open('chat');
    await app.settings.saveModelKey('old');
    const keys = vi.spyOn(backend, 'setModelKey');
    expect((await app.settings.check({ modelBaseUrl: 'http://localhost/v1', modelName: 'llama' }, 'new')).ok).toBe(false);
    expect(keys).not.toHaveBeenCalled();
  });
});

describe('approvals that wait', () => {
  const NOW = Date.now();

  function waiting(backend: ScriptedBackend, count: number): void {
    for (let at = 0; at < count; at += 1) {
      const part = call('delete_file', { path: `${String(at)}.md` }, { state: 'waiting', approval: { id: `a${String(at)}`, approved: null, respondedBy: null } });
      backend.add(`Waits ${String(at)}`, [item('assistant', [part], NOW, { isComplete: false })], NOW);
    }
  }

  it('stand beside the list: three, and how many more', async () => {
    await open('chat', (backend) => {
      waiting(backend, 21);
    });
    expect(all('needs-you')).toHaveLength(3);
    expect(one('session-list').contains(one('more-needs'))).toBe(false);
    expect(one('more-needs').textContent).toContain('18 more');
    click(one('more-needs'));
    expect(all('needs-you')).toHaveLength(21);
  });

  it('do not come in while the pointer is on the list', async () => {
    const { app, backend } = await open('chat');
    one('session-list').dispatchEvent(new PointerEvent('pointerenter'));
    flushSync();
    const order = all('session-row').map((row) => row.dataset['sessionId']);
    waiting(backend, 2);
    const id = app.sessions.list[3]?.id ?? '';
    await backend.renameSession(id, 'Renamed');
    await vi.waitFor(() => {
      flushSync();
      expect(app.sessions.list.some(({ title }) => title === 'Waits 0')).toBe(true);
    });
    app.sessions.takeApprovals([...backend.sessions.values()].flatMap(({ summary, meta }) => meta.pendingApprovals.map((approval) => ({ sessionId: summary.id, sessionTitle: summary.title, approval }))));
    flushSync();
    expect(all('needs-you')).toHaveLength(0);
    expect(all('session-row').map((row) => row.dataset['sessionId']).slice(0, order.length)).toEqual(order);
    one('session-list').dispatchEvent(new PointerEvent('pointerleave'));
    flushSync();
    expect(all('needs-you')).toHaveLength(2);
  });

  it('leave the log at its end once the last one is answered', async () => {
    const { app } = await open('approval');
    const before = app.current.acts;
    press('a', one('approval-card'));
    expect(app.current.acts).toBe(before + 1);
  });
});

describe('who comes for something', () => {
  it('is taken there, not to where he was before', async () => {
    const items = Array.from({ length: 200 }, (_, at) => item('user', [text(`Message ${String(at)}`)], Date.now()));
    const part = call('delete_file', { path: 'a.md' }, { state: 'waiting', approval: { id: 'asks', approved: null, respondedBy: null } });
    const asking = item('assistant', [part], Date.now(), { isComplete: false });
    const { app, backend } = await open('chat', (host) => {
      host.add('Asks', [...items, asking], Date.now());
    });
    const id = app.sessions.list.find(({ title }) => title === 'Asks')?.id ?? '';
    localStorage.setItem(`threadkeep.place.${id}`, JSON.stringify({ id: items[20]?.id, offset: 0 }));
    const shown = vi.spyOn(backend, 'showSession');
    click(all('needs-you')[0]);
    await vi.waitFor(() => {
      flushSync();
      expect(document.activeElement?.getAttribute('data-approval-id')).toBe('asks');
    });
    expect(shown.mock.calls).toEqual([[id, asking.id]]);
  });

  it('finds his place where he comes for nothing', async () => {
    const items = Array.from({ length: 200 }, (_, at) => item('user', [text(`Message ${String(at)}`)], Date.now()));
    const { app, backend } = await open('chat', (host) => {
      host.add('Read', items, Date.now());
    });
    const id = app.sessions.list.find(({ title }) => title === 'Read')?.id ?? '';
    localStorage.setItem(`threadkeep.place.${id}`, JSON.stringify({ id: items[20]?.id, offset: 0 }));
    const shown = vi.spyOn(backend, 'showSession');
    await app.open(id);
    await vi.waitFor(() => {
      flushSync();
      expect(shown).toHaveBeenCalledWith(id, items[20]?.id);
      expect(app.current.transcript?.rows.some((row) => row.id === items[20]?.id)).toBe(true);
    });
  });
});

describe('the list of sessions', () => {
  it('costs what is on screen', async () => {
    await open('many');
    expect(all('session-row').length).toBeGreaterThan(10);
    expect(all('session-row').length).toBeLessThan(60);
  });

  it('is one stop for Tab, and arrows go through it', async () => {
    await open('chat');
    const rows = all('session-row');
    expect(rows.filter((row) => row.tabIndex === 0)).toHaveLength(1);
    rows[0]?.focus();
    press('ArrowDown', rows[0]);
    await vi.waitFor(() => {
      expect(document.activeElement).toBe(all('session-row')[1]);
    });
  });
});

describe('search', () => {
  it('finds titles, and its list holds options and groups only', async () => {
    const { app } = await open('chat');
    app.shell.dialog = 'search';
    flushSync();
    const field = one('search') as HTMLInputElement;
    field.value = 'split';
    field.dispatchEvent(new InputEvent('input', { bubbles: true }));
    await vi.waitFor(() => {
      flushSync();
      expect(all('search-hit').length).toBeGreaterThan(0);
    });
    expect(all('search-title').map(({ textContent }) => textContent.trim())).toEqual(['Trip to Split in May']);
    const roles = Array.from(document.querySelectorAll('[role="listbox"] > *, [role="listbox"] [role="group"] > *')).map((one) => one.getAttribute('role'));
    expect(new Set(roles)).toEqual(new Set(['group', 'option', 'presentation']));
    press('Enter', field);
    expect(app.current.title).toBe('Trip to Split in May');
  });
});

describe('the conversation', () => {
  it('is what Ctrl+A selects in the log, and is copied whole', async () => {
    const { app } = await open('many');
    press('a', document.querySelector('[role="log"]') ?? window, { ctrlKey: true });
    const rows = document.querySelector('[data-rows]');
    expect(document.getSelection()?.anchorNode).toBe(rows);
    const markdown = app.current.conversation();
    // Also what is loaded and not drawn.
    expect(markdown.match(/^\*\*(You|Demo agent):\*\*$/gm)).toHaveLength(app.current.transcript?.rows.length ?? 0);
    expect(markdown).toContain('Question 1500');
  });

  it('leaves Ctrl+A to the field one writes in', async () => {
    await open('chat');
    const event = new KeyboardEvent('keydown', { key: 'a', ctrlKey: true, bubbles: true, cancelable: true });
    one('composer').dispatchEvent(event);
    expect(event.defaultPrevented).toBe(false);
  });
});

describe('text from right to left', () => {
  it('has its own direction in every block, list, table, field and title', async () => {
    await opened([
      item('user', [text('שלום')], Date.now()),
      item('assistant', [text('# שלום\n\nשלום עולם.\n\n- אחד\n- שתיים\n\n> ציטוט\n\n| א | ב |\n| --- | --- |\n| ג | ד |\n\n- one\n\n```\ncode\n```\n')], Date.now()),
    ]);
    const message = all('message')[1];
    for (const name of ['p', 'li', 'th', 'td', '.md-heading']) {
      for (const block of Array.from(message?.querySelectorAll<HTMLElement>(`.md ${name}`) ?? [])) expect(block.dir, name).toBe('auto');
    }
    const lists = Array.from(message?.querySelectorAll<HTMLElement>('.md ul') ?? []).map(({ dir }) => dir);
    expect(lists).toEqual(['rtl', 'ltr']);
    expect(message?.querySelector<HTMLElement>('.md-table')?.dir).toBe('rtl');
    expect(message?.querySelector<HTMLElement>('blockquote')?.dir).toBe('rtl');
    expect(message?.querySelector<HTMLElement>('.md-code')?.dir).toBe('ltr');
    expect(all('message')[0]?.querySelector<HTMLElement>('[data-part="text"]')?.dir).toBe('auto');
    expect(one('composer').dir).toBe('auto');
    expect(document.querySelector<HTMLElement>('h1 button')?.dir).toBe('auto');
  });
});
