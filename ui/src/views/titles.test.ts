import { describe, expect, it } from 'vitest';

import type { SessionSummary } from '../ipc/contract';
import { titlesWith } from './titles';

function named(title: string): SessionSummary {
  return { id: title, title, createdAt: null, lastActivityAt: null, preview: null, state: 'idle', unread: 0, pendingApprovals: 0, draft: null };
}

const SESSIONS = [named('Twenty approvals'), named('Reise nach Split'), named('שלום עולם'), named('Weekly report')];

describe('titles', () => {
  it('are found by any of their words, in any case and order', () => {
    expect(titlesWith(SESSIONS, 'twenty').map(({ session }) => session.title)).toEqual(['Twenty approvals']);
    expect(titlesWith(SESSIONS, 'APPRO twen').map(({ session }) => session.title)).toEqual(['Twenty approvals']);
    expect(titlesWith(SESSIONS, '"weekly').map(({ session }) => session.title)).toEqual(['Weekly report']);
    expect(titlesWith(SESSIONS, 'עולם')).toHaveLength(1);
    expect(titlesWith(SESSIONS, 'weekly split')).toEqual([]);
    expect(titlesWith(SESSIONS, '  ')).toEqual([]);
  });

  it('show where', () => {
    expect(titlesWith(SESSIONS, 'split')[0]?.pieces).toEqual([
      { text: 'Reise nach ', hit: false },
      { text: 'Split', hit: true },
    ]);
  });
});
