// @vitest-environment happy-dom
import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { BackendError } from '../ipc/backend';
import type { ScriptedBackend } from '../ipc/scripted/backend';
import { all, button, click, closeWindow, one, open, press, type } from './testing';

beforeEach(() => {
  localStorage.clear();
});

afterEach(closeWindow);

function head(id: string): HTMLElement {
  const found = all('server-head').find((one) => one.dataset['server'] === id);
  if (found === undefined) throw new Error(`no head of ${id}`);
  return found;
}

function pick(id: string, label: RegExp): void {
  click(head(id).querySelector('[aria-haspopup="menu"]'));
  const item = Array.from(document.querySelectorAll('[role="menuitem"]')).find(({ textContent }) => label.test(textContent));
  click(item);
}

function fill(testId: string, value: string): void {
  const field = one(testId) as HTMLInputElement;
  field.value = value;
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  flushSync();
}

function rowsOf(id: string): HTMLElement[] {
  return all('session-row').filter((row) => row.dataset['sessionId']?.startsWith(`${id}/`) === true);
}

async function eventually(check: () => void): Promise<void> {
  await vi.waitFor(() => {
    flushSync();
    check();
  }, 4_000);
}

function fast(backend: ScriptedBackend): void {
  backend.pace = 0;
}

describe('one server', () => {
  it('has no heads in the list, and is named where a session will live', async () => {
    const { app } = await open('chat');
    expect(all('server-head')).toHaveLength(0);
    expect(all('session-server')).toHaveLength(0);
    app.newSession();
    flushSync();
    expect(all('new-session-server')).toHaveLength(0);
    expect(one('new-session-home').textContent).toContain('on this computer');
  });
});

describe('several servers', () => {
  it('are sections of the list, with their state in words', async () => {
    await open('servers');
    expect(all('server-head').map((found) => found.dataset['server'])).toEqual(['local', 'team', 'lab']);
    expect(head('local').textContent).toContain('Ready');
    expect(head('team').textContent).toContain('Connected');
    expect(head('lab').textContent).toContain('The server refuses the token.');
    expect(rowsOf('team')).toHaveLength(3);
    expect(rowsOf('lab')).toHaveLength(1);
    expect(one('session-server').textContent).toBe('Team');
  });

  it('are folded one by one, and stay so', async () => {
    await open('servers');
    click(head('team').querySelector('[aria-expanded]'));
    expect(rowsOf('team')).toHaveLength(0);
    expect(rowsOf('lab')).toHaveLength(1);
    expect(head('team').textContent).toContain('2 unread');
    expect(head('team').textContent).toContain('3 sessions');
    await closeWindow();
    await open('servers');
    expect(rowsOf('team')).toHaveLength(0);
    click(head('team').querySelector('[aria-expanded]'));
    expect(rowsOf('team')).toHaveLength(3);
  });

  it('are folded also while the pointer is on the list', async () => {
    await open('servers');
    one('session-list').dispatchEvent(new PointerEvent('pointerenter'));
    flushSync();
    click(head('team').querySelector('[aria-expanded]'));
    expect(rowsOf('team')).toHaveLength(0);
    expect(rowsOf('lab')).toHaveLength(1);
  });

  it('say in an open session what is wrong with its server', async () => {
    const { app, backend } = await open('servers', (host) => {
      // The session has not heard yet.
      for (const { summary, meta } of host.sessions.values()) {
        if (summary.id.startsWith('lab/')) meta.connection = { ...meta.connection, state: 'offline', message: null };
      }
    });
    click(rowsOf('lab')[0]);
    await eventually(() => {
      expect(one('connection').textContent).toContain('The server refuses the token.');
    });
    expect(backend.servers).toHaveLength(3);
    expect(app.current.title).toBe('Sample 12');
    click(button(/Sign in again|Retry now/));
  });

  it('offer to sign in where a session is refused', async () => {
    const { app } = await open('servers');
    click(rowsOf('lab')[0]);
    await eventually(() => {
      expect(one('connection').dataset['state']).toBe('refused');
    });
    click(button(/^Sign in again$/));
    expect(app.shell.dialog).toEqual({ kind: 'sign-in', server: 'lab' });
    expect(one('sign-in').textContent).toContain('keychain');
  });
});

describe('adding a server', () => {
  it('looks first, says what the token may do, and adds when asked again', async () => {
    const { app, backend } = await open('chat', fast);
    const joined = vi.spyOn(backend, 'joinServer');
    click(one('add-server'));
    fill('server-url', 'https://lab.example.org');
    expect(one('server-add').textContent).toContain('Check');
    click(one('server-add'));
    await eventually(() => {
      expect(one('add-server-form').textContent).toContain('asks for a token');
    });
    fill('server-token', 'right');
    click(one('server-add'));
    await eventually(() => {
      expect(one('add-server-form').textContent).toContain('may read, write and answer approvals');
    });
    expect(joined).not.toHaveBeenCalled();
    // Another address is another server: it is looked at anew.
    fill('server-url', 'https://lab2.example.org');
    expect(one('server-add').textContent).toContain('Check');
    expect(one('add-server-form').textContent).not.toContain('may read');
    click(one('server-add'));
    await eventually(() => {
      expect(one('server-add').textContent).toContain('Add server');
    });
    fill('server-name', 'Lab');
    click(one('server-add'));
    await eventually(() => {
      expect(all('add-server-form')).toHaveLength(0);
      expect(all('server-head').map(({ textContent }) => textContent).join()).toContain('Lab');
    });
    expect(joined).toHaveBeenCalledWith('https://lab2.example.org', 'Lab', 'right');
    expect(app.servers.next?.name).toBe('Lab');
    expect(document.body.textContent).not.toContain('right');
  });

  it('says why not, and keeps what was typed', async () => {
    await open('chat', fast);
    click(one('add-server'));
    for (const [url, why] of [['nonsense', 'not a web address'], ['http://127.0.0.1:1', 'Nothing answers there']]) {
      fill('server-url', url ?? '');
      click(one('server-add'));
      await eventually(() => {
        expect(one('add-server-form').textContent).toContain(why);
      });
      expect((one('server-url') as HTMLInputElement).value).toBe(url);
    }
  });
});

describe('a server', () => {
  it('is renamed', async () => {
    await open('servers');
    pick('team', /^\s*Rename/);
    fill('server-name', 'Work');
    click(one('server-confirm'));
    await eventually(() => {
      expect(head('team').textContent).toContain('Work');
      expect(all('rename-server')).toHaveLength(0);
    });
  });

  it('is signed in to again; a token it refuses is not kept', async () => {
    const { backend } = await open('servers', fast);
    const kept = vi.spyOn(backend, 'setServerToken');
    pick('lab', /Sign in/);
    fill('server-token', 'wrong');
    click(one('server-confirm'));
    await eventually(() => {
      expect(one('sign-in').textContent).toContain('refuses the token');
    });
    expect(kept).not.toHaveBeenCalled();
    fill('server-token', 'right');
    click(one('server-confirm'));
    await eventually(() => {
      expect(head('lab').textContent).toContain('Connected');
      expect(all('sign-in')).toHaveLength(0);
    });
    expect(kept).toHaveBeenCalledWith('lab', 'right');
  });

  it('is removed, and its sessions stay to be read', async () => {
    const { backend } = await open('servers');
    const forgotten = vi.spyOn(backend, 'forgetServer');
    click(rowsOf('lab')[0]);
    pick('lab', /Remove/);
    await eventually(() => {
      expect(one('unsent').textContent).toContain('1 unsent entry will wait here');
    });
    click(one('server-confirm'));
    await eventually(() => {
      expect(head('lab').textContent).toContain('Removed: can be read only');
    });
    expect(forgotten).toHaveBeenCalledWith('lab', true);
    expect(rowsOf('lab')).toHaveLength(1);
    await eventually(() => {
      expect(one('connection').textContent).toContain('was removed');
      expect((one('composer') as HTMLTextAreaElement).disabled).toBe(true);
    });
  });

  it('is removed with its copies, and the open one leaves the screen', async () => {
    const { app, backend } = await open('servers');
    const forgotten = vi.spyOn(backend, 'forgetServer');
    pick('team', /Remove/);
    click(one('delete-sessions'));
    await eventually(() => {
      expect((one('server-confirm') as HTMLButtonElement).disabled).toBe(false);
    });
    expect(all('unsent')).toHaveLength(0);
    click(one('server-confirm'));
    await eventually(() => {
      expect(all('server-head').map((found) => found.dataset['server'])).toEqual(['local', 'lab']);
    });
    expect(forgotten).toHaveBeenCalledWith('team', false);
    expect(app.current.id).toBeNull();
    expect(app.shell.dialog).toBeNull();
  });

  it('says how much is lost when its copies go', async () => {
    await open('servers');
    pick('lab', /Remove/);
    click(one('delete-sessions'));
    await eventually(() => {
      expect(one('unsent').textContent).toContain('1 unsent entry will be lost');
    });
  });

  it('inside this computer can only be renamed', async () => {
    await open('servers');
    click(head('local').querySelector('[aria-haspopup="menu"]'));
    expect(Array.from(document.querySelectorAll('[role="menuitem"]'), ({ textContent }) => textContent.trim())).toEqual(['Rename…']);
  });
});

describe('a new session', () => {
  it('is made where the person is, or where it is told', async () => {
    const { app, backend } = await open('servers');
    const made = vi.spyOn(backend, 'createSession');
    click(one('new-session'));
    const home = (): HTMLSelectElement => one('new-session-server') as HTMLSelectElement;
    expect(home().value).toBe('team');
    type('# What now?\nmore');
    press('Enter', one('composer'));
    await eventually(() => {
      expect(app.current.title).toBe('What now?');
    });
    expect(made.mock.calls[0]?.[0].server).toBe('team');
    expect(app.current.id?.startsWith('team/')).toBe(true);
    click(one('new-session'));
    home().value = 'lab';
    home().dispatchEvent(new Event('change', { bubbles: true }));
    flushSync();
    expect(one('new-session-home').textContent).toContain('as soon as it can');
    type('Later');
    press('Enter', one('composer'));
    await eventually(() => {
      expect(app.current.id?.startsWith('lab/')).toBe(true);
    });
  });

  it('is made where the last one was after a start', async () => {
    await open('servers', (backend) => {
      backend.first = null;
      backend.lastServer = 'team';
    });
    expect((one('new-session-server') as HTMLSelectElement).value).toBe('team');
  });

  it('is one with its first message: trying again makes neither twice', async () => {
    const { app, backend } = await open('first');
    const create = backend.createSession.bind(backend);
    let failures = 2;
    const ids: string[] = [];
    backend.createSession = async (session) => {
      ids.push(`${session.id} ${session.first.id}`);
      failures -= 1;
      if (failures === 1) throw new BackendError('disk-full', 'The disk is full.');
      const made = await create(session);
      // It is done, and the answer is lost.
      if (failures === 0) throw new BackendError('lost', 'Try again.');
      return made;
    };
    type('hello');
    press('Enter', one('composer'));
    await eventually(() => {
      expect(document.querySelector('.composer [role="alert"]')?.textContent).toContain('The disk is full.');
    });
    expect((one('composer') as HTMLTextAreaElement).value).toBe('hello');
    expect(backend.sessions.size).toBe(0);
    press('Enter', one('composer'));
    await eventually(() => {
      expect(app.composer.error).toBe('Try again.');
    });
    press('Enter', one('composer'));
    await eventually(() => {
      expect(app.current.id).not.toBeNull();
      expect(all('message').length).toBeGreaterThan(0);
    });
    expect(new Set(ids).size).toBe(1);
    expect(backend.sessions.size).toBe(1);
    const [session] = backend.sessions.values();
    expect(session?.items.filter(({ role }) => role === 'user')).toHaveLength(1);
    expect(app.composer.text).toBe('');
  });

  it('has other ids when its text is another', async () => {
    const { app } = await open('first');
    type('hello');
    const first = app.composer.ids();
    expect(app.composer.ids()).toEqual(first);
    type('hello!');
    expect(app.composer.ids()).not.toEqual(first);
  });

  it('leaves no draft behind when the person went elsewhere meanwhile', async () => {
    const { app, backend } = await open('chat');
    const create = backend.createSession.bind(backend);
    let go: () => void = () => undefined;
    backend.createSession = async (session) => {
      await new Promise<void>((resolve) => (go = resolve));
      return create(session);
    };
    app.newSession();
    flushSync();
    type('hello');
    press('Enter', one('composer'));
    const elsewhere = app.sessions.list[2]?.id ?? '';
    await app.open(elsewhere);
    go();
    await eventually(() => {
      expect(app.composer.sending).toBe(false);
    });
    expect(app.current.id).toBe(elsewhere);
    app.newSession();
    flushSync();
    expect((one('composer') as HTMLTextAreaElement).value).toBe('');
  });
});

describe('a session that its server deleted', () => {
  it('has no composer, and is kept as a copy', async () => {
    await open('gone');
    expect(all('composer')).toHaveLength(0);
    expect(one('gone').textContent).toContain('was deleted on its server');
    expect(one('gone').textContent).toContain('1 entry of yours did not get there');
    click(one('gone-keep'));
    await eventually(() => {
      expect(all('gone')).toHaveLength(0);
      expect((one('composer') as HTMLTextAreaElement).disabled).toBe(true);
    });
    expect(all('message').length).toBeGreaterThan(3);
  });

  it('is deleted here when asked twice', async () => {
    const { app, backend } = await open('gone');
    const id = app.current.id ?? '';
    click(one('gone-delete'));
    expect(document.querySelector('dialog')?.textContent).toContain('was deleted on its server already');
    click(one('delete-confirm'));
    await eventually(() => {
      expect(app.current.id).toBeNull();
    });
    expect(backend.sessions.has(id)).toBe(false);
  });
});

describe('the first run', () => {
  it('asks for the name, and keeps it', async () => {
    const { app, backend } = await open('first');
    const field = one('first-name') as HTMLInputElement;
    expect(field.value).toBe('Ana');
    fill('first-name', 'Ana Kovač');
    field.dispatchEvent(new Event('change', { bubbles: true }));
    await eventually(() => {
      expect(app.settings.value.userName).toBe('Ana Kovač');
    });
    expect(backend.settings.userName).toBe('Ana Kovač');
  });

  it('is over when there are sessions', async () => {
    const { app } = await open('chat');
    app.newSession();
    flushSync();
    expect(all('first-name')).toHaveLength(0);
  });
});

describe('an answer that came second', () => {
  it('is told with who was first, and the card says so for good', async () => {
    const { app, backend } = await open('approval');
    const id = app.current.id ?? '';
    const session = backend.sessions.get(id);
    if (session === undefined) throw new Error('the scene has a session');
    const [person] = session.meta.presence;
    if (person !== undefined) session.meta.presence = [person, { ...person, actorId: 'bo', name: 'Bo Lind' }];
    // Somebody denies it while this answer is under way.
    backend.respondApproval = () => {
      const [asked] = session.meta.pendingApprovals;
      if (asked === undefined) throw new Error('it asks');
      backend.decideFirst(session, asked, false, 'bo');
      backend.notify({ code: 'answered-first', message: 'Somebody else denied this before your answer arrived.' });
      return Promise.resolve();
    };
    press('a', one('approval-card'));
    await eventually(() => {
      expect(document.querySelector('.toast')?.textContent).toBe('Bo Lind denied this before your answer arrived.');
      expect(one('approval-card').textContent).toContain('Denied by Bo Lind');
    });
    expect(app.current.whoWasFirst()).toBeNull();
  });

  it('is told by a line that goes by itself', async () => {
    const { app, backend } = await open('chat');
    backend.notify({ code: 'answered-first', message: 'Somebody else denied this before your answer arrived.' });
    await eventually(() => {
      expect(document.querySelector('.toast')?.textContent).toContain('Somebody else denied this');
    });
    expect(app.shell.notices).toHaveLength(0);
    expect(all('notice')).toHaveLength(0);
  });
});

describe('the settings', () => {
  it('list the servers, and have no address to type', async () => {
    const { app } = await open('servers');
    app.openSettings();
    await eventually(() => {
      one('settings-servers');
    });
    expect(one('settings-servers').textContent).toContain('Lab, second floor');
    expect(one('settings-servers').querySelectorAll('input')).toHaveLength(0);
  });
});
