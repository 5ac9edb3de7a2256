import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import markdown from 'highlight.js/lib/languages/markdown';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';

/** Loaded lazily, see {@link file://./highlight.ts}. */
const LANGUAGES = {
  bash, c, cpp, css, diff, go, ini, java, javascript, json, markdown, python, rust, sql, typescript, xml, yaml,
};

for (const [name, language] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, language);
hljs.registerAliases(['console', 'shell-session', 'fish'], { languageName: 'bash' });
hljs.registerAliases(['svelte', 'vue'], { languageName: 'xml' });
hljs.registerAliases(['jsonc', 'json5'], { languageName: 'json' });

/** Builds nodes where highlight.js would build an HTML string. The methods are those it calls while it parses. */
class NodeEmitter {
  readonly root = document.createDocumentFragment();
  #stack: (DocumentFragment | HTMLElement)[] = [this.root];

  get #top(): DocumentFragment | HTMLElement {
    return this.#stack.at(-1) ?? this.root;
  }

  addText(text: string): void {
    if (text !== '') this.#top.append(text);
  }

  startScope(scope: string): void {
    const span = document.createElement('span');
    span.className = scope.split('.').map((name, depth) => (depth === 0 ? `hljs-${name}` : `${name}_`)).join(' ');
    this.#top.append(span);
    this.#stack.push(span);
  }

  openNode(scope: string): void {
    this.startScope(scope);
  }

  endScope(): void {
    if (this.#stack.length > 1) this.#stack.pop();
  }

  closeNode(): void {
    this.endScope();
  }

  __addSublanguage(emitter: NodeEmitter): void {
    this.#top.append(emitter.root);
  }

  finalize(): void {
    this.#stack = [this.root];
  }

  toHTML(): string {
    return '';
  }
}

hljs.configure({ __emitter: NodeEmitter } as Parameters<typeof hljs.configure>[0]);

/** The code as coloured nodes, or null when the language is not known. */
export function highlight(text: string, language: string): Node[] | null {
  const name = language.toLowerCase();
  if (hljs.getLanguage(name) === undefined) return null;
  const result = hljs.highlight(text, { language: name, ignoreIllegals: true });
  const emitter: unknown = result._emitter;
  return emitter instanceof NodeEmitter ? Array.from(emitter.root.childNodes) : null;
}
