// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Drawing, type Frames } from './drawing';
import * as lexer from './lexer';

vi.mock('./lexer', { spy: true });

/** Frames that come when the test says so, and a clock that the lexer drives: 16 ms a frame, and a millisecond for 500 letters. */
class Hand implements Frames {
  waiting: (() => void) | null = null;
  #frames = 0;

  request(draw: () => void): void {
    this.waiting = draw;
  }

  cancel(): void {
    this.waiting = null;
  }

  now(): number {
    return this.#frames * 16 + lexed().total / 500;
  }

  /** Draws a frame. Letters that were lexed in it, or null when nothing waits for one. */
  frame(): number | null {
    const draw = this.waiting;
    if (draw === null) return null;
    this.waiting = null;
    this.#frames += 1;
    const before = lexed().total;
    draw();
    return lexed().total - before;
  }
}

/** Letters handed to the lexer, together and at most at once. */
function lexed(): { total: number; longest: number } {
  const lengths = vi.mocked(lexer.lexBlocks).mock.calls.map(([source]) => source.length);
  return { total: lengths.reduce((sum, length) => sum + length, 0), longest: lengths.reduce((most, length) => Math.max(most, length), 0) };
}

const WORDS = 'The quick brown fox jumps over the lazy dog, and then it rests in the shade of an old oak tree. ';

function repeat(make: (at: number) => string, letters: number): string {
  const pieces: string[] = [];
  for (let length = 0, at = 0; length < letters; at += 1) {
    const piece = make(at);
    pieces.push(piece);
    length += piece.length;
  }
  return pieces.join('');
}

const LETTERS = 40_000;

const TEXTS: Record<string, string> = {
  'an answer of many blocks': repeat((at) => `## Part ${String(at)}\n\n${WORDS.repeat(3)}\n\n- one **${String(at)}**\n- two\n\n\`\`\`ts\nlet x = ${String(at)};\n\`\`\`\n\n`, LETTERS),
  'one paragraph': WORDS.repeat(LETTERS / WORDS.length),
  'one word': 'x'.repeat(LETTERS),
  'a paragraph of many lines': repeat(() => `${WORDS}\n`, LETTERS),
  'a list without a blank line': repeat((at) => `- item *${String(at)}* of many, with some words in it\n`, LETTERS),
  'a list in one item': `- outer\n${repeat((at) => `  - item *${String(at)}* of many\n`, LETTERS)}`,
  'a table': `| a | b |\n| --- | --- |\n${repeat((at) => `| row ${String(at)} | **${String(at)}** of many |\n`, LETTERS)}`,
  'a fence': `\`\`\`ts\n${repeat((at) => `const line${String(at)} = "some code";\n`, LETTERS)}`,
  'a fence in a list': `- a\n\n  \`\`\`ts\n${repeat((at) => `  const line${String(at)} = 1;\n`, LETTERS)}`,
  'a quote': repeat((at) => `> ${String(at)} ${WORDS}\n`, LETTERS),
  'indented code': repeat((at) => `    const line${String(at)} = 1;\n`, LETTERS),
  'html': `<div>\n${repeat((at) => `<p>${String(at)} ${WORDS}</p>\n`, LETTERS)}`,
  'brackets that never close': '[a '.repeat(LETTERS / 3),
  'formulas that never close': '\\\\( $$ '.repeat(LETTERS / 6),
  'links defined at the end': `${repeat((at) => `See [it ${String(at)}][d] and [that].\n\n`, LETTERS)}[d]: https://example.org/d\n`,
};

/** Words that a reader sees, without spaces. */
function seen(text: string): string {
  return text.replace(/\s+/g, '');
}

beforeEach(() => {
  vi.mocked(lexer.lexBlocks).mockClear();
});

afterEach(() => {
  document.body.replaceChildren();
});

// The page of these tests is slow with long lists; what counts is letters.
describe('a long text', { timeout: 30_000 }, () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    it(`is drawn at the cost of its length: ${name}`, () => {
      const root = document.createElement('div');
      const hand = new Hand();
      const drawing = new Drawing(root, hand);
      drawing.reset(text);
      drawing.close();
      // The row has the first frame for itself.
      expect(lexed().total).toBe(0);
      hand.frame();
      hand.frame();
      expect(seen(root.textContent).length).toBeGreaterThan(1_000);
      let most = 0;
      for (let letters = hand.frame(); letters !== null; letters = hand.frame()) most = Math.max(most, letters);
      expect(root.dataset['drawing']).toBeUndefined();
      expect(lexed().longest).toBeLessThan(20_000);
      expect(lexed().total).toBeLessThan(text.length * 5);
      // But for the last frame, which may draw links anew.
      if (!text.includes(']: ')) expect(most).toBeLessThan(40_000);
    });
  }

  it('shows its end as soon as its beginning, whoever reads where', () => {
    const root = document.createElement('div');
    const hand = new Hand();
    const drawing = new Drawing(root, hand);
    const text = TEXTS['an answer of many blocks'] ?? '';
    drawing.reset(text);
    const last = Array.from(text.matchAll(/^## (Part \d+)$/gm)).at(-1)?.[1] ?? '?';
    for (let frames = 0; frames < 4; frames += 1) hand.frame();
    expect(root.textContent).toContain('Part 0');
    expect(root.textContent).toContain(last);
    expect(root.dataset['drawing']).toBe('');
    // What comes now comes at the end, although the middle is not there yet.
    drawing.append('More *at the end*.');
    hand.frame();
    expect(root.textContent.endsWith('More at the end.')).toBe(true);
    drawing.close();
    while (hand.frame() !== null);
    const whole = document.createElement('div');
    const once = new Drawing(whole, hand);
    for (let at = 0; at < text.length; at += 1_000) once.append(text.slice(at, at + 1_000));
    once.append('More *at the end*.');
    once.close();
    while (hand.frame() !== null);
    expect(seen(root.textContent)).toBe(seen(whole.textContent));
    expect(root.querySelectorAll('ul, .md-heading, .md-code')).toHaveLength(whole.querySelectorAll('ul, .md-heading, .md-code').length);
  });

  it('has all of its words in the end', () => {
    for (const name of ['one paragraph', 'one word', 'a paragraph of many lines', 'a list without a blank line', 'a list in one item', 'indented code']) {
      const text = TEXTS[name] ?? '';
      const root = document.createElement('div');
      const hand = new Hand();
      const drawing = new Drawing(root, hand);
      drawing.reset(text);
      drawing.close();
      while (hand.frame() !== null);
      const plain = text.replace(/^ *- /gm, '').replace(/\*/g, '');
      const shown = seen(root.textContent).replace(/^textCopy/, '').replaceAll('textCopy', '');
      expect(shown === seen(plain), name).toBe(true);
    }
  });

  it('links what is defined at its end', () => {
    const root = document.createElement('div');
    const hand = new Hand();
    const drawing = new Drawing(root, hand);
    drawing.reset(TEXTS['links defined at the end'] ?? '');
    drawing.close();
    while (hand.frame() !== null);
    const paragraphs = Array.from(root.querySelectorAll('p'));
    expect(paragraphs.length).toBeGreaterThan(1_000);
    expect(paragraphs.filter((one) => one.querySelector('a') === null).map((one) => one.textContent)).toEqual([]);
  });

  it('shows the first screenful of a shorter one at once', () => {
    const root = document.createElement('div');
    new Drawing(root, new Hand()).reset(WORDS.repeat(200));
    expect(seen(root.textContent).length).toBeGreaterThan(1_000);
    expect(seen(root.textContent).length).toBeLessThan(5_000);
  });

  it('shows its last words with the word that it is whole', () => {
    const root = document.createElement('div');
    const hand = new Hand();
    const drawing = new Drawing(root, hand);
    drawing.reset('An answer that ');
    drawing.append('goes on ');
    drawing.append('and *ends*.');
    drawing.close();
    expect(root.textContent).toBe('An answer that goes on and ends.');
    expect(hand.waiting).toBeNull();
  });

  it('takes what comes while it is being drawn, in order', () => {
    const root = document.createElement('div');
    const hand = new Hand();
    const drawing = new Drawing(root, hand);
    drawing.reset(WORDS.repeat(300));
    hand.frame();
    drawing.append('And the end.');
    drawing.close();
    while (hand.frame() !== null);
    expect(root.textContent.endsWith('oak tree. And the end.')).toBe(true);
    expect(seen(root.textContent)).toBe(seen(`${WORDS.repeat(300)}And the end.`));
  });
});
