import { describe, expect, it } from 'vitest';

import { ansiPieces } from './ansi';
import { editsOf, shortened } from './diff';
import { outputOf } from './output';
import { plainWords } from './payload';
import { riskOf } from './risk';
import { secretsIn } from './secrets';

/** As much as is read of a text at a time. */
const SIZE = 24_000;
/** What makes a pattern try again from every letter, if anything does. */
const SEEDS = ['a', 'a-', 'a.', 'eyJ', 'sk-', 'ghp_', 'password ', 'token', 'token=', 'Bearer ', 'a://', 'a://b:', '-----BEGIN PRIVATE KEY-----', '\u001b]', '\u001b[', '\u001b[3', '\r', ' \r', '$(', '`', '**', '[', '[a](', '|', '> ', '\n', '@@ ', '{"a":'];

describe('what is read of a call', () => {
  it.each(SEEDS)('takes no time, whatever is sent: %j', (seed) => {
    const text = seed.repeat(Math.ceil(SIZE / seed.length));
    const from = performance.now();
    secretsIn(text);
    secretsIn(text, 'password');
    ansiPieces(text);
    plainWords(text);
    riskOf(text, { command: text });
    outputOf({ command: 'ls' }, text);
    const edits = editsOf({ old_string: text, new_string: `${text}x`, patch: `@@\n+${text}` });
    for (const { lines } of edits?.edits ?? []) shortened(lines);
    // Each takes a few ms; a pattern that goes back takes minutes.
    expect(performance.now() - from).toBeLessThan(3_000);
  });
});
