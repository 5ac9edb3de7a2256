import 'katex/dist/katex.min.css';
import katex from 'katex';

/**
 * Sets a formula in type, into `into`. Throws where the formula is none. Loaded lazily, see
 * {@link file://./formulas.ts}.
 *
 * Formulas are written by others: no command of theirs makes a link or an attribute, takes more than so many steps or
 * more room than so many ems.
 */
export function typeset(tex: string, into: HTMLElement, display: boolean): void {
  katex.render(tex, into, {
    displayMode: display,
    throwOnError: true,
    strict: 'ignore',
    trust: false,
    maxExpand: 500,
    maxSize: 20,
  });
}
