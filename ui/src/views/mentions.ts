/** Somebody who can be spoken to by `@`, or a command that is given by `/`. */
export interface Mentionable {
  /** What is written behind the sign. */
  name: string;
  /** What is said beside it: an agent, a person. */
  note: string;
}

/** A name that is being written behind a sign. */
export interface Mention {
  sign: '@' | '/';
  /** Where the sign stands. */
  from: number;
  /** What is written behind it. */
  typed: string;
}

/** The mention that the caret is in; null where there is none. */
export function mentionAt(text: string, caret: number): Mention | null {
  const match = /(?:^|[\s(])@([\p{L}\p{N}._-]*)$/u.exec(text.slice(Math.max(0, caret - 64), caret));
  if (match === null) return null;
  const typed = match[1] ?? '';
  return { sign: '@', from: caret - typed.length - 1, typed };
}

/** The command that the caret is in: only a message that begins with `/` is one. */
export function commandAt(text: string, caret: number): Mention | null {
  const match = /^\/([\p{L}\p{N}._:-]{0,63})$/u.exec(text.slice(0, Math.min(caret, 65)));
  return match === null || caret > 64 ? null : { sign: '/', from: 0, typed: match[1] ?? '' };
}

/** Commands whose names hold what is typed, those that begin so first; in their agent's order. */
export function offeredCommands(commands: readonly Mentionable[], typed: string): Mentionable[] {
  const wanted = typed.toLowerCase();
  const begins = ({ name }: Mentionable): boolean => name.toLowerCase().startsWith(wanted);
  const holds = commands.filter(({ name }) => name.toLowerCase().includes(wanted));
  return [...holds.filter(begins), ...holds.filter((one) => !begins(one))];
}

/** Those whose names, or words of them, begin so; the ones with the shortest names first. */
export function offered(everybody: readonly Mentionable[], typed: string): Mentionable[] {
  const wanted = typed.toLowerCase();
  const begins = (name: string): boolean => name.toLowerCase().split(/[\s._-]+/).some((word) => word.startsWith(wanted)) || name.toLowerCase().startsWith(wanted);
  return everybody.filter(({ name }) => begins(name)).sort((one, other) => one.name.length - other.name.length);
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
