import { describe, expect, it } from 'vitest';

import { FollowPolicy } from './follow';

const viewport = 800;

function at(top: number, content = 2_000): { top: number; viewport: number; content: number } {
  return { top, viewport, content };
}

describe('following', () => {
  it('ends with the first input upward, before anything has scrolled', () => {
    const policy = new FollowPolicy();
    policy.moved(at(1_200));
    policy.inputUp(at(1_200));
    expect(policy.following).toBe(false);
    // The first pixels of a smooth scroll are still near the end.
    expect(policy.scrolled(at(1_197))).toBe(false);
  });

  it('does not end where there is nothing to scroll', () => {
    const policy = new FollowPolicy();
    policy.inputUp(at(0, 500));
    expect(policy.following).toBe(true);
  });

  it('begins again within 8 px of the end, going down', () => {
    const policy = new FollowPolicy();
    policy.inputUp(at(1_200));
    policy.scrolled(at(900));
    expect(policy.scrolled(at(1_180))).toBe(false);
    expect(policy.scrolled(at(1_193))).toBe(true);
  });

  it('is not lost when the content shrinks or the view grows', () => {
    const policy = new FollowPolicy();
    policy.moved(at(1_200));
    expect(policy.scrolled(at(900, 1_720))).toBe(true);
    policy.moved(at(1_200));
    expect(policy.scrolled({ top: 1_000, viewport: 900, content: 2_000 })).toBe(true);
  });

  it('ends when something without input scrolls up', () => {
    const policy = new FollowPolicy();
    policy.moved(at(1_200));
    expect(policy.scrolled(at(600))).toBe(false);
  });

  it('stays free while others write', () => {
    const policy = new FollowPolicy();
    policy.inputUp(at(1_200));
    policy.scrolled(at(700));
    policy.moved(at(700, 5_000));
    expect(policy.scrolled(at(700, 6_000))).toBe(false);
  });
});
