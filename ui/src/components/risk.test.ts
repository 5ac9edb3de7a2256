import { describe, expect, it } from 'vitest';

import { riskOf, type Risk } from './risk';

describe('what a call seems to do', () => {
  const table: [Risk, string, unknown][] = [
    ['read', 'read_file', { path: 'a' }],
    ['read', 'readFile', { path: 'a' }],
    ['read', 'fs.list-files', {}],
    ['read', 'bash', { command: 'ls -la | grep x && git status' }],
    ['write', 'edit_file', { path: 'a' }],
    ['write', 'shell', { command: 'echo hi > a.txt' }],
    ['write', 'bash', { command: 'cat a | tee b' }],
    ['network', 'web_search', { query: 'x' }],
    ['network', 'read_page', { url: 'https://example.org' }],
    ['network', 'bash', { command: 'npm install' }],
    ['run', 'bash', { command: './deploy-it' }],
    ['run', 'bash', { command: 'cat $(which x)' }],
    ['run', 'bash', { command: 'ls\nsudo ls' }],
    ['irreversible', 'delete_file', { path: 'a' }],
    ['irreversible', 'get_and_delete', {}],
    ['irreversible', 'bash', { command: 'ls; rm -rf /' }],
    ['irreversible', 'bash', { command: 'ls\nrm -rf /' }],
    ['irreversible', 'bash', { command: 'git push --force' }],
    ['irreversible', 'bash', { command: 'find . -delete' }],
    ['irreversible', 'bash', { command: 'echo $(rm -rf /)' }],
    ['irreversible', 'request', { url: 'https://example.org', method: 'DELETE' }],
    ['unknown', 'frobnicate', {}],
    ['unknown', '', null],
  ];
  it.each(table)('is %s: %s %j', (risk, tool, input) => {
    expect(riskOf(tool, input)).toBe(risk);
  });

  it('is never a read when a command with another meaning is put into it', () => {
    for (const sign of [';', '&&', '||', '|', '\n', '&']) expect(riskOf('bash', { command: `ls ${sign} rm x` })).toBe('irreversible');
    for (const hidden of ['`rm x`', '$(rm x)', '<(rm x)']) expect(riskOf('bash', { command: `cat ${hidden}` })).not.toBe('read');
  });
});
