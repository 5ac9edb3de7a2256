import { readStored, writeStored } from './stored';

export type Theme = 'system' | 'light' | 'dark';

/** Sizes of text that there are, percent of the usual one. */
export const TEXT_SIZES = [75, 80, 90, 100, 110, 125, 150, 175, 200] as const;
const USUAL = 100;

/**
 * How the window looks, as the person wants it: kept by the page, for this window alone.
 *
 * Lengths are in rem, so that the size of text is the size of the root's: everything grows with it, also what is
 * measured.
 */
export class Appearance {
  theme = $state<Theme>('system');
  /** Percent of the usual size. */
  textSize = $state<number>(USUAL);
  /** The list of sessions has one line for each, and messages stand closer. */
  compact = $state(false);
  /** Stronger lines and darker words, also where the system does not ask for them. */
  moreContrast = $state(false);
  /** Nothing moves by itself, also where the system does not ask for that. */
  lessMotion = $state(false);

  readonly #root: HTMLElement;
  /** What the system asks for. */
  readonly #contrast = window.matchMedia('(prefers-contrast: more)');
  readonly #motion = window.matchMedia('(prefers-reduced-motion: reduce)');

  constructor(root: HTMLElement = document.documentElement) {
    this.#root = root;
    const theme = readStored<unknown>('theme', 'system');
    this.theme = theme === 'light' || theme === 'dark' ? theme : 'system';
    const size = readStored<unknown>('textSize', USUAL);
    this.textSize = TEXT_SIZES.find((one) => one === size) ?? USUAL;
    this.compact = readStored<unknown>('compact', false) === true;
    this.moreContrast = readStored<unknown>('moreContrast', false) === true;
    this.lessMotion = readStored<unknown>('lessMotion', false) === true;
    for (const asked of [this.#contrast, this.#motion]) {
      asked.addEventListener('change', () => {
        this.#show();
      });
    }
    this.#show();
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    writeStored('theme', theme);
    this.#show();
  }

  setTextSize(size: number): void {
    this.textSize = size;
    writeStored('textSize', size);
    this.#show();
  }

  /** One size larger or smaller, or back to the usual one. */
  zoom(step: -1 | 0 | 1): void {
    if (step === 0) this.setTextSize(USUAL);
    else this.setTextSize(this.#next(step) ?? this.textSize);
  }

  canZoom(step: -1 | 1): boolean {
    return this.#next(step) !== undefined;
  }

  setCompact(compact: boolean): void {
    this.compact = compact;
    writeStored('compact', compact);
    this.#show();
  }

  setMoreContrast(more: boolean): void {
    this.moreContrast = more;
    writeStored('moreContrast', more);
    this.#show();
  }

  setLessMotion(less: boolean): void {
    this.lessMotion = less;
    writeStored('lessMotion', less);
    this.#show();
  }

  #next(step: -1 | 1): number | undefined {
    return TEXT_SIZES[TEXT_SIZES.findIndex((one) => one === this.textSize) + step];
  }

  #show(): void {
    if (this.theme === 'system') delete this.#root.dataset['theme'];
    else this.#root.dataset['theme'] = this.theme;
    this.#root.dataset['density'] = this.compact ? 'compact' : 'comfortable';
    this.#root.dataset['contrast'] = this.moreContrast || this.#contrast.matches ? 'more' : 'usual';
    this.#root.dataset['motion'] = this.lessMotion || this.#motion.matches ? 'less' : 'usual';
    this.#root.style.fontSize = this.textSize === USUAL ? '' : `${String(this.textSize)}%`;
  }
}
