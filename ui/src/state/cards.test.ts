import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { JsonValue, Part } from '../ipc/contract';
import { contextIn, plansIn, planWords, remarkOf } from './cards';

const data = (name: string, value: JsonValue, id: string | null = 'main'): Part => ({ type: 'data', name, id, data: value });

describe('cards of an agent', () => {
  it('are read whatever it sends', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (one, other, third) => {
        for (const value of [one, { entries: one, markdown: other, removed: third }, { entries: [{ content: one, status: other }] }, { used: one, size: other, cost: third }, { cost: { amount: 1, currency: one } , used: 1, size: 2 }, { severity: one, title: other, signIn: { methods: [third] } }] as JsonValue[]) {
          const parts = [data('acp.plan', value), data('acp.usage', value)];
          for (const plan of plansIn(parts)) expect(plan.entries.every(({ text }) => typeof text === 'string')).toBe(true);
          const use = contextIn(parts);
          if (use !== null) expect(use.size > 0 && use.used >= 0).toBe(true);
          for (const name of ['acp.notice', 'acp.compaction', 'acp.raw']) expect(typeof (remarkOf(name, value)?.title ?? '')).toBe('string');
        }
      }),
    );
  });

  it('say how far a plan is; one that is given up is none', () => {
    const entries = [{ content: 'a', status: 'completed' }, { content: 'b', status: 'in_progress' }, { content: 'c' }, { odd: 1 }];
    const [plan] = plansIn([data('acp.plan', { entries })]);
    expect(plan === undefined ? '' : planWords(plan)).toBe('Plan · 1 of 3 done');
    expect(plan?.entries.map(({ state }) => state)).toEqual(['completed', 'in_progress', 'pending']);
    expect(plansIn([data('acp.plan', { entries, removed: true }), data('acp.plan', {})])).toEqual([]);
  });

  it('say how much of its memory is taken, by the last word', () => {
    expect(contextIn([data('acp.usage', { used: 1, size: 10 }), data('acp.usage', { used: 5, size: 10, cost: { amount: 0.5, currency: 'USD' } })])).toMatchObject({ used: 5, size: 10 });
    expect(contextIn([data('acp.usage', { used: 5, size: 0 })])).toBeNull();
  });
});
