// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { matching, type Command } from './commands';
import { rangesOf, wordsOf } from './marks';
import { addressed, mentionAt, offered } from './mentions';
import { marksOf } from './rail';

describe('words that are looked for', () => {
  it('are marked wherever they are drawn', () => {
    expect(wordsOf('a "two words" B')).toEqual(['a', 'two words', 'b']);
    const root = document.createElement('div');
    root.append('Migration of the ', Object.assign(document.createElement('b'), { textContent: 'migration' }), ' tool');
    expect(rangesOf(root, ['migration']).map(String)).toEqual(['Migration', 'migration']);
    expect(rangesOf(root, [])).toEqual([]);
  });
});

describe('commands', () => {
  const command = (id: string, name: string, also = ''): Command => ({ id, name, also, group: 'Window', keys: [], run: () => undefined });
  const all = [command('dark', 'Dark colours', 'theme night'), command('theme', 'Colours as the system has them', 'theme'), command('pin', 'Pin the session')];

  it('are found by the beginnings of all words, the best first', () => {
    expect(matching(all, 'theme da').map(({ id }) => id)).toEqual(['dark']);
    expect(matching(all, 'col').map(({ id }) => id)).toEqual(['theme', 'dark']);
    expect(matching(all, 'in')).toEqual([]);
    expect(matching(all, ' ')).toEqual([]);
  });
});

describe('marks of the rail', () => {
  it('stand where their rows begin, and as many as can be told apart', () => {
    const row = (id: string, height: number, marked: boolean): { id: string; height: number; marked: boolean } => ({ id, height, marked });
    expect(marksOf([row('a', 100, true), row('b', 100, false), row('c', 200, true)])).toEqual([
      { id: 'a', at: 0 },
      { id: 'c', at: 0.5 },
    ]);
    expect(marksOf([])).toEqual([]);
    expect(marksOf(Array.from({ length: 10_000 }, (_, at) => row(String(at), 10, true))).length).toBeLessThan(100);
  });
});

describe('a name behind an @', () => {
  it.each([
    ['Hi @pl', 6, { sign: '@', from: 3, typed: 'pl' }],
    ['@', 1, { sign: '@', from: 0, typed: '' }],
    ['(@נו', 4, { sign: '@', from: 1, typed: 'נו' }],
    ['me@example', 10, null],
    ['@pl an', 6, null],
    ['Hi @pl', 3, null],
  ])('in %j at %i', (text, caret, mention) => {
    expect(mentionAt(text, caret)).toEqual(mention);
  });

  it('is offered by how its words begin', () => {
    const everybody = ['Release planner', 'Planner', 'Bo'].map((name) => ({ name, note: 'Agent' }));
    expect(offered(everybody, 'PL').map(({ name }) => name)).toEqual(['Planner', 'Release planner']);
    expect(offered(everybody, '')).toHaveLength(3);
  });
});

describe('a message that is being written', () => {
  const agents = [
    { agentId: 'plan', name: 'Release planner', triggers: 'user-messages' },
    { agentId: 'ann', name: null, triggers: 'mentions' },
    { agentId: 'c++', name: 'נועה', triggers: 'mentions' },
  ];

  it.each([
    ['', ['plan']],
    ['@Ann, look', ['plan', 'ann']],
    ['@ann-marie', ['plan']],
    ['@ann-', ['plan', 'ann']],
    ['ann@ann.org', ['plan']],
    ['(@ann) @c++', ['plan', 'ann', 'c++']],
    ['@נועה!', ['plan', 'c++']],
  ])('%j goes to those who need no name and those it names', (text, ids) => {
    expect(addressed(agents, text).map(({ agentId }) => agentId)).toEqual(ids);
  });
});
