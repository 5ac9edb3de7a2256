import type { JsonValue, Part, ToolCallPart } from '../ipc/contract';
import { detailsOf } from './details';
import { isPicture } from './output';

/** A message as far as its traces go. */
export interface Traced {
  id: string;
  parts: readonly { value: Part }[];
}

/** What was done with one tool. */
export interface ToolUse {
  name: string;
  calls: number;
  failed: number;
  /** The message with the last call. */
  last: string;
}

/** A file that calls named, or that is in a message. */
export interface FileUse {
  name: string;
  /** Number of calls that named it; 0 for one that is in a message. */
  calls: number;
  picture: boolean;
  /** The last message that has it. */
  last: string;
}

/** Tools that were used, the most used first. */
export function toolsIn(rows: readonly Traced[]): ToolUse[] {
  const tools = new Map<string, ToolUse>();
  for (const [row, call] of callsIn(rows)) {
    const before = tools.get(call.name) ?? { name: call.name, calls: 0, failed: 0, last: row };
    tools.set(call.name, { ...before, calls: before.calls + 1, failed: before.failed + (call.state === 'failed' ? 1 : 0), last: row });
  }
  return [...tools.values()].sort((one, other) => other.calls - one.calls);
}

/** Files that were worked on or shown, those of the last messages first. */
export function filesIn(rows: readonly Traced[]): FileUse[] {
  const files = new Map<string, FileUse>();
  const note = (name: string, last: string, calls: number, picture: boolean): void => {
    const before = files.get(name);
    files.delete(name);
    files.set(name, { name, calls: (before?.calls ?? 0) + calls, picture, last });
  };
  for (const { id, parts } of rows) {
    for (const { value } of parts) {
      if (value.type === 'tool-call') for (const path of new Set(pathsOf(value))) note(path, id, 1, false);
      if (value.type === 'file') note(value.filename ?? value.mediaType ?? 'File', id, 0, isPicture(value.url));
    }
  }
  return [...files.values()].reverse();
}

/** Paths that a call names: in its arguments, and as places that its agent tells of. */
export function pathsOf({ input, details }: Pick<ToolCallPart, 'input' | 'details'>): string[] {
  return [...pathsIn(input), ...detailsOf(details).places.map(({ path }) => path)];
}

function pathsIn(input: JsonValue | null): string[] {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return [];
  return ['path', 'file_path', 'filePath', 'file', 'filename'].flatMap((name) => {
    const value = input[name];
    return typeof value === 'string' && value !== '' ? [value] : [];
  });
}

function callsIn(rows: readonly Traced[]): [string, ToolCallPart][] {
  return rows.flatMap(({ id, parts }) => parts.flatMap(({ value }): [string, ToolCallPart][] => (value.type === 'tool-call' ? [[id, value]] : [])));
}
