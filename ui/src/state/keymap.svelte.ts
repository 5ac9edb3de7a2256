import { readStored, writeStored } from './stored';

/** Keys pressed together, as they are written: `Ctrl+Shift+A`. On a Mac, Ctrl stands for Command. */
export type Chord = string;

const ALONE = new Set(['Control', 'Meta', 'Shift', 'Alt', 'AltGraph', 'Dead', 'Process', 'Unidentified']);

/** The chord of a key press; null for a key that only changes others, or that belongs to an input method. */
export function chordOf(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey' | 'isComposing'>): Chord | null {
  if (event.isComposing || ALONE.has(event.key)) return null;
  const letter = Array.from(event.key).length === 1;
  const key = event.key === ' ' ? 'Space' : letter ? event.key.toUpperCase() : event.key;
  // A sign is what it is, whether or not a keyboard needs Shift for it.
  const shifted = event.shiftKey && (!letter || event.key.toLowerCase() !== event.key.toUpperCase());
  return [
    ...(event.ctrlKey || event.metaKey ? ['Ctrl'] : []),
    ...(event.altKey ? ['Alt'] : []),
    ...(shifted ? ['Shift'] : []),
    key,
  ].join('+');
}

/** Whether a chord writes a letter where text is written. */
export function writes(chord: Chord): boolean {
  return !/^(Ctrl|Alt)\+/.test(chord) && Array.from(chord.replace(/^Shift\+/, '')).length === 1;
}

/** How keyboards are read aloud: `Control+Shift+A`. */
export function ariaKeys(chord: Chord): string {
  return chord.replace(/^Ctrl\+/, 'Control+');
}

const STORED = 'keys';

/** The keys of commands, where the person chose others than the usual ones. */
export class Keymap {
  #own = $state.raw<Readonly<Record<string, Chord[]>>>({});

  constructor() {
    const stored = readStored<unknown>(STORED, {});
    if (typeof stored !== 'object' || stored === null) return;
    this.#own = Object.fromEntries(
      Object.entries(stored).flatMap(([id, keys]) =>
        Array.isArray(keys) && keys.every((key) => typeof key === 'string') ? [[id, keys as Chord[]]] : [],
      ),
    );
  }

  /** The keys of a command whose usual ones are `usual`. */
  of(id: string, usual: readonly Chord[]): readonly Chord[] {
    return this.#own[id] ?? usual;
  }

  isChanged(id: string): boolean {
    return id in this.#own;
  }

  /** Gives a command other keys; none is allowed, null means the usual ones. */
  set(id: string, keys: readonly Chord[] | null): void {
    const others = Object.fromEntries(Object.entries(this.#own).filter(([other]) => other !== id));
    this.#own = keys === null ? others : { ...others, [id]: [...keys] };
    writeStored(STORED, Object.keys(this.#own).length === 0 ? null : this.#own);
  }
}
