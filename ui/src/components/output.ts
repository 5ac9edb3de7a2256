import { parsed, textOf } from './payload';

/** What a tool gave back, told apart by how it is best read. */
export type Output =
  | { kind: 'command'; text: string; exit: number | null }
  | { kind: 'list'; items: string[] }
  | { kind: 'images'; images: string[]; text: string }
  | { kind: 'text'; text: string };

/** Names that arguments of calls give a line for a shell. */
const COMMANDS = ['command', 'cmd', 'script', 'shell'];
/** Lists longer than this are read as text, in parts. */
const LONGEST_LIST = 100;
const LONGEST_ITEM = 400;
const LONGEST_READ = 20_000;
/** Pictures are drawn from the page itself, and only those that hold nothing but a picture. */
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=\s]+$/;

/** The line for a shell that a call runs; null for another call. */
export function commandOf(input: unknown): string | null {
  if (!isObject(input)) return null;
  for (const name of COMMANDS) {
    const value = input[name];
    if (typeof value === 'string') return value;
    if (Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string')) return value.join(' ');
  }
  return null;
}

/** How a call's output is read. `error` is why it failed. */
export function outputOf(input: unknown, output: unknown): Output {
  const value = typeof output === 'string' ? (parsed(output) ?? output) : output;
  const pictures = imagesIn(value);
  if (pictures !== null) return { kind: 'images', ...pictures };
  if (commandOf(input) !== null) return { kind: 'command', ...terminalOf(value, typeof output === 'string' ? output : textOf(output)) };
  if (Array.isArray(value) && value.length > 0 && value.length <= LONGEST_LIST && value.every((one) => typeof one === 'string' && one.length <= LONGEST_ITEM)) {
    return { kind: 'list', items: value as string[] };
  }
  return { kind: 'text', text: contentOf(value) ?? textOf(output) };
}

/** How a command ended, where what it gave back is an object that says so. A long text is not read for it. */
export function exitOf(input: unknown, output: unknown): number | null {
  if (commandOf(input) === null) return null;
  const value = typeof output === 'string' && output.length < LONGEST_READ ? parsed(output) : output;
  return isObject(value) ? codeOf(value) : null;
}

function codeOf(value: Record<string, unknown>): number | null {
  return ['exit_code', 'exitCode', 'exit', 'code', 'returncode', 'status'].map((name) => value[name]).find((one): one is number => typeof one === 'number') ?? null;
}

/** Whether an address holds a picture that may be drawn. */
export function isPicture(url: string): boolean {
  return PICTURE.test(url);
}

/** What a command printed, and how it ended, in the shapes that tools give it. */
function terminalOf(value: unknown, whole: string): { text: string; exit: number | null } {
  if (!isObject(value)) return { text: contentOf(value) ?? whole, exit: null };
  const exit = codeOf(value);
  const printed = ['stdout', 'stderr', 'output', 'text'].flatMap((name) => {
    const text = value[name];
    return typeof text === 'string' && text !== '' ? [text] : [];
  });
  const known = new Set(['exit_code', 'exitCode', 'exit', 'code', 'returncode', 'status', 'stdout', 'stderr', 'output', 'text', 'success', 'ok', 'isError', 'interrupted', 'timed_out', 'duration', 'duration_ms']);
  // What says more than that is shown as it came.
  if (printed.length === 0 && exit === null) return { text: contentOf(value) ?? whole, exit: null };
  if (Object.keys(value).some((name) => !known.has(name))) return { text: whole, exit };
  return { text: printed.join('\n'), exit };
}

/** The words of a list of content blocks, as MCP has them; null for anything else. */
function contentOf(value: unknown): string | null {
  const blocks = isObject(value) && Array.isArray(value['content']) && Object.keys(value).every((name) => name === 'content' || name === 'isError') ? value['content'] : value;
  if (!Array.isArray(blocks) || blocks.length === 0) return null;
  const texts = blocks.map((block) => (isObject(block) && block['type'] === 'text' && typeof block['text'] === 'string' ? block['text'] : null));
  return texts.every((text) => text !== null) ? texts.join('\n') : null;
}

function imagesIn(value: unknown): { images: string[]; text: string } | null {
  if (typeof value === 'string') return isPicture(value) ? { images: [value], text: '' } : null;
  const blocks = isObject(value) && Array.isArray(value['content']) ? value['content'] : Array.isArray(value) ? value : [value];
  const images: string[] = [];
  const rest: string[] = [];
  for (const block of blocks) {
    const image = isObject(block) ? imageOf(block) : null;
    if (image !== null) images.push(image);
    else rest.push(isObject(block) && typeof block['text'] === 'string' ? block['text'] : textOf(block));
  }
  return images.length === 0 ? null : { images, text: rest.join('\n') };
}

function imageOf(block: Record<string, unknown>): string | null {
  const { data, mimeType, media_type: media, type } = block;
  const kind = typeof mimeType === 'string' ? mimeType : typeof media === 'string' ? media : null;
  if (typeof data === 'string' && kind !== null && (type === 'image' || type === 'media')) {
    const url = `data:${kind};base64,${data}`;
    return isPicture(url) ? url : null;
  }
  if (isObject(block['source'])) return imageOf({ type: 'image', ...block['source'] });
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
