/**
 * A form from a JSON Schema that an agent sent: what of it can be asked in fields, and the answer that is given.
 *
 * The schema is hostile input. What is not understood is asked as JSON; the agent checks the answer in any case.
 */
import type { JsonValue } from '../ipc/contract';

/** One thing that is asked. */
export interface FormField {
  /** The property that it fills; null where the answer is this one value. */
  name: string | null;
  label: string;
  hint: string | null;
  kind: 'text' | 'long' | 'number' | 'whole' | 'yes-no' | 'choice' | 'choices';
  /** What can be chosen. */
  choices: JsonValue[];
  required: boolean;
  /** What is filled in at first: a text, a yes, or the indexes of choices. */
  initial: Filled;
}

/** What a person has filled in: letters, a yes or no, or the indexes of what was chosen. */
export type Filled = string | boolean | number[];

/** More fields than this are a matter for JSON. */
const MAX_FIELDS = 40;
const MAX_CHOICES = 200;
const MAX_LABEL = 200;
/** Answers that may be longer than this are written in several lines. */
const ONE_LINE = 200;

type Schema = Record<string, JsonValue>;

/** The fields of a schema, or null where they cannot ask for all of it. */
export function fieldsOf(schema: JsonValue): FormField[] | null {
  if (!isObject(schema)) return null;
  if (typeOf(schema) !== 'object') {
    const field = fieldOf(null, schema, true);
    return field === null ? null : [field];
  }
  const { properties, required } = schema;
  if (!isObject(properties ?? null)) return null;
  const asked = properties as Schema;
  const names = Object.keys(asked);
  if (names.length === 0 || names.length > MAX_FIELDS) return null;
  const needed = new Set(Array.isArray(required) ? required : []);
  const fields = names.map((name) => fieldOf(name, asked[name] ?? null, needed.has(name)));
  return fields.includes(null) ? null : (fields as FormField[]);
}

/** The answer that was filled in, or what is missing in it, in words. */
export function answerOf(fields: readonly FormField[], filled: readonly Filled[]): { answer: JsonValue } | { missing: string } {
  const entries: [string, JsonValue][] = [];
  for (const [at, field] of fields.entries()) {
    const value = valueOf(field, filled[at] ?? '');
    if (value === INVALID) return { missing: `${field.label} needs ${field.kind === 'whole' ? 'a whole number' : 'a number'}.` };
    if (value === undefined) {
      if (field.required) return { missing: `${field.label} is missing.` };
      continue;
    }
    if (field.name === null) return { answer: value };
    entries.push([field.name, value]);
  }
  return { answer: Object.fromEntries(entries) };
}

/** The answer that was written as JSON, or what is wrong with it. */
export function answerOfJson(text: string): { answer: JsonValue } | { missing: string } {
  try {
    return { answer: JSON.parse(text) as JsonValue };
  } catch {
    return { missing: 'This is no JSON. Text goes in double quotes, fields in {"name": value}.' };
  }
}

/** How a choice is shown. */
export function choiceText(choice: JsonValue): string {
  return typeof choice === 'string' ? choice : JSON.stringify(choice);
}

const INVALID = Symbol('no number');

function valueOf({ kind, choices }: FormField, filled: Filled): JsonValue | undefined | typeof INVALID {
  if (Array.isArray(filled)) {
    const chosen = filled.map((index) => choices[index]).filter((choice) => choice !== undefined);
    return kind === 'choices' ? chosen : chosen[0];
  }
  if (typeof filled === 'boolean') return filled;
  if (filled.trim() === '') return undefined;
  if (kind !== 'number' && kind !== 'whole') return filled;
  const number = Number(filled.trim());
  if (!Number.isFinite(number) || (kind === 'whole' && !Number.isInteger(number))) return INVALID;
  return number;
}

function fieldOf(name: string | null, schema: JsonValue, required: boolean): FormField | null {
  if (!isObject(schema)) return null;
  const asked = { name, label: labelOf(schema, name), hint: textOf(schema['description']), required };
  const choices = choicesOf(schema);
  if (choices !== null) {
    const first = choices.findIndex((choice) => same(choice, schema['default'] ?? null));
    return { ...asked, kind: 'choice', choices, initial: first === -1 ? [] : [first] };
  }
  const { default: initial, items } = schema;
  switch (typeOf(schema)) {
    case 'string': {
      const long = typeof schema['maxLength'] === 'number' && schema['maxLength'] > ONE_LINE;
      return { ...asked, kind: long ? 'long' : 'text', choices: [], initial: typeof initial === 'string' ? initial : '' };
    }
    case 'number':
    case 'integer': {
      const kind = typeOf(schema) === 'integer' ? 'whole' : 'number';
      return { ...asked, kind, choices: [], initial: typeof initial === 'number' ? String(initial) : '' };
    }
    case 'boolean':
      return { ...asked, kind: 'yes-no', choices: [], initial: initial === true };
    case 'array': {
      const some = isObject(items ?? null) ? choicesOf(items as Schema) : null;
      return some === null ? null : { ...asked, kind: 'choices', choices: some, initial: [] };
    }
    default:
      return null;
  }
}

/** The one type of a value; `null` beside it says that it may be left out. */
function typeOf({ type, properties }: Schema): string | null {
  if (Array.isArray(type)) {
    const types = type.filter((one) => one !== 'null');
    return types.length === 1 && typeof types[0] === 'string' ? types[0] : null;
  }
  return typeof type === 'string' ? type : isObject(properties ?? null) ? 'object' : null;
}

/** What an `enum`, a `const` or a list of them (`oneOf`, `anyOf`) leaves to choose. */
function choicesOf(schema: Schema): JsonValue[] | null {
  const list = schema['oneOf'] ?? schema['anyOf'];
  const choices = Array.isArray(schema['enum'])
    ? schema['enum']
    : Array.isArray(list) && list.every((one) => isObject(one) && 'const' in one)
      ? list.map((one) => (one as Schema)['const'] ?? null)
      : 'const' in schema
        ? [schema['const'] ?? null]
        : null;
  return choices === null || choices.length === 0 || choices.length > MAX_CHOICES ? null : choices;
}

function labelOf(schema: Schema, name: string | null): string {
  return textOf(schema['title']) ?? (name === null ? 'Answer' : name.slice(0, MAX_LABEL));
}

function textOf(value: JsonValue | undefined): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.slice(0, MAX_LABEL) : null;
}

function same(one: JsonValue, other: JsonValue): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function isObject(value: JsonValue): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
