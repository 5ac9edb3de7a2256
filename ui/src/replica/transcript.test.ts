import { describe, expect, it } from 'vitest';

import type { Diff, Item, ItemMeta, Part } from '../ipc/contract';
import { TranscriptReplica } from './transcript';

function item(id: string, parts: Part[] = [{ type: 'text', text: id }]): Item {
  return {
    id,
    role: 'assistant',
    actorId: null,
    createdAt: null,
    isComplete: false,
    parts,
    error: null,
    stopped: null,
    finishReason: null,
    hasGap: false,
    refused: 0,
    delivery: null,
  };
}

function metaOf(source: Item, change: Partial<ItemMeta>): ItemMeta {
  const meta: ItemMeta & { id?: unknown; parts?: unknown } = { ...source, ...change };
  delete meta.id;
  delete meta.parts;
  return meta;
}

function ids(replica: TranscriptReplica): string[] {
  return replica.items.map(({ id }) => id);
}

function filled(...names: string[]): TranscriptReplica {
  const replica = new TranscriptReplica();
  replica.apply({ op: 'reset', items: names.map((name) => item(name)), hasMoreBefore: true });
  return replica;
}

describe('folding', () => {
  it('appends growing text to the part it names', () => {
    const replica = filled('a', 'b');
    expect(replica.apply({ op: 'patch', index: 1, id: 'b', part: 0, text: '!' })).toEqual({
      kind: 'text',
      at: 1,
      part: 0,
      text: '!',
    });
    expect(replica.items[1]?.parts[0]).toEqual({ type: 'text', text: 'b!' });
  });

  it('adds a part at the end and replaces one that is there', () => {
    const replica = filled('a');
    replica.apply({ op: 'part', index: 0, id: 'a', part: 1, value: { type: 'reasoning', text: 'hm' } });
    replica.apply({ op: 'part', index: 0, id: 'a', part: 0, value: { type: 'text', text: 'new' } });
    expect(replica.items[0]?.parts).toEqual([
      { type: 'text', text: 'new' },
      { type: 'reasoning', text: 'hm' },
    ]);
  });

  it('changes what is known about an item and leaves its parts', () => {
    const replica = filled('a');
    const before = item('a');
    replica.apply({ op: 'meta', index: 0, id: 'a', item: metaOf(before, { isComplete: true }) });
    expect(replica.items[0]).toEqual({ ...before, isComplete: true });
  });

  it('reports a diff that does not fit instead of guessing', () => {
    const replica = filled('a', 'b');
    expect(replica.apply({ op: 'patch', index: 0, id: 'b', part: 0, text: 'x' })).toEqual({ kind: 'stale' });
    expect(replica.apply({ op: 'patch', index: 1, id: 'b', part: 3, text: 'x' })).toEqual({ kind: 'stale' });
    expect(replica.apply({ op: 'part', index: 0, id: 'a', part: 2, value: { type: 'text', text: '' } })).toEqual({ kind: 'stale' });
    expect(replica.apply({ op: 'insert', index: 5, item: item('z') })).toEqual({ kind: 'stale' });
    expect(replica.apply({ op: 'remove', index: 2 })).toEqual({ kind: 'stale' });
    expect(ids(replica)).toEqual(['a', 'b']);
  });

  it('gives what the host has, for any run of diffs', () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const random = generator(seed);
      const host: Item[] = [item('s0'), item('s1')];
      const replica = new TranscriptReplica();
      replica.apply({ op: 'reset', items: structuredClone(host), hasMoreBefore: false });
      for (let step = 0; step < 120; step += 1) {
        const diff = randomEdit(host, random, `${String(seed)}.${String(step)}`);
        expect(replica.apply(structuredClone(diff)).kind, `seed ${String(seed)}, step ${String(step)}`).not.toBe('stale');
      }
      expect(replica.items, `seed ${String(seed)}`).toEqual(host);
    }
  });
});

describe('moving on', () => {
  it('puts older rows in front, and edits count from them', () => {
    const replica = filled('c', 'd');
    const moved = replica.apply({ op: 'extend', side: 'before', items: [item('a'), item('b')], hasMore: false });
    expect(moved).toEqual({ kind: 'extend', side: 'before', count: 2 });
    expect(replica.hasMoreBefore).toBe(false);
    replica.apply({ op: 'patch', index: 0, id: 'a', part: 0, text: '+' });
    replica.apply({ op: 'remove', index: 2 });
    replica.apply({ op: 'insert', index: 3, item: item('e') });
    expect(ids(replica)).toEqual(['a', 'b', 'd', 'e']);
    expect(replica.items[0]?.parts[0]).toEqual({ type: 'text', text: 'a+' });
  });

  it('puts newer rows behind, until the end is followed', () => {
    const replica = filled('a');
    replica.hasMoreAfter = true;
    replica.apply({ op: 'extend', side: 'after', items: [item('b')], hasMore: true });
    expect(replica.hasMoreAfter).toBe(true);
    replica.apply({ op: 'extend', side: 'after', items: [], hasMore: false });
    expect(replica.hasMoreAfter).toBe(false);
    expect(ids(replica)).toEqual(['a', 'b']);
  });

  it('lets rows go at either side, and says that there are more', () => {
    const replica = filled('a', 'b', 'c', 'd');
    replica.hasMoreBefore = false;
    expect(replica.apply({ op: 'trim', side: 'before', count: 1 })).toEqual({ kind: 'trim', side: 'before', count: 1 });
    replica.apply({ op: 'trim', side: 'after', count: 2 });
    expect(ids(replica)).toEqual(['b']);
    expect([replica.hasMoreBefore, replica.hasMoreAfter]).toEqual([true, true]);
    expect(replica.apply({ op: 'trim', side: 'after', count: 2 })).toEqual({ kind: 'stale' });
    expect(ids(replica)).toEqual(['b']);
  });
});

function generator(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) >>> 0;
    return state % below;
  };
}

/** Edits `host` at random and returns the diff that says how. */
function randomEdit(host: Item[], random: (below: number) => number, name: string): Diff {
  const index = random(Math.max(1, host.length));
  const target = host[index];
  const kind = target === undefined ? 0 : random(9);
  if (target === undefined || kind === 0) {
    const at = random(host.length + 1);
    const fresh = item(name);
    host.splice(at, 0, fresh);
    return { op: 'insert', index: at, item: fresh };
  }
  switch (kind) {
    case 1:
      host.splice(index, 1);
      return { op: 'remove', index };
    case 2: {
      host[index] = item(target.id, [{ type: 'text', text: name }]);
      return { op: 'set', index, item: host[index] };
    }
    case 3: {
      const part = random(target.parts.length + 1);
      const value: Part = { type: 'text', text: name };
      target.parts[part] = value;
      return { op: 'part', index, id: target.id, part, value };
    }
    case 4: {
      const side = random(2) === 0 ? 'before' : 'after';
      const items = Array.from({ length: random(4) }, (_, at) => item(`${name}.${String(at)}`));
      host.splice(side === 'before' ? 0 : host.length, 0, ...items);
      return { op: 'extend', side, items, hasMore: random(2) === 0 };
    }
    case 5: {
      const count = random(Math.min(4, host.length));
      const side = random(2) === 0 ? 'before' : 'after';
      host.splice(side === 'before' ? 0 : host.length - count, count);
      return { op: 'trim', side, count };
    }
    case 6: {
      Object.assign(target, { isComplete: !target.isComplete });
      return { op: 'meta', index, id: target.id, item: metaOf(target, {}) };
    }
    default: {
      const part = random(target.parts.length);
      const grown = target.parts[part];
      if (grown?.type === 'text') grown.text += name;
      return { op: 'patch', index, id: target.id, part, text: name };
    }
  }
}
