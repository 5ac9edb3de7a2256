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

describe('pages before', () => {
  it('stay in front of the host’s list, which counts from its own first item', () => {
    const replica = filled('c', 'd');
    expect(replica.prepend([item('a'), item('b')], false)).toBe(2);
    replica.apply({ op: 'patch', index: 0, id: 'c', part: 0, text: '+' });
    replica.apply({ op: 'insert', index: 2, item: item('e') });
    replica.apply({ op: 'remove', index: 1 });
    expect(ids(replica)).toEqual(['a', 'b', 'c', 'e']);
    expect(replica.items[2]?.parts[0]).toEqual({ type: 'text', text: 'c+' });
    expect(replica.hasMoreBefore).toBe(false);
  });

  it('are not doubled when a page overlaps what is there', () => {
    const replica = filled('b', 'c');
    expect(replica.prepend([item('a'), item('b')], true)).toBe(1);
    expect(ids(replica)).toEqual(['a', 'b', 'c']);
  });

  it('survive a reset that goes on from a row that is known', () => {
    const replica = filled('c', 'd');
    replica.prepend([item('a'), item('b')], false);
    replica.apply({ op: 'reset', items: [item('d'), item('e')], hasMoreBefore: true });
    expect(ids(replica)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(replica.olderCount).toBe(3);
    expect(replica.hasMoreBefore).toBe(false);
    expect(replica.apply({ op: 'patch', index: 1, id: 'e', part: 0, text: '+' })).toMatchObject({ kind: 'text', at: 4 });
  });

  it('go when a reset leaves a hole, or starts at the beginning', () => {
    const hole = filled('c', 'd');
    hole.prepend([item('b')], true);
    hole.apply({ op: 'reset', items: [item('x')], hasMoreBefore: true });
    expect(ids(hole)).toEqual(['x']);

    const start = filled('c', 'd');
    start.prepend([item('b')], true);
    start.apply({ op: 'reset', items: [item('c')], hasMoreBefore: false });
    expect(ids(start)).toEqual(['c']);
    expect(start.hasMoreBefore).toBe(false);
  });
});

describe('rows that were let go', () => {
  it('keep the host’s count right', () => {
    const replica = filled('a', 'b', 'c', 'd');
    expect(replica.trim(2)).toBe(2);
    expect(replica.hasMoreBefore).toBe(true);
    expect(replica.apply({ op: 'patch', index: 0, id: 'a', part: 0, text: 'x' })).toEqual({ kind: 'none' });
    expect(replica.apply({ op: 'patch', index: 3, id: 'd', part: 0, text: 'x' })).toMatchObject({ at: 1 });
    replica.apply({ op: 'insert', index: 0, item: item('z') });
    expect(replica.apply({ op: 'patch', index: 4, id: 'd', part: 0, text: 'x' })).toMatchObject({ at: 1 });
    replica.apply({ op: 'remove', index: 0 });
    expect(replica.apply({ op: 'patch', index: 3, id: 'd', part: 0, text: 'x' })).toMatchObject({ at: 1 });
  });

  it('take part again when a page brought them back', () => {
    const replica = filled('a', 'b', 'c');
    replica.trim(1);
    replica.prepend([item('a'), item('b')], false);
    expect(ids(replica)).toEqual(['a', 'b', 'c']);
    expect(replica.apply({ op: 'patch', index: 1, id: 'b', part: 0, text: '+' })).toMatchObject({ kind: 'text', at: 1 });
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
  const kind = target === undefined ? 0 : random(6);
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
