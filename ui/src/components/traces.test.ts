import { describe, expect, it } from 'vitest';

import { call } from '../ipc/scripted/content';
import type { Part } from '../ipc/contract';
import { filesIn, toolsIn } from './traces';

const row = (id: string, ...parts: Part[]): { id: string; parts: { value: Part }[] } => ({ id, parts: parts.map((value) => ({ value })) });
const rows = [
  row('a', { type: 'text', text: 'hi' }, call('read', { path: 'a.ts' }), call('read', { file_path: 'b.ts' }, { state: 'failed', error: 'No' })),
  row('b', call('edit', { path: 'a.ts', text: '' }), call('odd', ['a']), call('none', null)),
  row('c', { type: 'file', url: 'data:image/png;base64,AA==', mediaType: 'image/png', filename: 'chart.png' }),
];

describe('traces of what agents did', () => {
  it('are the tools with their calls, the most used first', () => {
    expect(toolsIn(rows).slice(0, 2)).toEqual([
      { name: 'read', calls: 2, failed: 1, last: 'a' },
      { name: 'edit', calls: 1, failed: 0, last: 'b' },
    ]);
  });

  it('are the files that calls named and those in messages, the last first', () => {
    expect(filesIn(rows)).toEqual([
      { name: 'chart.png', calls: 0, picture: true, last: 'c' },
      { name: 'a.ts', calls: 2, picture: false, last: 'b' },
      { name: 'b.ts', calls: 1, picture: false, last: 'a' },
    ]);
  });
});
