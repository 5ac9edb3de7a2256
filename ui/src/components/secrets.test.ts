import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { secretsIn, withoutSecrets } from './secrets';

describe('secrets', () => {
  it.each([
    ['ghp_abcdefghijklmnopqrstuvwxyz0123456789', null],
    ['curl -H "Authorization: Bearer abcdefghijklmnop" x', null],
    ['sk-ant-api03-abcdefghijklmnopqrst', null],
    ['AKIAABCDEFGHIJKLMNOP', null],
    ['postgres://ana:hunter22@db/x', null],
    ['PASSWORD=hunter22 npm start', null],
    ['{"api_key": "abcdefgh"}', null],
    ['-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----', null],
    ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghij', null],
    ['hunter22', 'password'],
    ['hunter22', 'dbPassword'],
    ['abcd1234', 'X-Api-Key'],
  ])('are masked: %s in %s', (text, name) => {
    expect(secretsIn(text, name).some(({ mask }) => mask !== null)).toBe(true);
    expect(withoutSecrets(text, name)).not.toContain('hunter22');
  });

  it.each([
    ['npm test', 'command'],
    ['4096', 'max_tokens'],
    ['the token of my esteem', null],
    ['4096', 'token'],
    ['src/secret.ts', 'path'],
    ['rm -rf / --please do', 'password'],
  ])('are nothing that one must read: %s in %s', (text, name) => {
    expect(secretsIn(text, name).every(({ mask }) => mask === null)).toBe(true);
  });

  it('are parts of the text: nothing is lost, and no space is masked', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'B', '1', ' ', '=', ':', '"', 'ghp_', 'token', 'sk-', 'password', '\n', '@', '://') , maxLength: 60 }), (text) => {
        const pieces = secretsIn(text);
        expect(pieces.map((piece) => piece.text).join('')).toBe(text);
        for (const { text: secret, mask } of pieces) if (mask !== null) expect(secret.slice(mask.replace(/•+$/, '').length)).not.toMatch(/\s/);
      }),
      { numRuns: 300 },
    );
  });
});
