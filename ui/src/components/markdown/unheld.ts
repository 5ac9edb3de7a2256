/**
 * A copy of `node`, which is on no page yet, to be put on the page instead of it.
 *
 * Script has never held the nodes in the copy. A web view keeps an object for each node that script has held for as long
 * as that is on the page, and its garbage collector looks at all of them: the 90,000 of a megabyte of text held up the
 * window for 70 ms each time, and for 200 ms now and then.
 */
export function unheld<T extends Node>(node: T): T {
  return node.cloneNode(true) as T;
}

/** `nodes` as one node, each of them {@link unheld}. */
export function allUnheld(nodes: Node[]): DocumentFragment {
  const all = document.createDocumentFragment();
  all.append(...nodes);
  return unheld(all);
}
