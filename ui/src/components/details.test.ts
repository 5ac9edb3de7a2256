import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { detailsOf } from './details';
import { allows, plainOption, scopeOf } from './options';

describe('details of a call', () => {
  it('are read whatever an agent sends', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (kind, locations, content, output) => {
        for (const details of [kind, { kind, locations, content, output, exit: output }, { locations: [locations], content: [content], output: { text: output }, exit: { code: kind, signal: content } }]) {
          const read = detailsOf(details);
          expect(typeof read.output).toBe('string');
          expect(read.exit === null || typeof read.exit === 'number').toBe(true);
          expect(read.places.every(({ path }) => path !== '')).toBe(true);
        }
      }),
    );
  });

  it('have the lines of a patch, and its counts also where it was too long to be told', () => {
    const { edits } = detailsOf({
      content: [
        { type: 'diff', path: 'a', patch: '@@ -1,2 +1,2 @@\n one\n-two\n+three\n', added: 1, removed: 1 },
        { type: 'diff', path: 'b', patch: '', added: 9_000, removed: 0, truncated: true },
      ],
    });
    expect(edits.map(({ path, lines, counts, cut }) => [path, lines.map(({ kind }) => kind), counts, cut])).toEqual([
      ['a', ['same', 'same', 'removed', 'added'], { added: 1, removed: 1 }, undefined],
      ['b', [], { added: 9_000, removed: 0 }, true],
    ]);
  });
});

describe('options of a request', () => {
  const option = (name: string, kind: string, optionId = name): { name: string; kind: string; optionId: string } => ({ name, kind, optionId });

  // What five agents were seen to offer.
  it.each([
    [option('Allow once', 'allow_once'), 'only this time'],
    [option('Always allow', 'allow_always', 'always'), 'without asking again, as the agent remembers it'],
    [option('Allow for this session', 'allow_always', 'proceed_always'), 'without asking again in this session'],
    [option('Always Allow in project: touch *', 'allow_always', 'proceed_always_project'), 'without asking again in this project'],
    [option('Always Allow for user: touch *', 'allow_always', 'proceed_always_user'), 'without asking again everywhere on that computer'],
    [option('No, and tell Codex what to do differently', 'reject_once', 'cancel'), 'only this time'],
    [option('Never', 'reject_always'), 'refused without asking again, as the agent remembers it'],
    [option('Maybe', 'shrug'), 'as its agent understands it'],
  ])('say how far they reach: %j', (one, scope) => {
    expect(scopeOf(one)).toBe(scope);
  });

  it('that last are never what a plain yes or no means, in whatever order they come', () => {
    const kinds = ['allow_once', 'allow_always', 'reject_once', 'reject_always', 'shrug', ''];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...kinds)), fc.boolean(), (some, approved) => {
        const options = some.map((kind, at) => option(`option ${String(at)}`, kind));
        const plain = plainOption(options, approved);
        if (plain === null) expect(some.includes(approved ? 'allow_once' : 'reject_once')).toBe(false);
        else expect([allows(plain), plain.kind.endsWith('_once')]).toEqual([approved, true]);
      }),
    );
  });
});
