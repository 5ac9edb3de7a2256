import './styles/tokens.css';
import './styles/base.css';
import './styles/markdown.css';

import { mount } from 'svelte';

import { warmUp } from './components/markdown/warm';
import type { Backend } from './ipc/backend';
import type { Bootstrap } from './ipc/contract';
import { TauriBackend } from './ipc/tauri';
import { AppState } from './state/app.svelte';
import App from './views/App.svelte';

/** Where a page notes which of the host's starts it belongs to. */
const LOADED = 'threadkeep.epoch';

function show(backend: Backend, boot: Bootstrap): void {
  const target = document.getElementById('app');
  if (target === null) throw new Error('index.html has an element #app');
  sessionStorage.setItem(LOADED, String(boot.batch.epoch));
  const app = new AppState(backend, boot);
  mount(App, { target, props: { app } });
  app.start();
  requestAnimationFrame(() => {
    // What is in the document now is what the first paint shows; by the next frame it was shown.
    const rows = target.querySelectorAll('[data-testid=message]').length;
    requestAnimationFrame(() => {
      backend.painted(rows);
      warmUp();
    });
  });
}

/** What is left to say when the host does not answer at all. */
function fail(cause: unknown): void {
  console.error(cause);
  const note = document.createElement('p');
  note.setAttribute('role', 'alert');
  note.className = 'start-failure';
  note.textContent = `Threadkeep could not start its window. Close it and start again. (${String(
    cause instanceof Error ? cause.message : cause,
  )})`;
  document.getElementById('app')?.replaceChildren(note);
}

if (__SCRIPTED__ && !('__TAURI_INTERNALS__' in window)) {
  import('./ipc/scripted/backend')
    .then(async ({ ScriptedBackend }) => {
      const backend = new ScriptedBackend(new URLSearchParams(location.search).get('scene') ?? 'chat');
      show(backend, await backend.bootstrap());
    })
    .catch(fail);
} else {
  const backend = new TauriBackend();
  // The first paint waits for nothing: what to draw is in the page already. A page that is loaded again finds what
  // the first one found, which is old by now, so it asks.
  const stale = backend.boot !== null && sessionStorage.getItem(LOADED) === String(backend.boot.batch.epoch);
  if (backend.boot === null || stale) {
    backend.bootstrap().then((boot) => {
      show(backend, boot);
    }, fail);
  } else {
    show(backend, backend.boot);
  }
}
