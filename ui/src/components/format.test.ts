import { describe, expect, it } from 'vitest';

import { numbersOf, plural } from './format';

describe('numbers', () => {
  it('have separators, also where the system has no language', () => {
    expect(numbersOf('en-US-u-va-posix').format(1_000_004)).toBe('1,000,004');
    expect(numbersOf('de').format(1_000_004)).toBe('1.000.004');
    expect(plural(1, 'message')).toBe('1 message');
  });
});
