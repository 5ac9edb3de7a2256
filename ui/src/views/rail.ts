/** A row of the log as the rail sees it. */
export interface RailRow {
  id: string;
  /** px */
  height: number;
  marked: boolean;
}

/** A mark: which row, and how far down the log it begins, from 0 to 1. */
export interface Mark {
  id: string;
  at: number;
}

/** Marks nearer to each other than this part of the rail are one: the first of them. */
const NEAREST = 0.012;

/** Where the marked rows begin, as parts of all of the log. */
export function marksOf(rows: readonly RailRow[]): Mark[] {
  const total = rows.reduce((sum, { height }) => sum + height, 0);
  if (total <= 0) return [];
  const marks: Mark[] = [];
  let y = 0;
  for (const { id, height, marked } of rows) {
    const at = y / total;
    const last = marks.at(-1);
    if (marked && (last === undefined || at - last.at >= NEAREST)) marks.push({ id, at });
    y += height;
  }
  return marks;
}
