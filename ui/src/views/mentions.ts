/** Somebody who can be spoken to by `@`. */
export interface Mentionable {
  /** What is written behind the `@`. */
  name: string;
  /** What is said beside it: an agent, a person. */
  note: string;
}

/** A name that is being written behind an `@`. */
export interface Mention {
  /** Where the `@` stands. */
  from: number;
  /** What is written behind it. */
  typed: string;
}

/** The mention that the caret is in; null where there is none. */
export function mentionAt(text: string, caret: number): Mention | null {
  const match = /(?:^|[\s(])@([\p{L}\p{N}._-]*)$/u.exec(text.slice(Math.max(0, caret - 64), caret));
  if (match === null) return null;
  const typed = match[1] ?? '';
  return { from: caret - typed.length - 1, typed };
}

/** Those whose names, or words of them, begin so; the ones with the shortest names first. */
export function offered(everybody: readonly Mentionable[], typed: string): Mentionable[] {
  const wanted = typed.toLowerCase();
  const begins = (name: string): boolean => name.toLowerCase().split(/[\s._-]+/).some((word) => word.startsWith(wanted)) || name.toLowerCase().startsWith(wanted);
  return everybody.filter(({ name }) => begins(name)).sort((one, other) => one.name.length - other.name.length);
}

/** What is written behind a `/` that begins the text; null where the text is no command. */
export function slashAt(text: string): string | null {
  return /^\/([\p{L} ]{0,40})$/u.exec(text)?.[1] ?? null;
}

/** Agents that a text goes to: those that answer people without being named, and those that it names, as the server reads it. */
export function addressed<A extends { agentId: string; name: string | null; triggers: string | null }>(agents: readonly A[], text: string): A[] {
  const isNamed = (name: string): boolean => {
    if (name.trim() === '') return false;
    const escaped = name.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
    // `@ann-marie` is not `@ann`; `@ann-` is. An e-mail address names nobody.
    return new RegExp(`(?:^|[^\\p{L}\\p{N}_.\\-])@${escaped}(?![\\p{L}\\p{N}_]|[\\-.][\\p{L}\\p{N}_])`, 'iu').test(text);
  };
  return agents.filter(({ agentId, name, triggers }) => triggers !== 'mentions' || isNamed(agentId) || (name !== null && isNamed(name)));
}
