import type { ApprovalOption } from '../ipc/contract';

/** Whether an option says yes; the server reads it so too. */
export function allows({ kind }: ApprovalOption): boolean {
  return kind.startsWith('allow');
}

/** Whether an option is forgotten when it was used. */
export function isOnce({ kind }: ApprovalOption): boolean {
  return kind.endsWith('_once');
}

/** The option that a plain yes or no means: the first of that side which holds once. Nothing that lasts is chosen for anybody. */
export function plainOption(options: readonly ApprovalOption[], approved: boolean): ApprovalOption | null {
  return options.find((option) => allows(option) === approved && isOnce(option)) ?? null;
}

/** What an agent's words say about how far an option reaches, the narrowest first. */
const REACHES: readonly (readonly [RegExp, string])[] = [
  [/\bsession\b/i, 'in this session'],
  [/\b(?:project|workspace|folder|repo(?:sitory)?|directory)\b/i, 'in this project'],
  [/\b(?:user|global|everywhere|all projects)\b/i, 'everywhere on that computer'],
];

/**
 * How far an option reaches, in words. Its kind is the agent's promise; what "always" covers only its own words say.
 */
export function scopeOf(option: ApprovalOption): string {
  if (isOnce(option)) return 'only this time';
  if (!option.kind.endsWith('_always')) return 'as its agent understands it';
  const reach = REACHES.find(([words]) => words.test(option.name) || words.test(option.optionId.replace(/_/g, ' ')))?.[1];
  const always = allows(option) ? 'without asking again' : 'refused without asking again';
  return reach === undefined ? `${always}, as the agent remembers it` : `${always} ${reach}`;
}
