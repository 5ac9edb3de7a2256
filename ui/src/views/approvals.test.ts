// @vitest-environment happy-dom
import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { call, item, text } from '../ipc/scripted/content';
import type { PartApproval } from '../ipc/contract';
import { all, button, click, closeWindow, one, open, opened, press, type } from './testing';

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

function write(words: string): void {
  const field = one('deny-words') as HTMLTextAreaElement;
  field.value = words;
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  flushSync();
}

/** A request of a call, and the same when it was decided. */
function asks(approval: Partial<PartApproval> = {}): ReturnType<typeof call> {
  const { approved = null } = approval;
  return call('bash', { command: 'npm test' }, { state: approved === null ? 'waiting' : approved ? 'done' : 'denied', approval: { id: 'a', approved, respondedBy: null, ...approval } });
}

const MINUTE = 60_000;

describe('a request with options', { timeout: 40_000 }, () => {
  it('is answered by the one that was chosen, whose reach is said in words', async () => {
    const { backend } = await open('local');
    const decided = vi.spyOn(backend, 'respondApproval');
    const card = one('approval-card');
    expect(card.textContent).toContain('wants to run a command with bash');
    expect(card.textContent).toContain('/home/ana/project/index');
    const options = Array.from(card.querySelectorAll<HTMLElement>('[data-option]'), ({ textContent }) => textContent.replace(/\s+/g, ' ').trim());
    expect(options).toEqual([
      'Allow once Yes, only this time',
      'Always allow Yes, without asking again, as the agent remembers it',
      'Allow for this session Yes, without asking again in this session',
      'Reject No, only this time',
    ]);
    click(card.querySelector('[data-option="proceed_always"]'));
    expect(decided).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.objectContaining({ approvalId: 'run:1' }), true, undefined, 'proceed_always');
    await eventually(() => expect(one('approval-card').textContent).toMatch(/Approved: “Allow for this session” by you · /));
  });

  it('takes a key for what holds once, and none where nothing does', async () => {
    const { backend } = await open('local');
    const decided = vi.spyOn(backend, 'respondApproval');
    press('a', one('approval-card'));
    expect(decided).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.anything(), true, undefined, 'once');
    await closeWindow();
    const lasting = await opened([item('assistant', [asks({ options: [{ optionId: 'always', name: 'Always', kind: 'allow_always' }] })], Date.now(), { isComplete: false })]);
    const other = vi.spyOn(lasting.backend, 'respondApproval');
    press('a', one('approval-card'));
    expect(other).not.toHaveBeenCalled();
    press('d', one('approval-card'));
    expect(other).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.anything(), false, undefined, undefined);
  });

  it('is left by a plain yes in the inbox where that would last, and answered there by its options', async () => {
    const options = [{ optionId: 'always', name: 'Always', kind: 'allow_always' }];
    const { app, backend } = await opened([item('assistant', [asks({ options })], Date.now(), { isComplete: false })]);
    const decided = vi.spyOn(backend, 'respondApproval');
    app.openInbox();
    await eventually(() => expect(all('inbox-row')).toHaveLength(1));
    press('a');
    expect(decided).not.toHaveBeenCalled();
    expect(app.announcer.text).toContain('choose one of them');
    click(document.querySelector('[data-option="always"]'));
    await eventually(() => expect(decided).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.anything(), true, undefined, 'always'));
  });

  it('that is denied with words sends them as the next message', async () => {
    const { backend } = await open('local');
    const decided = vi.spyOn(backend, 'respondApproval');
    const said = vi.spyOn(backend, 'sendMessage');
    click(one('deny-with-words'));
    await eventually(() => expect(document.activeElement).toBe(one('deny-words')));
    write('Use trash instead.');
    press('Enter', one('deny-words'));
    await eventually(() => expect(said).toHaveBeenCalledExactlyOnceWith(expect.any(String), 'Use trash instead.'));
    expect(decided).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.anything(), false, undefined, 'reject');
  });
});

describe('a request', { timeout: 40_000 }, () => {
  it('that is denied with words takes them along, and shows them', async () => {
    const { backend } = await opened([item('user', [text('Test it')], Date.now()), item('assistant', [asks()], Date.now(), { isComplete: false })]);
    const decided = vi.spyOn(backend, 'respondApproval');
    click(one('deny-with-words'));
    expect((button(/Deny and say this/)).disabled).toBe(true);
    write('Not on a Friday.');
    click(one('deny-send'));
    expect(decided).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.anything(), false, 'Not on a Friday.', undefined);
    await eventually(() => expect(one('approval-card').textContent).toMatch(/Denied by you · /));
    click(one('approval-card').querySelector('button'));
    expect(one('approval-card').textContent).toContain('You: Not on a Friday.');
  });

  it('that is old is approved twice while the answer has to wait', async () => {
    const { backend } = await opened([item('assistant', [asks()], Date.now() - 12 * MINUTE, { isComplete: false })], (session, host) => {
      host.online = false;
      session.meta.connection.state = 'offline';
    });
    const decided = vi.spyOn(backend, 'respondApproval');
    press('a', one('approval-card'));
    expect(decided).not.toHaveBeenCalled();
    expect(one('approval-card').textContent).toContain('may not wait for it any more');
    click(one('approve-anyway'));
    expect(decided).toHaveBeenCalledTimes(1);
    expect(one('approval-card').textContent).toContain('Approved. It will be sent when connected.');
  });

  it('that lapsed was decided by nobody, and offers to go on', async () => {
    const { backend } = await opened([item('user', [text('Test it')], Date.now()), item('assistant', [asks({ approved: false, respondedBy: 'server', said: 'lapsed', respondedAt: '2026-01-05T10:00:00Z' })], Date.now())]);
    const said = vi.spyOn(backend, 'sendMessage');
    expect(one('approval-card').dataset['status']).toBe('lapsed');
    expect(one('approval-card').textContent).toContain('Not decided: the agent ended');
    expect(one('approval-card').textContent).not.toContain('Denied');
    click(one('go-on'));
    expect(said).toHaveBeenCalledExactlyOnceWith(expect.any(String), 'Continue.');
  });

  it('tells whoever answered it when nobody waited any more', async () => {
    const { app, backend } = await open('approval');
    backend.notify({ code: 'answered-late', message: 'Nothing was decided: the agent had ended.' });
    await eventually(() => expect(app.shell.toast).toContain('Nothing was decided'));
  });

  it('has what happened before it in plain words', async () => {
    const { app } = await opened([
      item('user', [text('# A durable session\n\nis **one stream** of `events`')], Date.now()),
      item('assistant', [asks()], Date.now(), { isComplete: false }),
    ]);
    app.openInbox();
    await eventually(() => expect(one('inbox-preview').textContent).toContain('A durable session is one stream of events'));
  });
});

describe('an agent of this computer', { timeout: 40_000 }, () => {
  it('has its plan above the field, its memory below it, and neither in its answers', async () => {
    await open('local');
    expect(one('plan').textContent).toContain('Plan · 1 of 3 done');
    // Markdown of an entry is not shown as it is written.
    expect(one('plan').textContent).toContain('Mend the index');
    click(one('plan').querySelector('button'));
    expect(Array.from(one('plan').querySelectorAll<HTMLElement>('li'), ({ dataset }) => dataset['state'])).toEqual(['completed', 'in_progress', 'pending']);
    expect(one('agent-tray').querySelector('[data-testid="context-ring"]')?.textContent).toContain('21 %');
    expect(document.querySelector('[data-rows]')?.textContent).not.toContain('acp.usage');
  });

  it('is set to another mode or model by a pick, and to one that never asks only twice', async () => {
    const { app, backend } = await open('local');
    const set = vi.spyOn(backend, 'setAgentOption');
    const select = (id: string): HTMLSelectElement => {
      const found = document.querySelector<HTMLSelectElement>(`select[data-option="${id}"]`);
      if (found === null) throw new Error(`${id} can be picked`);
      return found;
    };
    const pick = (id: string, value: string): void => {
      select(id).value = value;
      select(id).dispatchEvent(new Event('change', { bubbles: true }));
      flushSync();
    };
    pick('model', 'large');
    expect(set).toHaveBeenCalledExactlyOnceWith(app.current.id, 'demo', 'model', 'large');
    // It does not hold yet, and says so.
    await eventually(() => expect(one('agent-tray').textContent).toContain('next'));
    pick('mode', 'yolo');
    expect(set).toHaveBeenCalledTimes(1);
    expect(select('mode').value).toBe('ask');
    expect(one('never-asks').textContent).toContain('asks nobody');
    click(one('never-asks-yes'));
    expect(set).toHaveBeenLastCalledWith(app.current.id, 'demo', 'mode', 'yolo');
    expect(all('never-asks')).toHaveLength(0);
    click(button(/More options/));
    click(one('agent-tray').querySelector('input[type="checkbox"]'));
    expect(set).toHaveBeenLastCalledWith(app.current.id, 'demo', 'web', 'true');
  });

  it('has commands that are completed behind a slash at the beginning, and nowhere else', async () => {
    await open('local');
    const field = one('composer') as HTMLTextAreaElement;
    const write = (words: string): void => {
      type(words);
      field.setSelectionRange(words.length, words.length);
      field.dispatchEvent(new InputEvent('input', { bubbles: true }));
      flushSync();
    };
    write('look at /in');
    expect(all('mentions')).toHaveLength(0);
    write('/re');
    expect(one('mentions').textContent).toContain('/review');
    expect(one('mentions').textContent).toContain('branch · Look at changes');
    press('Tab', field);
    expect(field.value).toBe('/review ');
    expect(all('mentions')).toHaveLength(0);
  });

  it('that wants a person to sign in says how, and its remarks are no answer', async () => {
    const signIn = { agent: 'demo', methods: [{ id: 'a', name: 'Sign in with a browser', command: 'demo login' }] };
    const { app } = await opened([
      item('assistant', [{ type: 'data', name: 'acp.notice', id: null, data: { severity: 'warning', title: 'Not signed in', description: 'The agent wants you to sign in.', signIn } }], Date.now(), {
        error: { message: 'The agent wants you to sign in.', code: 'acp_auth_required' },
      }),
    ]);
    const copied = vi.spyOn(app.shell, 'copy').mockResolvedValue();
    expect(one('sign-in').textContent).toContain('demo login');
    click(button(/Copy the command/));
    expect(copied).toHaveBeenCalledExactlyOnceWith('demo login');
  });
});

describe('a call', { timeout: 40_000 }, () => {
  it('of a program of this computer is drawn by its kind: change, command, places', async () => {
    await open('local');
    const kinds = all('tool-card').map((card) => card.querySelector<HTMLElement>('[data-kind]')?.dataset['kind']);
    expect(kinds).toEqual(expect.arrayContaining(['execute']));
    // A command that runs shows its last lines without being opened.
    const running = all('tool-card').find((card) => card.dataset['state'] === 'answered');
    expect(running?.querySelector('pre')?.textContent.split('\n')).toHaveLength(12);
    expect(running?.querySelector('pre')?.textContent).toContain('file 40 of 40');
  });

  it('that changed a file shows the change, and what it was asked with on demand', async () => {
    const patch = '@@ -1 +1 @@\n-const last = 10;\n+const last = 12;\n';
    await opened([item('assistant', [call('edit', { filePath: 'a.ts' }, { title: 'Edit a.ts', output: 'ok', details: { kind: 'edit', content: [{ type: 'diff', path: 'a.ts', patch, added: 1, removed: 1 }] } })], Date.now())]);
    const card = one('tool-card');
    expect(card.querySelector('[data-testid="diff"]')?.textContent).toContain('const last = 12;');
    expect(card.querySelector('.line')?.textContent).toContain('+1');
    expect(card.textContent).not.toContain('filePath');
    click(button(/Show the input/));
    expect(card.textContent).toContain('filePath');
  });

  it('that ran a command shows its exit code and its colours', async () => {
    await opened([item('assistant', [call('bash', { command: 'npm test' }, { output: 'x fails', details: { kind: 'execute', exit: { code: 2 }, output: { text: '\u001b[31mx\u001b[39m fails' } } })], Date.now())]);
    expect(one('tool-card').textContent).toContain('Exit 2');
    click(one('tool-card').querySelector('button'));
    expect(one('terminal').querySelector('.ansi-red')?.textContent).toBe('x');
    expect(one('terminal').textContent).not.toContain('\u001b');
    expect(one('terminal').textContent).toContain('npm test');
  });
});
