import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { countOf, diffLines, editsOf, shortened } from './diff';

const text = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 }).map((lines) => lines.join('\n'));

describe('a comparison', () => {
  it('has the text before and the text after, whatever they are', () => {
    fc.assert(
      fc.property(text, text, (before, after) => {
        const lines = diffLines(before, after);
        const without = (kind: string): string => lines.filter((line) => line.kind !== kind).map((line) => line.text).join('\n');
        expect(without('added')).toBe(before);
        expect(without('removed')).toBe(after);
      }),
      { numRuns: 500 },
    );
  });

  it('changes no more than it must', () => {
    expect(diffLines('a\nb\nc', 'a\nx\nc').map(({ kind, text: line }) => `${kind} ${line}`)).toEqual(['same a', 'removed b', 'added x', 'same c']);
    expect(diffLines('a\nb\nc\nd', 'b\nc\nd\ne').filter(({ kind }) => kind === 'same')).toHaveLength(3);
  });

  it('of ten thousand lines that all differ takes no time', () => {
    const many = (word: string): string => Array.from({ length: 10_000 }, (_, at) => `${word} ${String(at)}`).join('\n');
    const from = performance.now();
    expect(countOf({ path: null, lines: diffLines(many('a'), many('b')) })).toEqual({ added: 10_000, removed: 10_000 });
    expect(performance.now() - from).toBeLessThan(2_000);
  });

  it('leaves out what did not change, and says how much', () => {
    const before = Array.from({ length: 40 }, (_, at) => String(at)).join('\n');
    const short = shortened(diffLines(before, before.replace('\n20\n', '\ntwenty\n')));
    expect(short).toHaveLength(10);
    expect(short.filter(({ kind }) => kind === 'skipped').map((line) => line.text)).toEqual(['17', '16']);
  });
});

describe('an edit in a call', () => {
  it.each([
    [{ path: 'a', old_string: 'x', new_string: 'y' }, 1],
    [{ file_path: 'a', oldText: 'x', newText: 'y' }, 1],
    [{ file_path: 'a', edits: [{ old_string: 'x', new_string: 'y' }, { old_string: 'p', new_string: 'q' }] }, 2],
    [{ patch: '--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y' }, 1],
    [{ patch: '*** Begin Patch\n*** Update File: a\n-x\n+y\n*** End Patch' }, 1],
  ])('is found in %j', (input, edits) => {
    const found = editsOf(input);
    expect(found?.edits).toHaveLength(edits);
    for (const edit of found?.edits ?? []) expect(countOf(edit)).toEqual({ added: 1, removed: 1 });
  });

  it.each([[{ command: 'ls' }], [{ old: 1, new: 2 }], [null], ['old new'], [{ edits: [{ line: 1 }] }], [{ patch: 'no patch' }]])('is not found in %j', (input) => {
    expect(editsOf(input)).toBeNull();
  });

  it('leaves no argument untold', () => {
    const input = { path: 'a', old_string: 'x', new_string: 'y', replace_all: true, edits: [{ old_string: 'x', new_string: 'y', extra: 1 }] };
    expect([...(editsOf(input)?.told ?? [])].sort()).toEqual(['new_string', 'old_string', 'path']);
  });

  it('whose file hides letters in its name is told with them', () => {
    expect(editsOf({ path: 'a\u202eb', old_string: 'x', new_string: 'y' })?.told.has('path')).toBe(false);
  });
});
