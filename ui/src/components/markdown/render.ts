import { decodeHTMLStrict } from 'entities/decode';
import type { Token, Tokens } from 'marked';

import type { Details } from './details';
import { formulaOf } from './math';
import type { Note } from './notes';
import { allowedUrl, hostOf } from './urls';

/**
 * Marked's tokens as DOM.
 *
 * Safe by construction: elements are created by name from the fixed set below and text goes in as text. Nothing here
 * reads HTML, so there is nothing to sanitise. Raw HTML is shown as the text it is, but for `<br>`, `<details>` and a few tags without
 * attributes that only say how a word looks (`<kbd>`, `<sub>`, …), an image as a link
 * that says so, a formula as its source, which `formulas.ts` sets in type later.
 */
export function renderBlocks(tokens: Token[]): Node[] {
  const nodes: Node[] = [];
  for (const token of tokens) {
    const node = renderBlock(token);
    if (node === null) continue;
    if (nodes.length > 0) nodes.push(gap());
    nodes.push(node);
  }
  return nodes;
}

/** The gap between two blocks: unseen, but the last word of one and the first of the next are not one word. */
export function gap(): Text {
  return document.createTextNode('\n');
}

export function renderBlock(token: Token): Node | null {
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'heading': {
      const { depth, tokens } = token as Tokens.Heading;
      // A message is not a page: its headings stand below the window's own, and all at one level, because what an agent
      // begins with is any of the six.
      const heading = element('h3', 'md-heading');
      heading.dataset['depth'] = String(depth);
      heading.dir = 'auto';
      heading.append(...renderInlines(tokens));
      return heading;
    }
    case 'paragraph': {
      const paragraph = element('p');
      paragraph.dir = 'auto';
      paragraph.append(...renderInlines((token as Tokens.Paragraph).tokens));
      // The indent of a first line is nothing.
      if (paragraph.firstChild instanceof Text) paragraph.firstChild.data = paragraph.firstChild.data.replace(/^[ \t]+/, '');
      return paragraph;
    }
    case 'code': {
      const { text, lang } = token as Tokens.Code;
      const block = codeBlock(lang ?? '');
      block.append(text);
      return block.root;
    }
    case 'blockquote': {
      const { raw, tokens } = token as Tokens.Blockquote;
      const quote = element('blockquote');
      const alert = ALERT.exec(raw)?.[1]?.toLowerCase();
      if (alert === undefined) {
        quote.dir = directionOf(raw);
        quote.append(...renderBlocks(tokens));
        return quote;
      }
      quote.dir = directionOf(raw.replace(ALERT, ''));
      quote.dataset['alert'] = alert;
      const title = element('p', 'md-alert');
      title.textContent = alert.slice(0, 1).toUpperCase() + alert.slice(1);
      const blocks = renderBlocks(tokens.map((block, at) => (at === 0 ? withoutMark(block) : block)));
      quote.append(title, ...(blocks.length > 0 ? [gap()] : []), ...blocks);
      return quote;
    }
    case 'list': {
      const { root, items } = listShell(token as Tokens.List);
      items.append(...renderListItems(token as Tokens.List));
      return root;
    }
    case 'table': {
      const shell = tableShell(token as Tokens.Table);
      shell.body.append(...renderTableRows(token as Tokens.Table));
      return shell.root;
    }
    case 'hr':
      return element('hr');
    case 'html': {
      const paragraph = element('p', 'md-html');
      paragraph.dir = 'auto';
      paragraph.append(...withBreaks(token.raw.trimEnd()));
      return paragraph;
    }
    case 'mathBlock': {
      const { text, after } = token as Tokens.Generic & { text: string; after: string };
      const block = element('div', 'md-formula');
      block.append(formula(text), after);
      return block;
    }
    case 'details': {
      const { open, summary, tokens } = token as Tokens.Generic & Details;
      const details = element('details', 'md-details');
      if (open) details.setAttribute('open', '');
      const head = element('summary');
      head.dir = 'auto';
      head.append(...(summary.length > 0 ? renderInlines(summary) : ['Details']));
      const blocks = renderBlocks(tokens);
      details.append(head, ...(blocks.length > 0 ? [gap()] : []), ...blocks);
      return details;
    }
    case 'note': {
      const { label, tokens } = token as Tokens.Generic & Note;
      const note = element('div', 'md-note');
      note.dir = directionOf(token.raw.slice(label.length + 4));
      note.dataset['note'] = label;
      note.setAttribute('role', 'doc-footnote');
      const mark = element('span', 'md-note-label');
      mark.textContent = `[${label}]`;
      const body = element('div');
      body.append(...renderBlocks(tokens));
      note.append(mark, body);
      return note;
    }
    case 'text': {
      // The content of a tight list item.
      const span = document.createDocumentFragment();
      const { tokens, text } = token as Tokens.Text;
      if (tokens === undefined) span.append(unescapeEntities(text));
      else span.append(...renderInlines(tokens));
      return span;
    }
    default: {
      const paragraph = element('p');
      paragraph.dir = 'auto';
      paragraph.textContent = token.raw;
      return paragraph;
    }
  }
}

/** A quote that says what kind of remark it is: `> [!NOTE]`. */
const ALERT = /^ {0,3}>[ \t]*\[!(note|tip|important|warning|caution)\][ \t]*(?=\n|$)/i;

/** The first block of a remark without the mark of its kind. */
function withoutMark(block: Token): Token {
  if (block.type !== 'paragraph') return block;
  const [first, ...rest] = (block as Tokens.Paragraph).tokens;
  if (first?.type !== 'text') return block;
  const text = (first as Tokens.Text).text.replace(/^[ \t]*\[![a-z]+\][ \t]*\n?/i, '');
  const left: Token[] = text === '' ? rest : [{ ...first, text, raw: text } as Token, ...rest];
  if (left[0]?.type === 'br') left.shift();
  return left.length === 0 ? { type: 'space', raw: '' } : { ...block, tokens: left } as Token;
}

/** Tags that mean nothing but how a word looks, and are read where they are whole and have no attributes. */
const PLAIN_TAG = /^<(\/?)(kbd|sub|sup|mark|u|ins|s)>$/i;
/** Tags in tags that are read; what is deeper is text. */
const DEEPEST_TAG = 8;

function renderInlines(tokens: Token[]): Node[] {
  if (!tokens.some(({ type, raw }) => type === 'html' && PLAIN_TAG.test(raw))) return tokens.map(renderInline);
  const ends = pairsOf(tokens);
  const stretch = (from: number, to: number): Node[] => {
    const nodes: Node[] = [];
    for (let at = from; at < to; at += 1) {
      const token = tokens[at];
      if (token === undefined) continue;
      const end = ends.get(at);
      if (end === undefined) {
        nodes.push(renderInline(token));
        continue;
      }
      const node = element(token.raw.slice(1, -1).toLowerCase());
      node.append(...stretch(at + 1, end));
      nodes.push(node);
      at = end;
    }
    return nodes;
  };
  return stretch(0, tokens.length);
}

/** Where each plain tag that is closed ends. */
function pairsOf(tokens: Token[]): Map<number, number> {
  const ends = new Map<number, number>();
  const open: { name: string; at: number }[] = [];
  tokens.forEach((token, at) => {
    const [, closes, tag] = (token.type === 'html' ? PLAIN_TAG.exec(token.raw) : null) ?? [];
    if (tag === undefined) return;
    const name = tag.toLowerCase();
    if (closes === '') {
      if (open.length < DEEPEST_TAG) open.push({ name, at });
      return;
    }
    const from = open.map((one) => one.name).lastIndexOf(name);
    const begun = open[from];
    if (begun === undefined) return;
    open.length = from;
    ends.set(begun.at, at);
  });
  return ends;
}

function renderInline(token: Token): Node {
  switch (token.type) {
    case 'strong':
    case 'em':
    case 'del': {
      const node = element(token.type);
      node.append(...renderInlines((token as Tokens.Strong).tokens));
      return node;
    }
    case 'codespan': {
      const code = element('code');
      code.textContent = (token as Tokens.Codespan).text;
      return code;
    }
    case 'br':
      return element('br');
    case 'link': {
      const { href, tokens } = token as Tokens.Link;
      return link(href, renderInlines(tokens));
    }
    case 'image': {
      const { href, text } = token as Tokens.Image;
      const label = text === '' ? 'Image' : `Image: ${text}`;
      const node = link(href, [document.createTextNode(label)]);
      if (node instanceof HTMLElement) node.classList.add('md-image');
      return node;
    }
    case 'html': {
      const fragment = document.createDocumentFragment();
      fragment.append(...withBreaks(token.raw));
      return fragment;
    }
    case 'math':
      return formula(token.raw);
    case 'noteReference': {
      const reference = element('sup', 'md-note-reference');
      reference.textContent = `[${(token as Tokens.Generic & Note).label}]`;
      return reference;
    }
    case 'escape':
      return document.createTextNode((token as Tokens.Escape).text);
    case 'checkbox': {
      const box = element('span', 'md-check');
      const checked = (token as Tokens.Checkbox).checked;
      box.textContent = checked ? '☑' : '☐';
      box.setAttribute('role', 'img');
      box.setAttribute('aria-label', checked ? 'Done' : 'To do');
      return box;
    }
    case 'text': {
      const { tokens, text } = token as Tokens.Text;
      if (tokens === undefined) return document.createTextNode(unescapeEntities(text));
      const fragment = document.createDocumentFragment();
      fragment.append(...renderInlines(tokens));
      return fragment;
    }
    default:
      return document.createTextNode(token.raw);
  }
}

/** Raw HTML as text, with its line breaks as such. */
function withBreaks(html: string): Node[] {
  return html.split(/<\/?br(?:\s[^<>]*)?\/?>/i).flatMap((text, at) => {
    const nodes: Node[] = at === 0 ? [] : [element('br')];
    return text === '' ? nodes : [...nodes, document.createTextNode(text)];
  });
}

/** A formula as it was written. */
function formula(source: string): HTMLElement {
  const math = element('span', 'md-math');
  math.dir = 'ltr';
  if (formulaOf(source).display) math.dataset['display'] = '';
  math.textContent = source;
  return math;
}

function link(href: string, children: Node[]): Node {
  const url = allowedUrl(unescapeEntities(href));
  if (url === null) {
    const dead = element('span', 'md-dead-link');
    dead.title = `This address is not opened: ${href}`;
    dead.append(...children);
    return dead;
  }
  const anchor = document.createElement('a');
  anchor.href = url;
  anchor.rel = 'noreferrer noopener';
  anchor.title = url;
  anchor.append(...children);
  if (anchor.textContent === '') anchor.append(url);
  // Where a link really goes is said when its text claims to be an address itself and lies.
  const text = anchor.textContent.trim();
  if (/^(https?:\/\/|www\.)/i.test(text) && hostOf(text.replace(/^www\./i, 'https://www.')) !== hostOf(url)) {
    anchor.append(` (${hostOf(url)})`);
  }
  return anchor;
}

/** The empty list and where its items go. */
export function listShell(list: Tokens.List): { root: HTMLElement; items: HTMLElement } {
  const root = element(list.ordered ? 'ol' : 'ul');
  root.dir = directionOf(list.raw);
  if (root instanceof HTMLOListElement && typeof list.start === 'number' && list.start !== 1) root.start = list.start;
  return { root, items: root };
}

export function renderListItems(list: Tokens.List, from = 0, to = list.items.length): HTMLElement[] {
  return list.items.slice(from, to).map((item) => {
    const node = element('li');
    node.dir = 'auto';
    if (item.task) node.classList.add('md-task');
    node.append(...renderBlocksOrInlines(item.tokens));
    return node;
  });
}

function renderBlocksOrInlines(tokens: Token[]): Node[] {
  const nodes: Node[] = [];
  for (const token of tokens) {
    const node = token.type === 'checkbox' ? renderInline(token) : renderBlock(token);
    if (node === null) continue;
    if (node instanceof HTMLElement && nodes.length > 0) nodes.push(gap());
    nodes.push(node);
  }
  return nodes;
}

/** The table with its head, and the body its rows go into. */
export function tableShell(table: Tokens.Table): { root: HTMLElement; body: HTMLElement } {
  const root = element('div', 'md-table');
  // Wide tables scroll in their own box, which must be reachable by keyboard.
  root.tabIndex = 0;
  root.setAttribute('role', 'group');
  root.setAttribute('aria-label', 'Table');
  root.dir = directionOf(table.raw);
  const inner = element('table');
  const head = element('thead');
  const row = element('tr');
  table.header.forEach((cell) => {
    row.append(tableCell('th', cell));
  });
  head.append(row);
  const body = element('tbody');
  inner.append(head, body);
  root.append(inner);
  return { root, body };
}

export function renderTableRows(table: Tokens.Table, from = 0, to = table.rows.length): HTMLElement[] {
  return table.rows.slice(from, to).map((cells) => {
    const row = element('tr');
    for (const cell of cells) row.append(tableCell('td', cell));
    return row;
  });
}

function tableCell(name: 'th' | 'td', cell: Tokens.TableCell): HTMLElement {
  const node = element(name);
  node.dir = 'auto';
  if (cell.align !== null) node.dataset['align'] = cell.align;
  node.append(...renderInlines(cell.tokens));
  return node;
}

/** Lines of code that stand in one element: so many are laid out anew when a line is added. */
export const LINES_TOGETHER = 32;

/** A code block that can grow line by line at the cost of what is new. */
export interface CodeBlock {
  readonly root: HTMLElement;
  /** Appends text that may hold any number of line breaks. */
  append(text: string): void;
}

export function codeBlock(info: string): CodeBlock {
  const language = unescapeEntities(info).trim().split(/\s+/)[0] ?? '';
  const root = element('figure', 'md-code');
  root.dataset['language'] = language;
  const bar = element('figcaption');
  const label = element('span');
  label.textContent = language === '' ? 'text' : language;
  const copy = document.createElement('button');
  copy.type = 'button';
  copy.className = 'md-copy';
  copy.dataset['action'] = 'copy-code';
  copy.textContent = 'Copy';
  bar.append(label, copy);
  const pre = element('pre');
  pre.tabIndex = 0;
  root.dir = 'ltr';
  const code = element('code');
  pre.append(code);
  root.append(bar, pre);

  let lines = LINES_TOGETHER;
  let open = document.createTextNode('');

  return {
    root,
    append(text) {
      let from = 0;
      while (from < text.length) {
        if (lines === LINES_TOGETHER) {
          const group = element('span', 'md-lines');
          open = document.createTextNode('');
          group.append(open);
          code.append(group);
          lines = 0;
        }
        let end = from;
        while (lines < LINES_TOGETHER) {
          const stop = text.indexOf('\n', end);
          end = stop === -1 ? text.length : stop + 1;
          if (stop === -1) break;
          lines += 1;
        }
        // The break stays with its line, so that copying a selection keeps it.
        open.appendData(text.slice(from, end));
        from = end;
      }
    },
  };
}

/** Hebrew, Arabic and the other scripts that are written from right to left. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]|[\ud802\ud803\ud83a\ud83b][\udc00-\udfff]/;

/**
 * The direction of a block that holds others, by its first letter. `dir="auto"` would not do: it does not look into
 * children that have a direction of their own.
 */
function directionOf(source: string): 'ltr' | 'rtl' {
  const letter = /\p{L}/u.exec(source.slice(0, 2_000))?.[0] ?? '';
  return RIGHT_TO_LEFT.test(letter) ? 'rtl' : 'ltr';
}

export function element(name: string, className = ''): HTMLElement {
  const node = document.createElement(name);
  if (className !== '') node.className = className;
  return node;
}

/** Text with Markdown's character references resolved; what is none is shown as written. */
function unescapeEntities(text: string): string {
  return text.includes('&') ? decodeHTMLStrict(text) : text;
}
