// @vitest-environment happy-dom
import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { call, item, text } from '../ipc/scripted/content';
import { all, button, click, closeWindow, one, open, opened, press, type } from './testing';

beforeEach(() => {
  localStorage.clear();
});

afterEach(closeWindow);

/** Waits until what `check` expects is so. */
function eventually(check: () => void): Promise<void> {
  return vi.waitFor(() => {
    flushSync();
    check();
  }, 15_000);
}

function fill(field: HTMLElement, value: string): void {
  (field as HTMLInputElement).value = value;
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  flushSync();
}

/** Presses a key where the focus is, as a person does. */
function pressHere(key: string, more: KeyboardEventInit = {}): void {
  press(key, document.activeElement ?? window, more);
}

describe('the approvals that wait', { timeout: 40_000 }, () => {
  it('are worked through by keyboard alone, each decided once in its own session', async () => {
    const { app, backend } = await open('work');
    const decided = vi.spyOn(backend, 'respondApproval');
    const asked = app.sessions.needsYou.length;
    expect(asked).toBe(22);
    press('a', window, { ctrlKey: true, shiftKey: true });
    await eventually(() => expect(all('inbox-row')).toHaveLength(asked));
    await eventually(() => expect(document.activeElement?.getAttribute('data-testid')).toBe('inbox-row'));
    for (let left = asked; left > 0; left -= 1) {
      pressHere(left % 2 === 0 ? 'a' : 'd');
      await eventually(() => {
        expect(app.sessions.needsYou).toHaveLength(left - 1);
        if (left > 1) expect(document.activeElement?.getAttribute('data-testid')).toBe('inbox-row');
      });
    }
    expect(decided).toHaveBeenCalledTimes(asked);
    const keys = decided.mock.calls.map(([sessionId, { messageId, approvalId }]) => `${sessionId} ${messageId} ${approvalId}`);
    expect(new Set(keys).size).toBe(asked);
    expect(decided.mock.calls.filter(([, , approved]) => approved)).toHaveLength(asked / 2);
    expect(one('inbox-empty').textContent).toContain('Nothing waits for you');
  });

  it('stand with the one that waits longest first, and what happened before it', async () => {
    const { app } = await open('work');
    const came = app.current.id;
    app.openInbox();
    await eventually(() => expect(one('inbox-preview').textContent).toContain('What happened before'));
    expect(one('inbox-preview').textContent).toContain('Tidy up');
    expect(all('inbox-row')[0]?.textContent).toContain('notes/0.md');
    pressHere('j');
    pressHere('k');
    pressHere('k');
    expect(all('inbox-row')[0]?.getAttribute('aria-selected')).toBe('true');
    press('Escape');
    await eventually(() => expect(app.current.id).toBe(came));
    expect(app.shell.view).toBe('session');
  });

  it('are approved together where they only read, and never where they cannot be undone', async () => {
    const { app, backend } = await open('work');
    const decided = vi.spyOn(backend, 'respondApproval');
    app.openInbox();
    await eventually(() => expect(one('approve-reads').textContent).toContain('8 reads'));
    click(one('approve-reads'));
    await eventually(() => expect(app.sessions.needsYou).toHaveLength(14));
    expect(decided).toHaveBeenCalledTimes(8);
    // All that is left is selected; those that delete stay.
    for (const row of all('inbox-row')) {
      click(row);
      press('x');
    }
    await eventually(() => expect(one('approve-selected').textContent).toContain('14'));
    pressHere('a');
    await eventually(() => expect(app.sessions.needsYou.map(({ approval }) => approval.toolName)).toEqual(Array(6).fill('delete_file')));
  });

  it('that were refused stay, and say why', async () => {
    const { app, backend } = await open('work');
    backend.respondApproval = () => Promise.reject(new Error('The token may not decide.'));
    app.openInbox();
    await eventually(() => expect(all('inbox-row').length).toBe(22));
    pressHere('a');
    await eventually(() => expect(one('inbox').textContent).toContain('The token may not decide.'));
    expect(app.sessions.needsYou).toHaveLength(22);
  });

  it('open in their session by Enter', async () => {
    const { app } = await open('work');
    app.openInbox();
    await eventually(() => expect(document.activeElement?.getAttribute('data-testid')).toBe('inbox-row'));
    const id = document.activeElement?.getAttribute('data-approval-id');
    pressHere('Enter');
    await eventually(() => expect(document.activeElement?.getAttribute('data-approval-id')).toBe(id));
    expect(app.shell.view).toBe('session');
  });

  it('show a change as one, mask secrets until one asks, and say what they seem to do', async () => {
    await open('work');
    const cards = all('approval-card');
    const edit = cards.find((card) => card.querySelector('[data-testid="diff"]') !== null);
    expect(Array.from(edit?.querySelectorAll('.line.added .text') ?? [], (line) => line.textContent)).toEqual(['const last = 12;', 'export const step = 2;']);
    const request = cards.find((card) => card.textContent.includes('http_request'));
    expect(request?.textContent).not.toContain('abcdefghijklmnopqrstuvwxyz');
    expect(request?.textContent).toContain('The agent says: I need it');
    expect(request?.querySelector('[data-risk]')?.getAttribute('data-risk')).toBe('network');
    for (const shown of Array.from(request?.querySelectorAll('.unmask') ?? [])) click(shown);
    expect(request?.textContent).toContain('ghp_abcdefghijklmnopqrstuvwxyz012345');
    expect(one('stack').textContent).toContain('4 requests wait in this answer');
    expect(one('approve-reads-here').textContent).toContain('2 reads');
  });
});

describe('the inspector', () => {
  it('lists tools and files of the messages that are here, and goes to where they were', async () => {
    const { app } = await open('work');
    app.shell.toggleInspector();
    await eventually(() => expect(all('tools-used')).toHaveLength(1));
    expect(one('tools-used').textContent).toMatch(/read_file\s*4 calls/);
    expect(one('tools-used').textContent).toMatch(/grep\s*1 call, 1 failed/);
    expect(one('files-used').textContent).toContain('chart.png');
    const go = Array.from(one('tools-used').querySelectorAll('button')).find(({ textContent }) => textContent === 'grep');
    const goes = vi.spyOn(app.current, 'target', 'set');
    click(go);
    const message = app.current.transcript?.rows.find(({ parts }) => parts.some(({ value }) => value.type === 'tool-call' && value.name === 'grep'));
    expect(goes).toHaveBeenCalledWith({ messageId: message?.id, approvalId: null });
  }, 30_000);
});

describe('the palette', { timeout: 30_000 }, () => {
  it('runs commands, shows their keys, and says why one cannot be run', async () => {
    const { app } = await open('chat');
    press('k', window, { ctrlKey: true });
    expect(all('search-recent').length).toBeGreaterThan(3);
    fill(one('search'), 'dark');
    expect(all('palette-command').map((row) => row.dataset['command'])).toEqual(['theme.dark']);
    press('Enter', one('search'));
    await eventually(() => expect(document.documentElement.dataset['theme']).toBe('dark'));
    expect(app.shell.dialog).toBeNull();
    press('k', window, { ctrlKey: true });
    fill(one('search'), '>stop');
    expect(one('palette-command').getAttribute('aria-disabled')).toBe('true');
    expect(one('palette-command').textContent).toContain('No answer is being written');
    press('Enter', one('search'));
    expect(app.shell.dialog).toBe('search');
    app.appearance.setTheme('system');
  });

  it('marks the words in the message that it goes to', async () => {
    const { app } = await open('chat');
    press('k', window, { ctrlKey: true });
    fill(one('search'), 'overnight');
    await eventually(() => expect(all('search-hit')).toHaveLength(1));
    click(one('search-hit'));
    expect(app.current.find.query).toBe('overnight');
    press('Escape');
    expect(app.current.find.query).toBe('');
  });
});

describe('keys', { timeout: 30_000 }, () => {
  it('are listed by ?, which is a letter where one writes', async () => {
    const { app } = await open('chat');
    press('?', one('composer'), { shiftKey: true });
    expect(app.shell.dialog).toBeNull();
    press('?', window, { shiftKey: true });
    await eventually(() => expect(one('shortcuts').textContent).toContain('Open the approvals that wait'));
  });

  it('make the text larger, and go to the first sessions of the list', async () => {
    const { app } = await open('chat');
    press('+', window, { ctrlKey: true, shiftKey: true });
    expect(document.documentElement.style.fontSize).toBe('110%');
    press('0', window, { ctrlKey: true });
    expect(document.documentElement.style.fontSize).toBe('');
    const second = app.order[1] ?? '';
    press('2', window, { ctrlKey: true });
    expect(app.current.id).toBe(second);
    press('[', window, { ctrlKey: true });
    expect(app.current.id).toBe(app.order[0]);
    press(']', window, { ctrlKey: true });
    expect(app.current.id).toBe(second);
  });

  it('are changed in the settings, not to ones that are taken', async () => {
    const { app } = await open('chat');
    app.openSettings();
    await eventually(() => expect(all('settings-keys')).toHaveLength(1));
    const change = (): HTMLElement => {
      const found = document.querySelector<HTMLElement>('[data-command="inbox"] button');
      if (found === null) throw new Error('the command is listed');
      return found;
    };
    click(change());
    press('n', change(), { ctrlKey: true });
    expect(document.querySelector('[data-command="inbox"]')?.textContent).toContain('already used: New session');
    press('u', change(), { ctrlKey: true });
    expect(app.keymap.of('inbox', [])).toEqual(['Ctrl+U']);
    app.leaveView();
    flushSync();
    press('u', window, { ctrlKey: true });
    expect(app.shell.view).toBe('inbox');
  });

  it('twice Escape stops the answer', async () => {
    const { app, backend } = await open('chat', (host) => {
      host.pace = 0;
    });
    const stopped = vi.spyOn(backend, 'stopRun');
    type('long 5000');
    press('Enter', one('composer'));
    await eventually(() => expect(app.current.running).toBe(true));
    press('Escape');
    expect(stopped).not.toHaveBeenCalled();
    press('Escape');
    expect(stopped).toHaveBeenCalledTimes(1);
  });
});

describe('the settings as a view', { timeout: 30_000 }, () => {
  it('are searched, and close by Escape with nothing kept', async () => {
    const { app, backend } = await open('chat');
    app.openSettings();
    await eventually(() => expect(all('settings')).toHaveLength(1));
    fill(one('settings-search'), 'theme');
    expect(Array.from(document.querySelectorAll<HTMLElement>('[data-section]'), (section) => section.dataset['section'])).toEqual(['appearance', 'keyboard']);
    fill(one('settings-search'), 'webhook');
    fill(one('settings-webhook-url'), 'http://localhost/x');
    press('Escape');
    expect(app.shell.view).toBe('session');
    expect(backend.settings.webhookUrl).toBe('');
  });
});

describe('finding in a session', { timeout: 30_000 }, () => {
  it('goes through all messages that have the words, also those that are not loaded', async () => {
    const { app } = await open('many');
    press('f', window, { ctrlKey: true });
    const field = one('find-query');
    expect(document.activeElement).toBe(field);
    fill(field, 'Question 7:');
    await eventually(() => expect(one('find-status').textContent).toBe('1 message'));
    press('Enter', field);
    await eventually(() => {
      expect(one('find-status').textContent).toBe('1 of 1');
      expect(app.current.transcript?.rows.some((row) => row.parts[0]?.text.startsWith('Question 7:'))).toBe(true);
    });
    fill(field, 'nothing says this');
    await eventually(() => expect(one('find-status').textContent).toBe('Not found'));
    press('Escape', window);
    expect(all('find')).toHaveLength(0);
  });
});

describe('a message', { timeout: 30_000 }, () => {
  it('has a menu, by pointer and by key, that copies and quotes', async () => {
    const written = vi.spyOn(navigator.clipboard, 'writeText').mockResolvedValue();
    const { app } = await opened([item('user', [text('One?')], 1), item('assistant', [text('Two\n\nlines')], 2), item('user', [text('Three?')], 3)]);
    const answer = all('message')[1];
    answer?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true, clientX: 20, clientY: 20 }));
    flushSync();
    expect(Array.from(one('menu').querySelectorAll('[role="menuitem"]'), ({ textContent }) => textContent.trim())).toContain('Copy answer');
    click(button(/^\s*Quote/));
    expect(app.composer.text).toBe('> Two\n>\n> lines\n\n');
    answer?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true }));
    flushSync();
    click(button(/Copy with question/));
    expect(written).toHaveBeenLastCalledWith('**You:**\n\nOne?\n\n**Demo agent:**\n\nTwo\n\nlines');
    written.mockRestore();
  });

  it('that ended with nothing says so, and one that took long says how long', async () => {
    const at = Date.now() - 100_000;
    await opened([
      item('user', [text('One?')], at),
      item('assistant', [], at),
      item('assistant', [text('Two')], at, { endedAt: new Date(at + 65_000).toISOString(), usage: { promptTokens: 1_200, completionTokens: 412, totalTokens: 1_612 } }),
    ]);
    expect(one('silent').textContent).toContain('Demo agent ended without saying anything');
    expect(one('facts').textContent).toBe('1m 05s · 1,200 ↑ 412 ↓');
  });

  it('shows pictures and texts that are in it, and loads nothing else', async () => {
    const file = (url: string, filename: string): { type: 'file'; url: string; filename: string; mediaType: null } => ({ type: 'file', url, filename, mediaType: null });
    await opened([
      item('assistant', [file('data:image/png;base64,iVBORw0KGgo=', 'a.png'), file('data:text/plain,hello', 'b.txt'), file('https://example.org/c.png', 'c.png'), file('data:image/svg+xml;base64,AAAA', 'd.svg'), file('javascript:alert(1)', 'e')], 1),
    ]);
    expect(Array.from(one('message').querySelectorAll('img'), (image) => image.getAttribute('src'))).toEqual(['data:image/png;base64,iVBORw0KGgo=']);
    expect(one('message').querySelectorAll('a')).toHaveLength(1);
    click(Array.from(one('message').querySelectorAll('button')).find(({ textContent }) => textContent === 'b.txt'));
    expect(document.querySelector('dialog pre')?.textContent).toContain('hello');
  });

  it('runs of calls say how many there were, of how many files, and how many failed', async () => {
    const calls = ['a', 'b', 'b', 'c'].map((path, at) => call('read_file', { path }, at === 2 ? { state: 'failed', error: 'no' } : {}));
    await opened([item('assistant', [...calls, call('bash', { command: 'npm test' }, { output: { stdout: '\u001b[31mred\u001b[0m', exit_code: 3 } })], 1)]);
    expect(one('message').textContent).toContain('5 steps · 3 files · 1 failed');
    const last = all('tool-card').at(-1);
    expect(last?.textContent).toContain('Exit 3');
    click(last?.querySelector('button'));
    expect(one('terminal').textContent).toContain('Exit code 3');
    expect(one('terminal').querySelector('.ansi-red')?.textContent).toBe('red');
  });

  it('that came while nobody looked stands behind a line', async () => {
    const { app } = await open('chat', (host) => {
      host.add('Others', [item('user', [text('One')], 1), item('assistant', [text('Two')], 2), item('assistant', [text('Three')], 3)], 3, { unread: 2 });
    });
    await app.open(app.sessions.list.find(({ title }) => title === 'Others')?.id ?? '');
    await eventually(() => expect(one('new-divider').textContent).toContain('New · 2 messages'));
    expect(one('new-divider').closest('[data-row]')?.textContent).toContain('Two');
  });
});

describe('writing', { timeout: 30_000 }, () => {
  it('brings back what was said before by ArrowUp, and what is written is not lost', async () => {
    const { app } = await opened([item('user', [text('First')], 1), item('assistant', [text('x')], 2), item('user', [text('Second')], 3)]);
    const field = one('composer');
    press('ArrowUp', field);
    expect(app.composer.text).toBe('Second');
    press('ArrowUp', field);
    expect(app.composer.text).toBe('First');
    press('ArrowDown', field);
    press('ArrowDown', field);
    expect(app.composer.text).toBe('');
    type('mine');
    press('ArrowUp', field);
    expect(app.composer.text).toBe('mine');
  });

  it('offers agents and people behind an @', async () => {
    const { app } = await opened([item('user', [text('First')], 1)], ({ meta }) => {
      const [person] = meta.presence;
      if (person !== undefined) meta.presence = [person, { ...person, actorId: 'bo', name: 'Bo Lind' }];
    });
    const field = one('composer') as HTMLTextAreaElement;
    const write = (value: string): void => {
      field.value = value;
      field.setSelectionRange(value.length, value.length);
      field.dispatchEvent(new InputEvent('input', { bubbles: true }));
      flushSync();
    };
    write('Hi @');
    expect(all('mentions')).toHaveLength(1);
    expect(one('mentions').textContent).toContain('Bo Lind');
    expect(one('mentions').textContent).not.toContain('You');
    write('Hi @de');
    press('Enter', field);
    expect(app.composer.text).toBe('Hi @Demo agent ');
    expect(all('mentions')).toHaveLength(0);
    expect(app.composer.sending).toBe(false);
  });

  it('takes a long paste and files along, as they are, and keeps them until they are sent', async () => {
    const { app, backend } = await opened([item('user', [text('First')], 1)]);
    const field = one('composer');
    const paste = (text: string, files: File[]): Event => {
      const event = new Event('paste', { bubbles: true, cancelable: true });
      Object.assign(event, { clipboardData: { files, getData: () => text } });
      field.dispatchEvent(event);
      return event;
    };
    expect(paste('short', []).defaultPrevented).toBe(false);
    const long = 'a line of it\n'.repeat(200);
    expect(paste(long, []).defaultPrevented).toBe(true);
    await vi.waitFor(() => expect(all('attached-file')).toHaveLength(1));
    paste('', [new File([new Uint8Array([1, 2, 255])], 'chart.png', { type: 'image/png' }), new File([new Uint8Array(300_000)], 'huge.bin')]);
    await vi.waitFor(() => expect(document.querySelector('.composer [role=alert]')?.textContent).toContain('huge.bin'));
    expect(all('attached-file').map(({ textContent }) => textContent.trim())).toEqual([expect.stringContaining('pasted.txt'), expect.stringContaining('chart.png')]);

    // Another session has its own, and they are there again.
    const here = app.current.id ?? '';
    app.newSession();
    flushSync();
    expect(all('attached-file')).toHaveLength(0);
    await app.open(here);
    flushSync();
    expect(all('attached-file')).toHaveLength(2);

    // Files are a message without words, too.
    click(one('send'));
    await vi.waitFor(() => expect(all('attached-file')).toHaveLength(0));
    const said = backend.sessions.get(here)?.items.filter(({ role }) => role === 'user').at(-1);
    expect(said?.parts).toEqual([
      expect.objectContaining({ type: 'file', filename: 'pasted.txt', mediaType: 'text/plain' }),
      { type: 'file', filename: 'chart.png', mediaType: 'image/png', url: 'data:image/png;base64,AQL/' },
    ]);
    await vi.waitFor(() => expect(all('picture')).toHaveLength(1));
  });

  it('puts a pasted text into the message after all, and lets a file go', async () => {
    const { app } = await opened([]);
    await app.composer.attach([new File(['some\nwords'], 'notes.txt', { type: 'text/plain' }), new File(['x'], 'other.txt')]);
    flushSync();
    click(document.querySelector('[aria-label="Put notes.txt into the message"]'));
    expect(app.composer.text).toBe('some\nwords');
    click(document.querySelector('[aria-label="Remove other.txt"]'));
    expect(all('attached-file')).toHaveLength(0);
  });

  it('says who answers, also who is named, and does commands behind a /', async () => {
    const { app } = await opened([], ({ meta }) => {
      const [demo] = meta.agents;
      if (demo !== undefined) meta.agents = [demo, { ...demo, agentId: 'critic', name: 'Critic', triggers: 'mentions' }];
    });
    expect(one('route').textContent).toBe('Goes to Demo agent');
    type('@critic look');
    expect(one('route').textContent).toBe('Goes to Demo agent and Critic');
    const field = one('composer') as HTMLTextAreaElement;
    field.value = '/settings';
    field.setSelectionRange(9, 9);
    field.dispatchEvent(new InputEvent('input', { bubbles: true }));
    flushSync();
    expect(one('mentions').textContent).toContain('Settings');
    press('Enter', field);
    expect(app.shell.view).toBe('settings');
    expect(app.composer.text).toBe('');
  });

  it('while an answer is written waits for its turn, and is seen to', async () => {
    const { app } = await open('chat', (host) => {
      host.pace = 0;
    });
    type('long 400');
    press('Enter', one('composer'));
    await eventually(() => expect(app.current.running).toBe(true));
    type('And then?');
    press('Enter', one('composer'));
    await eventually(() => expect(one('queue').textContent).toContain('And then?'));
    expect(one('stop').getAttribute('title')).toContain('1 message after it is answered next');
    app.current.stop();
  });
});

describe('the list of sessions', { timeout: 30_000 }, () => {
  it('has pinned ones on top, without archived ones, and keeps both', async () => {
    const { app } = await open('chat');
    const [first, , third] = app.order;
    app.togglePin(third ?? '');
    flushSync();
    expect(all('session-row')[0]?.dataset['sessionId']).toBe(third);
    const row = all('session-row')[1];
    row?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true }));
    flushSync();
    click(button(/^\s*Archive\s*$/));
    expect(app.shelf.isArchived(first ?? '')).toBe(true);
    expect(all('session-row').some(({ dataset }) => dataset['sessionId'] === first)).toBe(false);
    await closeWindow();
    await open('chat');
    expect(localStorage.getItem('threadkeep.archived')).toContain(first);
  });

  it('is filtered by title at the host', async () => {
    const { app } = await open('chat');
    fill(one('filter'), 'tax');
    await eventually(() => expect(all('session-row').map((row) => row.querySelector('.title')?.textContent)).toEqual(['Tax questions']));
    press('Escape', one('filter'));
    await eventually(() => expect(all('session-row').length).toBeGreaterThan(5));
    expect(app.sessions.filter).toBe('');
  });

  it('is as wide as one makes it, by keyboard too', async () => {
    const { app } = await open('chat');
    press('ArrowRight', one('sidebar-edge'));
    expect(app.shell.sidebarWidth).toBe(18);
    press('End', one('sidebar-edge'));
    expect(one('app').style.getPropertyValue('--width-sidebar')).toBe('28rem');
    expect(localStorage.getItem('threadkeep.sidebarWidth')).toBe('28');
  });
});
