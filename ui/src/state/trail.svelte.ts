/** Sessions that are remembered on the way. */
const LONGEST = 50;

/** The sessions that were on screen one after another, to go back and forward between. */
export class Trail {
  #steps = $state.raw<readonly string[]>([]);
  #at = $state(-1);

  /** A session is on screen. */
  visit(id: string): void {
    if (this.#steps[this.#at] === id) return;
    const before = this.#steps.slice(0, this.#at + 1).slice(-(LONGEST - 1));
    this.#steps = [...before, id];
    this.#at = this.#steps.length - 1;
  }

  /** The session before or after the one on screen; null where there is none. */
  peek(step: -1 | 1): string | null {
    return this.#steps[this.#at + step] ?? null;
  }

  /** Goes one step; what is visited then is that step. */
  go(step: -1 | 1): string | null {
    const id = this.peek(step);
    if (id !== null) this.#at += step;
    return id;
  }

  /** A session is gone. */
  forget(id: string): void {
    const here = this.#steps[this.#at];
    this.#steps = this.#steps.filter((one) => one !== id);
    this.#at = here === id ? this.#steps.length - 1 : this.#steps.lastIndexOf(here ?? '');
  }
}
