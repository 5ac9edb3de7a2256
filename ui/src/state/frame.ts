/**
 * Painting, at most once per frame.
 *
 * Data is applied when it comes; what it means for the page waits here for the next frame. A hidden window gets no
 * frames: the set then holds each painter once, however much comes in.
 */
const waiting = new Set<() => void>();
let requested = false;

export function paint(painter: () => void): void {
  waiting.add(painter);
  if (requested) return;
  requested = true;
  requestAnimationFrame(() => {
    requested = false;
    const painters = Array.from(waiting);
    waiting.clear();
    for (const run of painters) run();
  });
}

export function cancelPaint(painter: () => void): void {
  waiting.delete(painter);
}
