// @vitest-environment happy-dom
import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { FeedBatch, Item } from '../ipc/contract';
import { ScriptedBackend } from '../ipc/scripted/backend';
import { item, text, waitingApproval } from '../ipc/scripted/content';
import { AppState } from './app.svelte';
import { refOf } from './decisions.svelte';
import { SearchState } from './search.svelte';

async function start(scene: string): Promise<{ backend: ScriptedBackend; app: AppState }> {
  const backend = new ScriptedBackend(scene);
  backend.pace = 0;
  const app = new AppState(backend, await backend.bootstrap());
  app.start();
  return { backend, app };
}

function texts(app: AppState): string[] {
  return (app.current.transcript?.rows ?? []).map((row) => row.parts.map(({ text }) => text).join(''));
}

beforeEach(() => {
  localStorage.clear();
});

const running: AppState[] = [];

afterEach(() => {
  for (const app of running.splice(0)) app.stopFeed();
});

async function started(scene: string): Promise<{ backend: ScriptedBackend; app: AppState }> {
  const result = await start(scene);
  running.push(result.app);
  return result;
}

describe('the window’s state', () => {
  it('has the open session’s rows before anything is awaited', async () => {
    const backend = new ScriptedBackend('chat');
    const boot = await backend.bootstrap();
    const app = new AppState(backend, boot);
    const reset = boot.batch.changes.flatMap((change) => (change.type === 'diff' && change.diff.op === 'reset' ? change.diff.items : []));
    expect(reset.length).toBeGreaterThan(0);
    expect(app.current.transcript?.rows.map(({ id }) => id)).toEqual(reset.map(({ id }) => id));
    expect(app.current.title).toBe('How does reading it back work?');
  });

  it('makes a session of the first message and streams the answer', async () => {
    const { app } = await started('first');
    app.composer.type('Hello there');
    await app.send();
    expect(app.composer.text).toBe('');
    expect(app.current.id).not.toBeNull();
    await vi.waitFor(() => {
      expect(app.current.transcript?.rows).toHaveLength(2);
      expect(app.current.transcript?.rows[1]?.meta.isComplete).toBe(true);
    }, 4_000);
    expect(texts(app)).toEqual(['Hello there', 'Hello! I am the **demo agent**. I live in this app, need no key and no network.']);
    expect(app.current.running).toBe(false);
    expect(app.announcer.text.trim()).toBe('Response complete');
  });

  it('hides no other request of the same id when one is answered', async () => {
    const { app } = await started('approval');
    const waiting = app.sessions.needsYou.find(({ sessionId }) => sessionId === app.current.id);
    if (waiting === undefined) throw new Error('the scene has an approval');
    const other = { ...waiting, sessionId: 'other', approval: { ...waiting.approval, messageId: 'elsewhere' } };
    app.sessions.approvals = [...app.sessions.approvals, other];
    void app.current.respond(refOf(waiting.approval), true);
    expect(app.sessions.needsYou.filter(({ approval }) => approval.id === waiting.approval.id)).toEqual([other]);
  });

  it('shows an approval as decided only when the log says so', async () => {
    const { app } = await started('approval');
    const waiting = app.sessions.needsYou.find(({ sessionId }) => sessionId === app.current.id);
    if (waiting === undefined) throw new Error('the scene has an approval');
    const { id } = waiting.approval;
    const responded = app.current.respond(refOf(waiting.approval), true);
    expect(app.current.decisions.of(refOf(waiting.approval))?.approved).toBe(true);
    expect(app.sessions.needsYou.some(({ approval }) => approval.id === id)).toBe(false);
    await responded;
    await vi.waitFor(() => {
      const part = app.current.transcript?.rows.at(-1)?.parts[0]?.value;
      expect(part?.type === 'tool-call' && part.approval?.approved).toBe(true);
      expect(app.current.transcript?.rows.at(-1)?.meta.isComplete).toBe(true);
    }, 4_000);
  });

  it('keeps the text and says why when sending fails', async () => {
    const { backend, app } = await started('chat');
    backend.sendMessage = () => Promise.reject({ code: 'disk-full', message: 'The disk is full. Free some space and send again.' });
    app.composer.type('important');
    await app.send();
    expect(app.composer.text).toBe('important');
    expect(app.composer.error).toBe('The disk is full. Free some space and send again.');
  });

  it('has the first rows of each server’s list, and asks for the next ones once', async () => {
    const { backend, app } = await started('chat');
    for (let at = 0; at < 280; at += 1) backend.add(`Team ${String(at)}`, [], at, {}, 'team');
    const lists = vi.spyOn(backend, 'listSessions');
    const rows = (): number => app.sessions.heads.get('team')?.rows.length ?? 0;
    const other = app.sessions.list[0]?.id ?? '';
    await backend.renameSession(other, 'Renamed');
    await vi.waitFor(() => {
      expect(rows()).toBe(40);
    });
    expect(app.sessions.heads.get('team')?.sessions).toBe(280);
    expect(app.sessions.find(other)?.title).toBe('Renamed');
    await Promise.all([app.sessions.more('team'), app.sessions.more('team'), app.sessions.more('local')]);
    await vi.waitFor(() => {
      expect(rows()).toBe(160);
    });
    expect(lists).toHaveBeenCalledTimes(1);
    await app.sessions.more('team');
    await vi.waitFor(() => {
      expect(rows()).toBe(280);
    });
    await app.sessions.more('team');
    expect(lists).toHaveBeenCalledTimes(2);
    app.sessions.remove(other);
    expect(app.sessions.find(other)).toBeNull();
  });

  it('keeps each session’s draft apart and saves it', async () => {
    const { backend, app } = await started('chat');
    const [first, second] = app.sessions.list.map(({ id }) => id);
    if (first === undefined || second === undefined) throw new Error('the scene has sessions');
    app.composer.type('for the first');
    await app.open(second);
    expect(app.composer.text).toBe('');
    expect(backend.sessions.get(first)?.draft).toBe('for the first');
    await app.open(first);
    expect(app.composer.text).toBe('for the first');
  });

  it('asks for everything anew after a batch that does not fit, and is right again', async () => {
    const { backend, app } = await started('chat');
    const sessionId = app.current.id ?? '';
    const before = texts(app);
    const real = backend.nextDiffs.bind(backend);
    let broken = false;
    const asked: number[] = [];
    backend.nextDiffs = async (epoch, after): Promise<FeedBatch> => {
      asked.push(epoch);
      const batch = await real(epoch, after);
      if (broken || batch.reset) return batch;
      broken = true;
      return { ...batch, changes: [{ type: 'diff', sessionId, diff: { op: 'patch', index: 0, id: 'nobody', part: 0, text: '?' } }] };
    };
    await backend.renameSession(sessionId, 'Taken by the pull that was waiting');
    await vi.waitFor(() => {
      expect(asked).toHaveLength(1);
    });
    await backend.renameSession(sessionId, 'Renamed');
    await vi.waitFor(() => {
      expect(app.current.title).toBe('Renamed');
    });
    expect(new Set(asked).size).toBe(2);
    expect(texts(app)).toEqual(before);
  });

  it('goes on pulling after the host failed to answer', async () => {
    const { backend, app } = await started('chat');
    const real = backend.nextDiffs.bind(backend);
    const errors = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    let failures = 0;
    backend.nextDiffs = (epoch, after): Promise<FeedBatch> => {
      failures += 1;
      return failures === 1 ? Promise.reject(new Error('gone')) : real(epoch, after);
    };
    await backend.renameSession(app.current.id ?? '', 'One');
    await backend.renameSession(app.current.id ?? '', 'Two');
    await vi.waitFor(() => {
      expect(failures).toBeGreaterThan(1);
      expect(app.current.title).toBe('Two');
    }, 4_000);
    errors.mockRestore();
  });

  it('fetches older pages in front of the rows', async () => {
    const { app } = await started('many');
    const first = app.current.transcript?.rows[0]?.id;
    await app.current.transcript?.loadBefore();
    expect(app.current.transcript?.rows.findIndex(({ id }) => id === first)).toBe(60);
    expect(app.current.transcript?.hasMoreBefore).toBe(true);
  });

  it('shows the answer to a request in an older page, in the rows that were there', async () => {
    const backend = new ScriptedBackend('first');
    backend.pace = 0;
    const said = (at: number): Item => item('user', [text(`message ${String(at)}`)], at);
    const asking = waitingApproval(1);
    backend.first = backend.add('Far up', [said(0), asking, ...Array.from({ length: 99 }, (_, at) => said(at + 2))], 0).summary.id;
    const app = new AppState(backend, await backend.bootstrap());
    running.push(app);
    app.start();
    const before = app.current.transcript?.rows ?? [];
    expect(before).toHaveLength(60);
    await app.current.transcript?.loadBefore();
    expect(app.current.transcript?.rows).toHaveLength(101);
    expect(app.current.transcript?.rows.slice(-60)).toEqual(before);
    const [waiting] = app.sessions.needsYou;
    if (waiting === undefined) throw new Error('the session has an approval');
    await app.current.respond(refOf(waiting.approval), true);
    await vi.waitFor(() => {
      const parts = app.current.transcript?.rows[1]?.parts.map(({ value }) => value) ?? [];
      expect(parts.some((part) => part.type === 'tool-call' && part.approval?.approved === true)).toBe(true);
    });
  });

  it('goes far up and comes back to the end, and what it has meanwhile is bounded', async () => {
    const { backend, app } = await started('many');
    const { transcript } = app.current;
    if (transcript === null) throw new Error('the scene has a session');
    const end = transcript.rows.at(-1)?.id;
    for (let pages = 0; pages < 8; pages += 1) {
      const kept = transcript.rows.slice(0, 60);
      await transcript.loadBefore();
      expect(transcript.rows.slice(60, 120)).toEqual(kept);
      expect(transcript.rows.length).toBeLessThanOrEqual(300);
    }
    expect(transcript.hasMoreAfter).toBe(true);
    // What is said meanwhile is not told; it is found at the end.
    await backend.sendMessage(transcript.sessionId, 'hello');
    await vi.waitFor(() => {
      transcript.loadAfter();
      expect(transcript.hasMoreAfter).toBe(false);
    }, 4_000);
    expect(transcript.rows.findIndex(({ id }) => id === end)).toBeGreaterThan(0);
    expect(texts(app)).toContain('hello');
    expect(transcript.hasMoreBefore).toBe(true);
  });

  it('lets go of what is far above while it is at the end', async () => {
    const { backend, app } = await started('many');
    const { transcript } = app.current;
    if (transcript === null) throw new Error('the scene has a session');
    for (let pages = 0; pages < 4; pages += 1) await transcript.loadBefore();
    backend.online = false;
    for (let said = 0; said < 101; said += 1) await backend.sendMessage(transcript.sessionId, `word ${String(said)}`);
    await vi.waitFor(() => {
      expect(transcript.rows).toHaveLength(401);
    });
    transcript.settle();
    await vi.waitFor(() => {
      expect(transcript.rows).toHaveLength(300);
    });
    expect(texts(app).at(-1)).toBe('word 100');
    expect([transcript.hasMoreBefore, transcript.hasMoreAfter]).toEqual([true, false]);
  });

  it('says so when a page does not come', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { backend, app } = await started('many');
      backend.page = () => Promise.resolve();
      const loaded = app.current.transcript?.loadBefore();
      expect(app.current.transcript?.loadingBefore).toBe(true);
      await vi.advanceTimersByTimeAsync(10_000);
      await loaded;
      expect(app.current.transcript?.pageError).not.toBeNull();
      expect(app.current.transcript?.loadingBefore).toBe(false);
    } finally {
      vi.useRealTimers();
    }
  });

  it('says so when a session is not there', async () => {
    const { app } = await started('chat');
    await app.open('nobody');
    expect(app.current.openError).toBe('This session is not on this computer.');
  });

  it('opens a session where the reader was', async () => {
    const { backend, app } = await started('many');
    const { transcript } = app.current;
    if (transcript === null) throw new Error('the scene has a session');
    const place = backend.sessions.get(transcript.sessionId)?.items[100]?.id;
    localStorage.setItem(`threadkeep.place.${transcript.sessionId}`, JSON.stringify({ id: place, offset: 0 }));
    const other = app.sessions.list.find(({ id }) => id !== transcript.sessionId)?.id ?? '';
    await app.open(other);
    await app.open(transcript.sessionId);
    expect(app.current.transcript).toBe(transcript);
    await vi.waitFor(() => {
      expect(transcript.rows.map(({ id }) => id)).toContain(place);
    });
    expect([transcript.hasMoreBefore, transcript.hasMoreAfter]).toEqual([true, true]);
  });

  it('keeps a row’s identity through a reset', async () => {
    const { backend, app } = await started('chat');
    const row = app.current.transcript?.rows[0];
    await backend.showSession(app.current.id);
    await backend.renameSession(app.current.id ?? '', 'After');
    await vi.waitFor(() => {
      expect(app.current.title).toBe('After');
    });
    flushSync();
    expect(app.current.transcript?.rows[0]).toBe(row);
  });

  it('goes from a found message to its place in its session', async () => {
    const { backend, app } = await started('chat');
    const search = new SearchState(backend);
    search.type('rea');
    search.type('read');
    await vi.waitFor(() => {
      expect(search.answered).toBe('read');
    });
    expect(search.total).toBeGreaterThan(0);
    const [hit] = search.hits;
    if (hit === undefined) throw new Error('the scene has the word');
    expect(hit.snippet.slice(hit.ranges[0]?.start, hit.ranges[0]?.end).toLowerCase()).toBe('read');
    await app.goToMessage(hit);
    expect(app.current.id).toBe(hit.sessionId);
    expect(app.current.target).toEqual({ messageId: hit.messageId, approvalId: null });
  });
});
