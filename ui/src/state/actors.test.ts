import { describe, expect, it } from 'vitest';

import { Actors } from './actors';

describe('who is who', () => {
  it('knows this person under the name that a server gives to the token, on that server only', () => {
    const named = { id: 'team', name: 'Team', url: 'https://team.example', me: 'ann', forgotten: false };
    const connection = { state: 'live' as const, code: null, message: null, retryAt: null, syncedAt: null };
    const actors = new Actors('u-1', { homeOf: (session) => (session?.startsWith('team/') === true ? { ...named, connection } : null) });
    expect(actors.isOwn('ann', 'team/s')).toBe(true);
    expect(actors.isOwn('u-1', 'team/s')).toBe(false);
    expect(actors.isOwn('u-1', 'local/s')).toBe(true);
    expect(actors.isOwn('ann', 'local/s')).toBe(false);
  });
});
