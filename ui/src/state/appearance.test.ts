// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { Appearance } from './appearance.svelte';

/** What the system asks for, and how it asks for something else. */
function system(): { ask: (query: string) => void } {
  const queries = new Map<string, { matches: boolean; tell: () => void }>();
  vi.stubGlobal('matchMedia', (query: string) => {
    const list = { matches: false, tell: () => undefined, addEventListener: (_: string, hear: () => undefined) => (list.tell = hear) };
    queries.set(query, list);
    return list;
  });
  return {
    ask(query) {
      const list = queries.get(query);
      if (list === undefined) throw new Error(`nobody asked for ${query}`);
      list.matches = true;
      list.tell();
    },
  };
}

beforeEach(() => {
  localStorage.clear();
});

describe('contrast and motion', () => {
  it.each([
    ['contrast', '(prefers-contrast: more)', 'more'],
    ['motion', '(prefers-reduced-motion: reduce)', 'less'],
  ])('%s is what the system asks for, at once', (name, query, value) => {
    const asked = system();
    const root = document.createElement('div');
    new Appearance(root);
    expect(root.dataset[name]).toBe('usual');
    asked.ask(query);
    expect(root.dataset[name]).toBe(value);
  });

  it('are what the person chose, also after the next start', () => {
    system();
    const before = new Appearance(document.createElement('div'));
    before.setMoreContrast(true);
    before.setLessMotion(true);
    const root = document.createElement('div');
    const after = new Appearance(root);
    expect(root.dataset).toMatchObject({ contrast: 'more', motion: 'less' });
    after.setLessMotion(false);
    expect(root.dataset).toMatchObject({ contrast: 'more', motion: 'usual' });
  });
});
