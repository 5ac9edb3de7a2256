import { formulasIn } from './formulas';
import { highlightIn } from './highlight';

/** Finishes a block once it is whole: its code is coloured, its formulas are set in type. */
export function finishBlock(block: HTMLElement): void {
  highlightIn(block);
  formulasIn(block);
}
