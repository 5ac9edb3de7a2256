import { BackendError, type Backend } from '../ipc/backend';
import type { Notice } from '../ipc/contract';
import { readStored, writeStored } from './stored';

const TOAST_MS = 4_000;

/** A dialog about one server. */
export interface ServerDialog {
  kind: 'rename-server' | 'sign-in' | 'forget-server';
  server: string;
}

/** The window itself: its dialog, its sidebar, its short words, and whether it has the person's attention. */
export class Shell {
  dialog = $state.raw<'settings' | 'delete' | 'search' | 'add-server' | ServerDialog | null>(null);
  toast = $state<string | null>(null);
  notices = $state.raw<Notice[]>([]);
  /** The window has the person's attention. */
  focused = $state(document.hasFocus());
  /** Where the window is too narrow for a sidebar beside the log, it is a drawer over it. */
  narrow = $state(false);
  /** What is known of the session beside its messages is shown. */
  inspectorOpen = $state(readStored('inspector', false));

  readonly #backend: Backend;
  #sidebarWanted = $state(readStored('sidebar', true));
  #drawerOpen = $state(false);
  #toastTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(backend: Backend, notices: Notice[]) {
    this.#backend = backend;
    this.notices = notices;
    const narrow = window.matchMedia('(max-width: 760px)');
    this.narrow = narrow.matches;
    narrow.addEventListener('change', () => {
      this.narrow = narrow.matches;
    });
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

  async copy(text: string, said = 'Copied'): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.say(said);
    } catch {
      this.say('The clipboard could not be used.');
    }
  }
}
