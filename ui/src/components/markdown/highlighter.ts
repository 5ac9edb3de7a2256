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

/** The languages that have colours. The worker loads them, see {@link file://./highlighter.worker.ts}. */
const LANGUAGES = {
  bash, c, cpp, css, diff, go, ini, java, javascript, json, markdown, python, rust, sql, typescript, xml, yaml,
};

for (const [name, language] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, language);
hljs.registerAliases(['console', 'shell-session', 'fish'], { languageName: 'bash' });
hljs.registerAliases(['svelte', 'vue'], { languageName: 'xml' });
hljs.registerAliases(['jsonc', 'json5'], { languageName: 'json' });

/** A piece of coloured code: text, the class that begins, or the end of the last one that began. */
export type Mark = string | { begins: string } | { ends: true };

/** Notes marks where highlight.js would build an HTML string. The methods are those it calls while it parses. */
class MarkEmitter {
  readonly marks: Mark[] = [];
  #depth = 0;

  addText(text: string): void {
    if (text !== '') this.marks.push(text);
  }

  startScope(scope: string): void {
    this.#depth += 1;
    this.marks.push({ begins: scope.split('.').map((name, depth) => (depth === 0 ? `hljs-${name}` : `${name}_`)).join(' ') });
  }

  openNode(scope: string): void {
    this.startScope(scope);
  }

  endScope(): void {
    if (this.#depth === 0) return;
    this.#depth -= 1;
    this.marks.push({ ends: true });
  }

  closeNode(): void {
    this.endScope();
  }

  __addSublanguage(emitter: MarkEmitter): void {
    emitter.finalize();
    this.marks.push(...emitter.marks);
  }

  finalize(): void {
    while (this.#depth > 0) this.endScope();
  }

  toHTML(): string {
    return '';
  }
}

hljs.configure({ __emitter: MarkEmitter } as Parameters<typeof hljs.configure>[0]);

/** The code with its colours, or null when the language is not known. */
export function highlight(text: string, language: string): Mark[] | null {
  const name = language.toLowerCase();
  if (hljs.getLanguage(name) === undefined) return null;
  const emitter: unknown = hljs.highlight(text, { language: name, ignoreIllegals: true })._emitter;
  if (!(emitter instanceof MarkEmitter)) return null;
  emitter.finalize();
  return emitter.marks;
}
