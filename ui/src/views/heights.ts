/** What the flow needs to know of a row. */
export interface Sized {
  readonly id: string;
}

export interface Span {
  /** The first row in the DOM. */
  start: number;
  /** The row after the last one in the DOM. */
  end: number;
  /** Height of everything before `start`, px. */
  before: number;
  /** Height of everything from `end` on, px. */
  after: number;
}

/**
 * Row heights by id: measured where the row has been on screen, estimated elsewhere.
 *
 * A change of width makes what was measured an estimate, and no measurement of 0 (a row that is not laid out) ever
 * replaces a good one.
 */
export class Heights {
  readonly #known = new Map<string, number>();
  readonly #fresh = new Set<string>();
  #width = 0;
  #sum = 0;

  /** The height used for rows never seen: the mean of those that were. */
  get estimate(): number {
    return this.#known.size === 0 ? 120 : this.#sum / this.#known.size;
  }

  of(id: string): number {
    return this.#known.get(id) ?? this.estimate;
  }

  isMeasured(id: string): boolean {
    return this.#fresh.has(id);
  }

  /** True when it is news. */
  measure(id: string, height: number): boolean {
    if (height <= 0) return false;
    const old = this.#known.get(id);
    this.#fresh.add(id);
    if (old !== undefined && Math.abs(old - height) < 0.5) return false;
    this.#sum += height - (old ?? 0);
    this.#known.set(id, height);
    return true;
  }

  setWidth(width: number): void {
    if (width === this.#width) return;
    this.#width = width;
    this.#fresh.clear();
  }

  /** Where row `index` begins, px from the first row. */
  offset(rows: readonly Sized[], index: number): number {
    let top = 0;
    for (let at = 0; at < index; at += 1) top += this.of(rows[at]?.id ?? '');
    return top;
  }

  /** The rows that meet the stretch from `top` to `bottom`, px from the first row. At least one, if there are any. */
  span(rows: readonly Sized[], top: number, bottom: number): Span {
    let start = -1;
    let end = rows.length;
    let before = 0;
    let y = 0;
    for (let at = 0; at < rows.length; at += 1) {
      const height = this.of(rows[at]?.id ?? '');
      if (start === -1 && (y + height > top || at === rows.length - 1)) {
        start = at;
        before = y;
      }
      if (start !== -1 && at > start && y >= bottom) {
        end = at;
        break;
      }
      y += height;
    }
    let after = 0;
    for (let at = end; at < rows.length; at += 1) after += this.of(rows[at]?.id ?? '');
    return { start: Math.max(0, start), end, before, after };
  }

  /** Forgets rows that are gone. */
  keep(rows: readonly Sized[]): void {
    if (this.#known.size < rows.length + 500) return;
    const ids = new Set(rows.map(({ id }) => id));
    for (const [id, height] of this.#known) {
      if (ids.has(id)) continue;
      this.#known.delete(id);
      this.#fresh.delete(id);
      this.#sum -= height;
    }
  }
}
