import { untrack } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';

import type { Item, ItemMeta, Part } from '../ipc/contract';

/** Where growing text is drawn: an element that takes appends. */
export interface TextSink {
  reset(text: string): void;
  append(text: string): void;
  close(): void;
}

/** Letters of growing text that are state. */
const HEAD = 200;
/** A part that has more letters than this when it is first seen began long before. */
const SHORT = 400;

/**
 * One part of a message.
 *
 * Its value is state; growing text is not, be it words, thoughts or the arguments of a call: what is appended goes to the
 * sinks, past the reactive graph, so that a token costs its own length and not the message's.
 */
export class PartCell {
  value = $state.raw<Part>({ type: 'text', text: '' });
  /** The beginning of the growing text, for whoever draws one line of it. */
  head = $state('');
  /** Nothing more is expected in this part. */
  closed = $state(false);
  /** When it began, as far as this window saw that; null of what was over when it came. ms */
  readonly began: number | null;
  /** How long it grew while this window looked on, ms; null where it did not. */
  took = $state<number | null>(null);
  readonly #sinks = new Set<TextSink>();

  constructor(value: Part, closed: boolean) {
    this.value = value;
    this.closed = closed;
    this.began = closed || growing(value).length > SHORT ? null : Date.now();
    this.head = growing(value).slice(0, HEAD);
  }

  get text(): string {
    const { value } = this;
    return value.type === 'text' || value.type === 'reasoning' ? value.text : '';
  }

  /**
   * Gives `sink` the text so far, and what comes. Returns how to end it. The sink hears of every change: an effect that
   * calls this depends on none, or it would run again, and draw all of the text anew, when the part ends.
   */
  attach(sink: TextSink): () => void {
    this.#sinks.add(sink);
    untrack(() => {
      this.#draw(sink, () => {
        sink.reset(growing(this.value));
        if (this.closed) sink.close();
      });
    });
    return () => this.#sinks.delete(sink);
  }

  /** The replica has appended `text` to `value`, which is this part as it holds it. */
  grew(value: Part, text: string): void {
    if (this.value !== value) this.value = value;
    if (this.head.length < HEAD) this.head = growing(value).slice(0, HEAD);
    this.#each((sink) => sink.append(text));
  }

  set(value: Part): void {
    const before = growing(this.value);
    const now = growing(value);
    const same = this.value.type === value.type;
    this.value = value;
    if (!same || now === before) return;
    this.head = now.slice(0, HEAD);
    this.#each((sink) => {
      if (before !== '' && now.startsWith(before)) sink.append(now.slice(before.length));
      else sink.reset(now);
    });
  }

  setClosed(closed: boolean): void {
    if (closed === this.closed) return;
    this.closed = closed;
    if (closed && this.began !== null) this.took = Date.now() - this.began;
    if (closed) this.#each((sink) => sink.close());
  }

  #each(draw: (sink: TextSink) => void): void {
    for (const sink of this.#sinks) this.#draw(sink, () => draw(sink));
  }

  /** A sink that fails gets no more and holds up no other: who feeds this part would take the failure for its own, and feed it twice. */
  #draw(sink: TextSink, draw: () => void): void {
    try {
      draw();
    } catch (cause) {
      this.#sinks.delete(sink);
      console.error('a text is not drawn any further', cause);
    }
  }
}

/** The text in a part that grows; empty for a part that comes whole. */
function growing(part: Part): string {
  switch (part.type) {
    case 'text':
    case 'reasoning':
      return part.text;
    case 'tool-call':
      return part.arguments;
    default:
      return '';
  }
}

/** What can be folded in a row: one of its parts, a run of quiet steps, or the whole of a long message. */
export type FoldKind = 'part' | 'steps' | 'whole';

/** One message on screen. Lives as long as its item does, whatever the diffs that change it. */
export class Row {
  readonly id: string;
  meta = $state.raw<ItemMeta>() as ItemMeta;
  parts = $state.raw<PartCell[]>([]);
  /** What was opened or closed by hand. */
  readonly #folds = new SvelteMap<string, boolean>();
  /** This window sent it: it was seen on its way. */
  own = false;

  constructor(item: Item) {
    this.id = item.id;
    this.meta = metaOf(item);
    this.own = item.delivery !== null;
    this.parts = item.parts.map((part, index) => new PartCell(part, isClosed(item, index)));
  }

  /** Takes the item's whole present content. */
  set(item: Item): void {
    this.meta = metaOf(item);
    this.own ||= item.delivery !== null;
    const cells = this.parts.slice(0, item.parts.length);
    item.parts.forEach((part, index) => {
      const cell = cells[index];
      if (cell === undefined) cells.push(new PartCell(part, isClosed(item, index)));
      else cell.set(part);
    });
    this.parts = cells;
    this.#close(item);
  }

  setMeta(item: Item): void {
    this.meta = metaOf(item);
    this.own ||= item.delivery !== null;
    this.#close(item);
  }

  setPart(item: Item, index: number): void {
    const part = item.parts[index];
    if (part === undefined) return;
    const cell = this.parts[index];
    if (cell === undefined) this.parts = [...this.parts, new PartCell(part, isClosed(item, index))];
    else cell.set(part);
    this.#close(item);
  }

  /** Whether something was opened by hand, or closed; null where nobody did. `key` tells things of one kind apart. */
  fold(kind: FoldKind, key = 0): boolean | null {
    return this.#folds.get(foldKey(kind, key)) ?? null;
  }

  setFold(kind: FoldKind, key: number, open: boolean): void {
    this.#folds.set(foldKey(kind, key), open);
  }

  #close(item: Item): void {
    this.parts.forEach((cell, index) => {
      cell.setClosed(isClosed(item, index));
    });
  }
}

function foldKey(kind: FoldKind, key: number): string {
  return `${kind} ${String(key)}`;
}

function isClosed(item: Item, index: number): boolean {
  return item.isComplete || index < item.parts.length - 1;
}

function metaOf(item: Item): ItemMeta {
  const meta: ItemMeta & { id?: unknown; parts?: unknown } = { ...item };
  delete meta.id;
  delete meta.parts;
  return meta;
}
