import type { Links, Token, Tokens } from 'marked';

import { opensDetails } from './details';
import { lexBlocks } from './lexer';
import { opensMath } from './math';
import { pieceEnd } from './pieces';
import {
  codeBlock,
  element,
  gap,
  listShell,
  renderBlock,
  renderBlocks,
  renderListItems,
  renderTableRows,
  tableShell,
  type CodeBlock,
} from './render';
import { morphChildren } from './morph';
import { allUnheld } from './unheld';

/** Lists and tables longer than this are frozen item by item. */
const LONG = 12;
/** A paragraph longer than this, letters, is frozen sentence by sentence. */
const LONG_PARAGRAPH = 6_000;
/** Items of a list that stand in one element. */
const LONG_LIST = 200;
/** Rows of a table that stand in one element. */
const LONG_TABLE = 100;
/** Letters at the end of a long paragraph that are still open. */
const OPEN_PARAGRAPH = 600;
/** No more than this, letters, is ever open: what grows past it in no way of its own is frozen as it is. */
const MOST_OPEN = 8_000;
/** A text up to this length, letters, is lexed once more as a whole when it is closed, within a frame. */
const SHORT = 4_000;
/** A text up to this length, letters, is too, if something was frozen that its end may prove wrong. */
const EXACT = 16_000;

export interface StreamOptions {
  /** Definitions of links and footnotes that stand elsewhere. */
  links?: Links;
  /** Called with each element that is whole and holds code or formulas, and with others. May be called again with one, or with what holds it. */
  finished?: (element: HTMLElement) => void;
  /** A text longer than this, letters, is never lexed once more as a whole when it is closed. */
  exact?: number;
}

/**
 * A growing markdown text on screen, at the cost of what is new.
 *
 * Finished blocks are frozen: their DOM is never looked at again. Only the open end, the last block, is lexed again.
 * Four kinds of block grow so long that this would not do, and have a way of their own:
 *
 * - a **fence** takes its lines as they come, with no lexer, until the closing fence;
 * - a **list** freezes all but its last two items, and goes on in another element after some hundred;
 * - a **table** freezes all but its last two rows, and goes on in another element after a hundred;
 * - a **paragraph** freezes all but its last sentences.
 *
 * Whatever else stays open for too long is frozen as it is, and goes on as a block of its own. The lexer never sees more
 * than a few thousand letters at once: in JavaScriptCore its rules cost the length of what follows at every block.
 *
 * What freezing may get wrong (a list that turns out loose, a link whose definition comes later) is put right by
 * {@link close}: a text that is not too long is lexed once as a whole, of any other the blocks that may hold such a link.
 *
 * Whatever fails in here, the text is shown: from then on as it is, without any markup.
 */
export class MarkdownStream {
  readonly #root: HTMLElement;
  /** Holds the nodes of the open end, but for those of a block that grows in a way of its own; always the last child of the root while the text is open. */
  readonly #tail: HTMLElement;
  /** The whole text, kept as pieces: it is joined only for {@link close}. */
  #pieces: string[] = [];
  /** Source that is not frozen. */
  #source = '';
  readonly #given: Links;
  readonly #finished: (element: HTMLElement) => void;
  readonly #atOnce: number;
  /** The definitions in what is frozen. */
  #links: Links;
  #fence: Fence | null = null;
  #grown: Grown | null = null;
  /** What frozen blocks were made of that may hold links defined later, and where they stand among the nodes of the root. */
  #linking: { source: string; from: number; to: number }[] = [];
  /** Number of nodes before the tail. */
  #placed = 0;
  /** The next line goes on a list item that was frozen: its indent means nothing any more. */
  #adrift = false;
  /** A block was frozen that the end of the text may prove wrong. */
  #approximate = false;
  /** All of the text was lexed at once: what is drawn is what it would be as a whole. */
  #exact = true;
  /** The text ended with half of a line's end, a carriage return. */
  #halfEnd = false;
  #closed = false;
  /** The node that gets the text, without markup, after something failed. */
  #plain: Text | null = null;

  constructor(root: HTMLElement, { links = {}, finished = () => undefined, exact = EXACT }: StreamOptions = {}) {
    this.#atOnce = exact;
    this.#given = links;
    this.#links = links;
    this.#finished = finished;
    this.#root = root;
    this.#tail = document.createElement('div');
    this.#tail.className = 'md-tail';
    root.append(this.#tail);
  }

  /** Starts over with `text`. */
  reset(text: string): void {
    this.#pieces = [];
    this.#source = '';
    this.#links = this.#given;
    this.#fence = null;
    this.#grown = null;
    this.#linking = [];
    this.#placed = 0;
    this.#adrift = false;
    this.#approximate = false;
    this.#exact = true;
    this.#halfEnd = false;
    this.#closed = false;
    this.#plain = null;
    this.#tail.replaceChildren();
    this.#root.replaceChildren(this.#tail);
    this.append(text);
  }

  append(added: string): void {
    if (added === '') return;
    if (this.#closed) {
      // A message may go on after it was complete.
      this.reset(this.#pieces.join('') + added);
      return;
    }
    const text = this.#lines(added);
    this.#pieces.push(text);
    if (this.#plain !== null) {
      this.#plain.appendData(text);
      return;
    }
    this.#orPlain(() => {
      for (let from = 0; from < text.length; ) {
        const end = pieceEnd(text, from);
        if (from > 0 || this.#pieces.length > 1) this.#exact = false;
        this.#grow(text.slice(from, end));
        from = end;
      }
    });
  }

  /** `added` with its lines ended by `\n`: positions in the source are those the lexer counts. */
  #lines(added: string): string {
    const text = this.#halfEnd ? `\r${added}` : added;
    this.#halfEnd = text.endsWith('\r');
    return normalLines(this.#halfEnd ? text.slice(0, -1) : text);
  }

  /** Shows the text as it is if `draw` fails. */
  #orPlain(draw: () => void): void {
    try {
      draw();
    } catch (cause) {
      console.error('a text is shown without markup', cause);
      this.#plain = document.createTextNode(this.#pieces.join(''));
      const paragraph = element('p', 'md-plain');
      paragraph.dir = 'auto';
      paragraph.append(this.#plain);
      this.#root.replaceChildren(paragraph);
    }
  }

  #grow(text: string): void {
    if (this.#fence === null) {
      this.#source += this.#adrift ? text.trimStart() : text;
      this.#adrift = false;
      this.#update();
      return;
    }
    const rest = this.#fence.append(text);
    if (rest !== null) this.#leaveFence(rest);
  }

  /** The text is whole. */
  close(): void {
    if (this.#closed) return;
    if (this.#halfEnd) this.append('\n');
    this.#closed = true;
    const whole = this.#pieces.join('');
    this.#pieces = [whole];
    if (this.#plain === null) this.#orPlain(() => this.#end(whole));
    this.#fence = null;
    this.#grown = null;
    this.#linking = [];
    this.#source = '';
  }

  #end(whole: string): void {
    if (this.#fence !== null) this.#leaveFence('');
    else this.#define(this.#source);
    if (this.#grown !== null) this.#leaveGrown();
    // The tail's own element goes; what it holds stays where it is.
    this.#freeze(Array.from(this.#tail.childNodes));
    this.#tail.remove();
    if (this.#exact) return;
    if (whole.length <= Math.min(this.#atOnce, this.#approximate ? EXACT : SHORT)) {
      morphChildren(this.#root, renderBlocks(lexBlocks(whole, this.#given).tokens));
    } else {
      this.#relink();
    }
    this.#finished(this.#root);
  }

  #lex(source: string): Token[] {
    return lexBlocks(source, this.#links).tokens;
  }

  /** Takes what comes before `rest`, the end of the source: it is frozen. */
  #take(rest: string): void {
    this.#define(this.#source.slice(0, this.#source.length - rest.length));
    this.#source = rest;
  }

  /** Remembers the definitions in `source`, which is frozen: in the open end, half an address looks like one. */
  #define(source: string): void {
    if (source.includes(']:')) this.#links = lexBlocks(source, this.#links).links;
  }

  /** Draws the blocks anew that may hold a link whose definition came after them. */
  #relink(): void {
    if (Object.keys(this.#links).length === 0) return;
    const nodes = Array.from(this.#root.childNodes);
    for (const { source, from, to } of this.#linking) {
      const [first, ...others] = nodes.slice(from, to).filter((node) => node instanceof HTMLElement);
      for (const other of others) {
        other.previousSibling?.remove();
        other.remove();
      }
      first?.replaceWith(allUnheld(renderBlocks(this.#lex(source))));
    }
  }

  #update(): void {
    if (this.#grown !== null) {
      const source = this.#grown.update(this.#source, (text) => this.#lex(text));
      this.#take(this.#grown.pending);
      if (source !== null) {
        this.#bound(true);
        return;
      }
      this.#leaveGrown();
    }

    const tokens = this.#lex(this.#source);
    const last = firstOpen(tokens);
    // A line that has only begun is open, even if it is blank so far: what follows may be indented.
    const lines = this.#source.lastIndexOf('\n') + 1;
    const cut = last > 0 && mayFreezeBefore(tokens, last) ? Math.min(positionOf(tokens, last, this.#source), last === tokens.length ? lines : Infinity) : 0;
    if (cut > 0) {
      const done = flatten(renderBlocks(tokens.splice(0, last)));
      const source = this.#source.slice(0, cut);
      this.#take(this.#source.slice(cut));
      // Those on screen are drawn where they stand, then moved as they are.
      const drawn = done.splice(0, this.#tail.childNodes.length);
      morphChildren(this.#tail, done.length > 0 ? drawn : [...drawn, ...renderBlocks(tokens)]);
      const from = this.#placed;
      this.#freeze(Array.from(this.#tail.childNodes).slice(0, drawn.length));
      if (done.length > 0) {
        this.#add(done);
        morphChildren(this.#tail, renderBlocks(tokens));
      }
      if (source.includes('[')) this.#linking.push({ source, from, to: this.#placed });
    }

    const open = tokens[lastBlock(tokens)];
    if (open?.type === 'code' && lastBlock(tokens) === 0 && this.#enterFence(open as Tokens.Code)) return;
    if (open !== undefined && tokens.length <= 2) {
      if (open.type === 'list' && (open as Tokens.List).items.length > LONG) {
        this.#approximate = true;
        this.#grown = new GrownList(open as Tokens.List, this.#source, this.#place);
        this.#take(this.#grown.pending);
        return;
      }
      if (open.type === 'table' && (open as Tokens.Table).rows.length > LONG) {
        this.#grown = new GrownTable(open as Tokens.Table, this.#source, this.#place);
        this.#take(this.#grown.pending);
        return;
      }
      if (open.type === 'paragraph' && open.raw.length > LONG_PARAGRAPH) {
        this.#approximate = true;
        this.#grown = new GrownParagraph(this.#source, this.#place, (text) => this.#lex(text));
        this.#take(this.#grown.pending);
        return;
      }
    }
    if (cut === 0) morphChildren(this.#tail, renderBlocks(tokens));
    this.#bound(open?.type === 'list');
  }

  /** Freezes what has been open for too long: it is drawn already, and what comes begins a block. */
  #bound(inList: boolean): void {
    const { length } = this.#source;
    if (length <= MOST_OPEN || (!this.#source.endsWith('\n') && length <= MOST_OPEN * 2)) return;
    this.#approximate = true;
    if (this.#grown === null) this.#freeze(Array.from(this.#tail.childNodes));
    else this.#leaveGrown();
    this.#take('');
    this.#adrift = inList;
  }

  /** Moves the blocks among `nodes` out of the tail. */
  #freeze(nodes: Node[]): void {
    for (const node of nodes) {
      if (!(node instanceof HTMLElement)) {
        (node as ChildNode).remove();
        continue;
      }
      this.#insert(node);
      this.#finished(node);
    }
  }

  /** Adds blocks that are whole before the tail, with the gaps between them. */
  #add(nodes: Node[]): void {
    const blocks = nodes.filter((node) => node instanceof HTMLElement);
    if (blocks.length === 0) return;
    const all = allUnheld(blocks.flatMap((block, at) => (at === 0 ? [block] : [gap(), block])));
    const toFinish = blocks.flatMap((block, at) => (isMadeUp(block) ? [all.children[at] as HTMLElement] : []));
    this.#insert(all);
    for (const block of toFinish) this.#finished(block);
  }

  #insert(block: HTMLElement | DocumentFragment): void {
    const before = this.#tail.previousSibling;
    const apart = before instanceof HTMLElement && !before.classList.contains('md-continued');
    if (apart) this.#root.insertBefore(gap(), this.#tail);
    this.#placed += (apart ? 1 : 0) + (block instanceof DocumentFragment ? block.childNodes.length : 1);
    this.#root.insertBefore(block, this.#tail);
  }

  /** Puts a block that grows where it stays: to move a long one costs as much as drawing it. What it stands for goes. */
  readonly #place = (block: HTMLElement): void => {
    this.#tail.replaceChildren();
    this.#insert(block);
  };

  #leaveGrown(): void {
    const block = this.#grown?.finish();
    this.#grown = null;
    if (block !== undefined) this.#finished(block);
  }

  /** Goes over to taking lines, if the open block is a fence that has not been closed. */
  #enterFence(code: Tokens.Code): boolean {
    const opening = /^( {0,3})(`{3,}|~{3,})[^\n]*\n/.exec(code.raw);
    const marker = opening?.[2];
    if (opening === null || marker === undefined || isClosed(code.raw, marker)) return false;
    const fence = new Fence(marker, opening[1]?.length ?? 0, code.lang ?? '');
    this.#place(fence.root);
    this.#fence = fence;
    const start = this.#source.indexOf(code.raw);
    const rest = fence.append(this.#source.slice(start + opening[0].length));
    this.#source = '';
    if (rest !== null) this.#leaveFence(rest);
    return true;
  }

  #leaveFence(rest: string): void {
    const fence = this.#fence;
    this.#fence = null;
    fence?.close();
    if (fence !== null) this.#finished(fence.root);
    this.#source = rest;
    if (rest !== '') this.#update();
  }
}

/** An open fence: its complete lines are shown, a line that may yet turn out to be the closing one is held back. */
class Fence {
  readonly #block: CodeBlock;
  readonly #marker: string;
  readonly #indent: number;
  #held = '';
  #lineStart = true;

  constructor(marker: string, indent: number, info: string) {
    this.#marker = marker;
    this.#indent = indent;
    this.#block = codeBlock(info);
  }

  get root(): HTMLElement {
    return this.#block.root;
  }

  /** Null while the fence is open, else what comes after it. */
  append(text: string): string | null {
    const all = this.#held + text;
    this.#held = '';
    for (let from = 0; from < all.length; ) {
      const end = all.indexOf('\n', from);
      const line = all.slice(from, end === -1 ? all.length : end + 1);
      if (this.#lineStart) {
        if (end === -1 && this.#mayClose(line)) {
          this.#held = line;
          return null;
        }
        if (end !== -1 && this.#closes(line)) return all.slice(end + 1);
      }
      this.#block.append(this.#lineStart ? this.#outdent(line) : line);
      this.#lineStart = end !== -1;
      if (end === -1) return null;
      from = end + 1;
    }
    return null;
  }

  close(): void {
    if (this.#held !== '' && !this.#closes(this.#held)) this.#block.append(this.#held);
    this.#held = '';
  }

  #closes(line: string): boolean {
    const text = line.trim();
    return text.length >= this.#marker.length && text === (this.#marker[0] ?? '`').repeat(text.length) && !/^ {4}/.test(line);
  }

  /** Whether more letters could make this a closing line. */
  #mayClose(line: string): boolean {
    const mark = this.#marker[0] ?? '`';
    return /^ {0,3}$/.test(line) || new RegExp(`^ {0,3}\\${mark}+[ \\t]*$`).test(line);
  }

  #outdent(line: string): string {
    let cut = 0;
    while (cut < this.#indent && /[ \t]/.test(line.charAt(cut))) cut += 1;
    return line.slice(cut);
  }
}

/** A block that is frozen from its beginning on while it grows. */
interface Grown {
  /** The source that is not frozen. */
  pending: string;
  /** The source that is left, or null when the block is over. */
  update(source: string, lex: (source: string) => Token[]): string | null;
  /** Ends it. Returns the element whose text was still open. */
  finish(): HTMLElement;
}

/** Puts an element on screen behind all others. */
type Place = (block: HTMLElement) => void;

/**
 * A long paragraph of which only the last sentences are still source.
 *
 * Drawn as several elements that stand together as one: a web view lays out the whole of an element when a word is
 * added to it.
 */
class GrownParagraph implements Grown {
  readonly #place: Place;
  #root: HTMLElement;
  #open: Node[] = [];
  pending: string;

  constructor(source: string, place: Place, lex: (source: string) => Token[]) {
    this.#place = place;
    this.#root = element('p');
    this.#root.dir = 'auto';
    this.pending = source;
    place(this.#root);
    this.#take(lex);
  }

  update(source: string, lex: (source: string) => Token[]): string | null {
    this.pending = source;
    if (!source.includes('\n')) {
      // Nothing ends a paragraph within a line.
      this.#take(lex);
      return this.pending;
    }
    const tokens = lex(source).filter((token) => token.type !== 'space');
    const [first, ...others] = tokens;
    if (first?.type !== 'paragraph') {
      this.#clear();
      return null;
    }
    if (others.length > 0) {
      this.#clear();
      this.#root.append(allUnheld(childrenOf(first)));
      this.pending = source.slice(positionOf(tokens, 1, source));
      return null;
    }
    this.#take(lex);
    return this.pending;
  }

  finish(): HTMLElement {
    this.#open = [];
    return this.#root;
  }

  #clear(): void {
    for (const node of this.#open.splice(0)) (node as ChildNode).remove();
  }

  /** Goes on in an element of its own. */
  #continue(): void {
    const { dir } = this.#root;
    this.#root.classList.add('md-continued');
    this.#root = element('p');
    this.#root.dir = dir;
    this.#place(this.#root);
  }

  /** Freezes all but the end. Markup that goes over the cut is shown as it was written. */
  #take(lex: (source: string) => Token[]): void {
    this.#clear();
    if (this.pending.length > 2 * OPEN_PARAGRAPH) {
      const cut = wordEnd(this.pending, this.pending.length - OPEN_PARAGRAPH);
      this.#root.append(allUnheld(inlines(this.pending.slice(0, cut), lex)));
      this.pending = this.pending.slice(cut);
      if (this.#root.textContent.length > LONG_PARAGRAPH) this.#continue();
    }
    this.#open = inlines(this.pending, lex);
    this.#root.append(...this.#open);
  }
}

/** The place to cut `text` near `at`: before a word that begins no block of its own. */
function wordEnd(text: string, at: number): number {
  for (let cut = at; cut > at - OPEN_PARAGRAPH && cut > 0; cut -= 1) {
    if (/\s/.test(text.charAt(cut - 1)) && /[\p{L}(]/u.test(text.charAt(cut))) return cut;
  }
  return /[\ud800-\udbff]/.test(text.charAt(at - 1)) ? at - 1 : at;
}

/** A stretch of a paragraph, drawn; the space at its end, which the lexer drops, stays. */
function inlines(text: string, lex: (source: string) => Token[]): Node[] {
  const space = /\s*$/.exec(text)?.[0] ?? '';
  const tokens = lex(text).filter((token) => token.type !== 'space');
  const [first] = tokens;
  const nodes = tokens.length === 1 && first?.type === 'paragraph' ? childrenOf(first) : [document.createTextNode(text.trimEnd())];
  return space === '' ? nodes : [...nodes, document.createTextNode(space)];
}

function childrenOf(token: Token): Node[] {
  return Array.from(renderBlock(token)?.childNodes ?? []);
}

/** A long list of which only the last two items are still source. Drawn as several that stand together as one, as a paragraph is. */
class GrownList implements Grown {
  readonly #place: Place;
  #root: HTMLElement;
  readonly #ordered: boolean;
  readonly #open: HTMLElement[] = [];
  pending: string;

  constructor(list: Tokens.List, source: string, place: Place) {
    const { root } = listShell(list);
    this.#place = place;
    this.#root = root;
    this.#ordered = list.ordered;
    this.pending = source;
    place(root);
    this.#take(list, source);
  }

  update(source: string, lex: (source: string) => Token[]): string | null {
    this.pending = source;
    const tokens = lex(source).filter((token) => token.type !== 'space');
    const [first, ...others] = tokens;
    if (first?.type !== 'list' || (first as Tokens.List).ordered !== this.#ordered) return null;
    if (others.length > 0) {
      for (const node of this.#open.splice(0)) node.remove();
      this.#root.append(allUnheld(renderListItems(first as Tokens.List)));
      this.pending = source.slice(positionOf(tokens, 1, source));
      return null;
    }
    this.#take(first as Tokens.List, source);
    return this.pending;
  }

  finish(): HTMLElement {
    this.#open.length = 0;
    return this.#root;
  }

  #take(list: Tokens.List, source: string): void {
    const frozen = Math.max(0, list.items.length - 2);
    const items = renderListItems(list);
    // The open items are morphed where they are; the rest is appended.
    const holder = document.createElement('div');
    holder.append(...this.#open);
    const added = items.splice(this.#open.length);
    morphChildren(holder, items);
    const open = added.splice(Math.max(0, frozen - items.length));
    const old = Array.from(holder.children) as HTMLElement[];
    this.#root.append(...old, allUnheld(added), ...open);
    this.#open.splice(0, this.#open.length, ...old.slice(frozen), ...open);
    this.pending = source.slice(positionOf(list.items, frozen, source));
    if (this.#root.childElementCount > LONG_LIST) this.#continue();
  }

  /** Goes on in an element of its own, with the items that are open. */
  #continue(): void {
    const before = this.#root;
    this.#root = before.cloneNode(false) as HTMLElement;
    if (before instanceof HTMLOListElement && this.#root instanceof HTMLOListElement) {
      this.#root.start = before.start + before.childElementCount - this.#open.length;
    }
    before.classList.add('md-continued');
    this.#place(this.#root);
    this.#root.append(...this.#open);
  }
}

/**
 * A long table of which only the head and the last two rows are still source.
 *
 * Drawn as several tables under each other, whose columns are as wide as those of the first: a web view looks at every
 * cell of a table anew when a row is added, to find out how wide its columns are.
 */
class GrownTable implements Grown {
  readonly #root: HTMLElement;
  #body: HTMLElement;
  readonly #head: string;
  #open: HTMLElement[] = [];
  pending = '';

  constructor(table: Tokens.Table, source: string, place: Place) {
    const { root, body } = tableShell(table);
    this.#root = root;
    this.#body = body;
    const lines = source.slice(source.indexOf(table.raw)).split('\n');
    this.#head = lines.slice(0, 2).join('\n') + '\n';
    place(root);
    this.#take(table, lines.slice(2).join('\n'));
  }

  update(source: string, lex: (source: string) => Token[]): string | null {
    this.pending = source;
    const tokens = lex(this.#head + source).filter((token) => token.type !== 'space');
    const [first, ...others] = tokens;
    if (first?.type !== 'table') return null;
    if (others.length > 0) {
      this.#show(first as Tokens.Table, (first as Tokens.Table).rows.length);
      this.pending = (this.#head + source).slice(first.raw.length);
      return null;
    }
    this.#take(first as Tokens.Table, source);
    return this.pending;
  }

  finish(): HTMLElement {
    this.#open = [];
    return this.#root;
  }

  /** Shows the rows instead of those that were open. Those from `frozen` on are open from now on. */
  #show(table: Tokens.Table, frozen: number): void {
    for (const node of this.#open) node.remove();
    const rows = renderTableRows(table);
    this.#open = rows.splice(frozen);
    this.#body.append(allUnheld(rows), ...this.#open);
  }

  #take(table: Tokens.Table, rowsSource: string): void {
    const frozen = Math.max(0, table.rows.length - 2);
    this.#show(table, frozen);
    this.pending = rowsSource.split('\n').slice(frozen).join('\n');
    if (this.#body.childElementCount > LONG_TABLE) this.#continue();
  }

  /** Goes on in a table of its own, with the rows that are open. */
  #continue(): void {
    const before = this.#body.parentElement;
    if (before === null) return;
    fixColumns(before);
    const table = before.cloneNode(false) as HTMLElement;
    const columns = before.querySelector('colgroup');
    if (columns !== null) table.append(columns.cloneNode(true));
    this.#body = element('tbody');
    this.#body.append(...this.#open);
    table.append(this.#body);
    this.#root.append(table);
  }
}

/** Keeps the columns of a table as wide as they are, in proportion to it. */
function fixColumns(table: HTMLElement): void {
  if (table.querySelector('colgroup') !== null) return;
  const { width } = table.getBoundingClientRect();
  // It is not on screen: its columns become equal.
  if (width === 0) return;
  const columns = element('colgroup');
  for (const cell of Array.from(table.querySelectorAll('th'))) {
    const column = element('col');
    column.style.width = `${String((cell.getBoundingClientRect().width / width) * 100)}%`;
    columns.append(column);
  }
  table.prepend(columns);
  table.style.tableLayout = 'fixed';
  // A table that is wider than its box stays so.
  if (width > (table.parentElement?.clientWidth ?? width)) table.style.width = `${String(width)}px`;
}

/** The index of the first token that more text may change, or the number of tokens where none is left open. */
function firstOpen(tokens: Token[]): number {
  const last = lastBlock(tokens);
  const token = tokens[last];
  // The title of a definition may stand in the line after it.
  const titled = token?.type === 'paragraph' || (token as Tokens.Code | undefined)?.codeBlockStyle === 'indented';
  if (titled && tokens[last - 1]?.type === 'def' && !endsBlank(tokens[last - 1])) return last - 1;
  // A formula over several lines reads as other blocks until it is closed.
  const math = tokens.findIndex((token, at) => at < last && token.type === 'paragraph' && opensMath(token.raw, rawFrom(tokens, at)));
  if (math !== -1) return math;
  // What is to be opened reads as other blocks until it is closed.
  const details = tokens.findIndex((token, at) => token.type === 'html' && at < last && opensDetails(token.raw, rawFrom(tokens, at)));
  if (details !== -1) return details;
  // A fence that was closed, with its line ended, is whole.
  if (token?.type === 'code' && last < tokens.length - 1) {
    const marker = /^ {0,3}(`{3,}|~{3,})/.exec(token.raw)?.[1];
    if (marker !== undefined && isClosed(token.raw, marker)) return tokens.length;
  }
  return last;
}

/**
 * The place where token `index` begins in `source`; 0 when that cannot be told. Tokens do not always hold all of their source
 * (the lexer drops blank ends of lists), so each is looked for behind the one before.
 */
function positionOf(tokens: readonly { raw: string }[], index: number, source: string): number {
  let from = 0;
  for (const [at, { raw }] of tokens.entries()) {
    const start = source.indexOf(raw, from);
    if (start === -1) return 0;
    if (at === index) return start;
    from = start + raw.length;
  }
  return from;
}

/** Whether a blank line comes after `token`. */
function endsBlank(token: Token | undefined): boolean {
  return token?.type === 'space' || /\n[ \t]*\n$/.test(token?.raw ?? '');
}

/** The source of all tokens from `index` on. */
function rawFrom(tokens: readonly Token[], index: number): string {
  return tokens.slice(index).map(({ raw }) => raw).join('');
}

/** Whether something is made of it once it is whole: of its code, of its formulas. */
function isMadeUp(block: HTMLElement): boolean {
  return block.matches('.md-code, .md-math') || block.querySelector('.md-code, .md-math') !== null;
}

function flatten(nodes: Node[]): Node[] {
  return nodes.flatMap((node) => (node instanceof DocumentFragment ? Array.from(node.childNodes) : [node]));
}

/** The index of the last token that is more than blank lines, or -1. */
function lastBlock(tokens: Token[]): number {
  for (let index = tokens.length - 1; index >= 0; index -= 1) {
    if (tokens[index]?.type !== 'space') return index;
  }
  return -1;
}

/**
 * Whether what comes before token `last` is sure to stay as it is.
 *
 * A list may go on after a blank line, and its next marker is at first read as a paragraph ("-", "12"): wait for more.
 */
function mayFreezeBefore(tokens: Token[], last: number): boolean {
  if (last === tokens.length) return true;
  // A line that is not over may yet go on the paragraph before it: `___` and `___ so`.
  if (!rawFrom(tokens, last).endsWith('\n') && !endsBlank(tokens[last - 1])) return false;
  const before = tokens[lastBlock(tokens.slice(0, last))];
  if (before?.type !== 'list' && before?.type !== 'blockquote') return true;
  const raw = tokens[last]?.raw ?? '';
  return raw.includes('\n') || raw.trim().length > 10 || !/^[\s\d.)*+>-]*$/.test(raw);
}

function isClosed(raw: string, marker: string): boolean {
  const lines = raw.trimEnd().split('\n');
  const last = lines.at(-1)?.trim() ?? '';
  return lines.length > 1 && last.length >= marker.length && last === (marker[0] ?? '`').repeat(last.length);
}

/** `text` with its lines ended by `\n`, and without the letter that no text has. */
function normalLines(text: string): string {
  return text.replace(/\r\n?/g, '\n').replaceAll('\0', '\ufffd');
}

/** A whole text at once. */
export function renderMarkdown(text: string): Node[] {
  return renderBlocks(lexBlocks(normalLines(text)).tokens);
}

