import { bytesIn } from './bytes';
import { BackendError, type Backend } from '../ipc/backend';
import type { Notice, StillRuns } from '../ipc/contract';
import type { Appearance } from './appearance.svelte';
import { readStored, writeStored } from './stored';

const TOAST_MS = 4_000;
/** Windows that are narrower than this have no room for a sidebar beside the log, px at the usual size of text. */
const NARROW = 760;
/** Widths of the sidebar, rem. */
export const SIDEBAR = { least: 13, usual: 17.5, most: 28 } as const;

function within(width: unknown): number {
  return typeof width === 'number' && Number.isFinite(width) ? Math.min(SIDEBAR.most, Math.max(SIDEBAR.least, width)) : SIDEBAR.usual;
}

/** A dialog about one server. */
export interface ServerDialog {
  kind: 'rename-server' | 'sign-in' | 'forget-server';
  server: string;
}

/** The question whether to quit while agents work. */
export interface QuitDialog {
  kind: 'quit';
  still: StillRuns;
}

/** The window itself: its dialog, its sidebar, its short words, and whether it has the person's attention. */
export class Shell {
  dialog = $state.raw<'delete' | 'search' | 'add-server' | 'shortcuts' | ServerDialog | QuitDialog | null>(null);
  /** What the middle of the window shows: the session, or something that stands in its place. */
  view = $state.raw<'session' | 'inbox' | 'settings'>('session');
  toast = $state<string | null>(null);
  notices = $state.raw<Notice[]>([]);
  /** The window has the person's attention. */
  focused = $state(document.hasFocus());
  /** Where the window is too narrow for a sidebar beside the log, it is a drawer over it. Larger text needs more room. */
  readonly narrow: boolean = $derived.by(() => this.#width < (NARROW * this.#appearance.textSize) / 100);
  /** Width of the sidebar, rem. */
  sidebarWidth = $state<number>(SIDEBAR.usual);
  /** What is known of the session beside its messages is shown. */
  inspectorOpen = $state(readStored('inspector', false));

  readonly #backend: Backend;
  readonly #appearance: Appearance;
  #width = $state(0);
  #sidebarWanted = $state(readStored('sidebar', true));
  #drawerOpen = $state(false);
  #toastTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(backend: Backend, appearance: Appearance, notices: Notice[]) {
    this.#backend = backend;
    this.#appearance = appearance;
    this.sidebarWidth = within(readStored<unknown>('sidebarWidth', SIDEBAR.usual));
    this.notices = notices;
    const measure = (): void => {
      this.#width = window.innerWidth;
    };
    measure();
    window.addEventListener('resize', measure);
    window.addEventListener('focus', () => {
      this.focused = true;
    });
    window.addEventListener('blur', () => {
      this.focused = false;
    });
  }

  get sidebarOpen(): boolean {
    return this.narrow ? this.#drawerOpen : this.#sidebarWanted;
  }

  toggleSidebar(): void {
    if (this.narrow) {
      this.#drawerOpen = !this.#drawerOpen;
      return;
    }
    this.#sidebarWanted = !this.#sidebarWanted;
    writeStored('sidebar', this.#sidebarWanted);
  }

  setSidebarWidth(width: number): void {
    this.sidebarWidth = within(width);
    writeStored('sidebarWidth', this.sidebarWidth);
  }

  toggleInspector(): void {
    this.inspectorOpen = !this.inspectorOpen;
    writeStored('inspector', this.inspectorOpen);
  }

  closeDrawer(): void {
    this.#drawerOpen = false;
  }

  takeNotice(notice: Notice): void {
    this.notices = [...this.notices.filter(({ code }) => code !== notice.code), notice];
  }

  dismiss(notice: Notice): void {
    this.notices = this.notices.filter((one) => one !== notice);
  }

  /** A short line that goes by itself. */
  say(text: string): void {
    this.toast = text;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => {
      this.toast = null;
    }, TOAST_MS);
  }

  /** Says why, if `promise` fails. */
  attempt(promise: Promise<unknown>): void {
    promise.catch((cause: unknown) => {
      this.say(BackendError.from(cause).message);
    });
  }

  async openLink(url: string): Promise<void> {
    try {
      await this.#backend.openLink(url);
    } catch {
      await this.copy(url, 'The link could not be opened, so it was copied.');
    }
  }

  /** Saves what a `data:` address holds, beside the files that are there. */
  async save(name: string, url: string): Promise<void> {
    const bytes = bytesIn(url);
    if (bytes === null) {
      this.say('This file is damaged, so it cannot be saved.');
      return;
    }
    try {
      this.say(`Saved as ${await this.#backend.saveFile(name, bytes)}`);
    } catch (cause) {
      this.say(BackendError.from(cause).message);
    }
  }

  async copy(text: string, said = 'Copied'): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.say(said);
    } catch {
      this.say('The clipboard could not be used.');
    }
  }
}
