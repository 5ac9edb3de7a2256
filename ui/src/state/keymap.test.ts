// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from 'vitest';

import { Appearance } from './appearance.svelte';
import { chordOf, Keymap, writes } from './keymap.svelte';
import { Shelf } from './shelf.svelte';
import { Trail } from './trail.svelte';

beforeEach(() => {
  localStorage.clear();
});

const NONE = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, isComposing: false };

describe('keys', () => {
  it.each([
    [{ key: 'a', ctrlKey: true, shiftKey: true }, 'Ctrl+Shift+A'],
    [{ key: 'A', ctrlKey: true, shiftKey: true }, 'Ctrl+Shift+A'],
    [{ key: 'k', metaKey: true }, 'Ctrl+K'],
    [{ key: '?', shiftKey: true }, '?'],
    [{ key: '+', ctrlKey: true, shiftKey: true }, 'Ctrl++'],
    [{ key: '=', ctrlKey: true }, 'Ctrl+='],
    [{ key: 'F3', shiftKey: true }, 'Shift+F3'],
    [{ key: 'ArrowUp', altKey: true }, 'Alt+ArrowUp'],
    [{ key: 'Shift', shiftKey: true }, null],
    [{ key: 'a', isComposing: true }, null],
  ])('%j are %s', (event, chord) => {
    expect(chordOf({ ...NONE, ...event })).toBe(chord);
  });

  it('that write are left to whoever writes', () => {
    expect(writes('?')).toBe(true);
    expect(writes('Shift+A')).toBe(true);
    expect(writes('Ctrl+?')).toBe(false);
    expect(writes('F6')).toBe(false);
  });

  it('of a command can be chosen, and are kept; what is stored badly is forgotten', () => {
    const keymap = new Keymap();
    expect(keymap.of('new', ['Ctrl+N'])).toEqual(['Ctrl+N']);
    keymap.set('new', ['Ctrl+Y']);
    expect(new Keymap().of('new', ['Ctrl+N'])).toEqual(['Ctrl+Y']);
    new Keymap().set('new', null);
    expect(new Keymap().isChanged('new')).toBe(false);
    localStorage.setItem('threadkeep.keys', '{"new":[1],"stop":["Ctrl+."]}');
    expect(new Keymap().of('new', ['Ctrl+N'])).toEqual(['Ctrl+N']);
  });
});

describe('how the window looks', () => {
  it('is kept, and anything else that is stored is the usual', () => {
    const root = document.createElement('div');
    const appearance = new Appearance(root);
    appearance.setTheme('dark');
    appearance.zoom(1);
    appearance.setCompact(true);
    expect([root.dataset['theme'], root.style.fontSize, root.dataset['density']]).toEqual(['dark', '110%', 'compact']);
    const again = new Appearance(document.createElement('div'));
    expect([again.theme, again.textSize, again.compact]).toEqual(['dark', 110, true]);
    localStorage.setItem('threadkeep.textSize', '5000');
    localStorage.setItem('threadkeep.theme', '"url(x)"');
    const other = new Appearance(document.createElement('div'));
    expect([other.theme, other.textSize]).toEqual(['system', 100]);
  });

  it('grows to an end', () => {
    const appearance = new Appearance(document.createElement('div'));
    for (let times = 0; times < 20; times += 1) appearance.zoom(1);
    expect(appearance.textSize).toBe(200);
    expect(appearance.canZoom(1)).toBe(false);
    appearance.zoom(0);
    expect(appearance.textSize).toBe(100);
  });
});

describe('the shelf', () => {
  it('keeps pinned ones in order and archived ones away, and neither twice', () => {
    const shelf = new Shelf();
    shelf.pin('b', 'Two');
    shelf.pin('a', 'One');
    shelf.archive('b');
    expect(new Shelf().pinned).toEqual([['a', 'One']]);
    expect(new Shelf().isArchived('b')).toBe(true);
    shelf.pin('b', 'Two');
    expect(shelf.isArchived('b')).toBe(false);
    shelf.forget('a');
    expect(new Shelf().pinned).toEqual([['b', 'Two']]);
  });
});

describe('the way through sessions', () => {
  it('goes back and forward, and anew from where one is', () => {
    const trail = new Trail();
    for (const id of ['a', 'b', 'c']) trail.visit(id);
    expect([trail.go(-1), trail.go(-1), trail.go(-1), trail.go(1)]).toEqual(['b', 'a', null, 'b']);
    trail.visit('d');
    expect(trail.peek(1)).toBeNull();
    expect(trail.peek(-1)).toBe('b');
    trail.forget('b');
    expect(trail.peek(-1)).toBe('a');
  });
});
