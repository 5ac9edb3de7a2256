import { linesOfPatch, type Edit } from './diff';

/** Kinds of calls, as programs that speak the Agent Client Protocol name them. */
export const CALL_KINDS = ['read', 'edit', 'delete', 'move', 'search', 'execute', 'think', 'fetch', 'switch_mode'] as const;
export type CallKind = (typeof CALL_KINDS)[number];

/** A place in a file that a call is about. */
export interface Place {
  path: string;
  line: number | null;
}

/** What an agent says of a call beside its arguments and its result, read whatever it holds. */
export interface CallDetails {
  kind: CallKind | null;
  places: Place[];
  /** Changes of files that it makes, or asks to make. */
  edits: Edit[];
  /** How a command ended. */
  exit: number | null;
  signal: string | null;
  /** What it has put out so far; the last of it, where that is much. */
  output: string;
  /** Not all that it put out is told. */
  cut: boolean;
}

const NONE: CallDetails = { kind: null, places: [], edits: [], exit: null, signal: null, output: '', cut: false };
/** Places and changes of one call that are shown. */
const MANY = 20;

export function detailsOf(details: unknown): CallDetails {
  if (!isObject(details)) return NONE;
  const { kind, locations, content, exit, output } = details;
  return {
    kind: CALL_KINDS.find((known) => known === kind) ?? null,
    places: Array.isArray(locations) ? locations.slice(0, MANY).flatMap(placeOf) : [],
    edits: Array.isArray(content) ? content.slice(0, MANY).flatMap(editOf) : [],
    exit: isObject(exit) && typeof exit['code'] === 'number' ? exit['code'] : null,
    signal: isObject(exit) && typeof exit['signal'] === 'string' ? exit['signal'] : null,
    output: isObject(output) && typeof output['text'] === 'string' ? output['text'] : '',
    cut: isObject(output) && output['truncated'] === true,
  };
}

function placeOf(place: unknown): Place[] {
  if (!isObject(place) || typeof place['path'] !== 'string' || place['path'] === '') return [];
  return [{ path: place['path'], line: typeof place['line'] === 'number' ? place['line'] : null }];
}

function editOf(block: unknown): Edit[] {
  if (!isObject(block) || typeof block['patch'] !== 'string') return [];
  const { patch, path, added, removed, truncated } = block;
  const told = typeof added === 'number' && typeof removed === 'number' ? { counts: { added, removed } } : {};
  const lines = patch === '' ? [] : linesOfPatch((patch as string).replace(/\n$/, ''));
  return [{ path: typeof path === 'string' && path !== '' ? path : null, lines, ...told, ...(truncated === true ? { cut: true } : {}) }];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
