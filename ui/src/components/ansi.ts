/** A stretch of a terminal's output in one style. */
export interface AnsiPiece {
  text: string;
  /** Classes of its style, none where it has none. */
  classes: string;
}

const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

interface Style {
  colour: string | null;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
}

const PLAIN: Style = { colour: null, bold: false, dim: false, italic: false, underline: false };

// What a terminal is told: styles (CSI … m), everything else that begins with ESC, and a line that is written over.
const CONTROL = /\u001b\[([\d;:]*)m|\u001b\[[\d;:?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[ -/]*[0-~]|\u009b[\d;:?]*[@-~]/g;

/** Whether a text has anything that is meant for a terminal. */
export function isAnsi(text: string): boolean {
  return text.includes('\u001b') || text.includes('\u009b');
}

/**
 * A terminal's output as text in styles: the eight colours, bold, dim, italic and underlined. What moves the cursor is
 * left out, and of a line that is written over, as a progress bar is, the last state stays.
 */
export function ansiPieces(output: string): AnsiPiece[] {
  const text = output
    .split('\n')
    .map((line) => {
      const written = line.replace(/\r+$/, '');
      return written.slice(written.lastIndexOf('\r') + 1);
    })
    .join('\n');
  const pieces: AnsiPiece[] = [];
  let style = PLAIN;
  let at = 0;
  const take = (end: number): void => {
    if (end > at) pieces.push({ text: text.slice(at, end), classes: classesOf(style) });
  };
  for (const match of text.matchAll(CONTROL)) {
    take(match.index);
    at = match.index + match[0].length;
    if (match[1] !== undefined) style = styled(style, match[1]);
  }
  take(text.length);
  return pieces;
}

function styled(before: Style, codes: string): Style {
  let style = before;
  const list = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < list.length; at += 1) {
    const code = list[at] ?? 0;
    if (code === 0) style = PLAIN;
    else if (code === 1) style = { ...style, bold: true };
    else if (code === 2) style = { ...style, dim: true };
    else if (code === 3) style = { ...style, italic: true };
    else if (code === 4) style = { ...style, underline: true };
    else if (code === 22) style = { ...style, bold: false, dim: false };
    else if (code === 23) style = { ...style, italic: false };
    else if (code === 24) style = { ...style, underline: false };
    else if (code === 39) style = { ...style, colour: null };
    else if (code >= 30 && code <= 37) style = { ...style, colour: COLOURS[code - 30] ?? null };
    else if (code >= 90 && code <= 97) style = { ...style, colour: COLOURS[code - 90] ?? null };
    else if (code === 38 || code === 48) {
      // A colour of 256, of which the first sixteen are named, or one by its red, green and blue.
      const indexed = list[at + 1] === 5;
      const index = list[at + 2] ?? 0;
      if (code === 38) style = { ...style, colour: indexed && index < 16 ? (COLOURS[index % 8] ?? null) : null };
      at += indexed ? 2 : 4;
    }
  }
  return style;
}

function classesOf({ colour, bold, dim, italic, underline }: Style): string {
  return [colour === null ? '' : `ansi-${colour}`, bold ? 'ansi-bold' : '', dim ? 'ansi-dim' : '', italic ? 'ansi-italic' : '', underline ? 'ansi-underline' : '']
    .filter((name) => name !== '')
    .join(' ');
}
