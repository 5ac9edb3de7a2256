import { describe, expect, it } from 'vitest';

import type { JsonValue } from '../ipc/contract';
import { answerOf, answerOfJson, fieldsOf, type Filled } from './form';

function kinds(schema: JsonValue): string[] | null {
  return fieldsOf(schema)?.map(({ kind }) => kind) ?? null;
}

function answer(schema: JsonValue, filled: Filled[]): unknown {
  const fields = fieldsOf(schema);
  if (fields === null) throw new Error('it is a form');
  const given = answerOf(fields, filled);
  return 'missing' in given ? given.missing : given.answer;
}

const TRIP: JsonValue = {
  type: 'object',
  required: ['to', 'nights'],
  properties: {
    to: { type: 'string', title: 'Where to', enum: ['Oslo', 'Rome'], default: 'Rome' },
    nights: { type: 'integer' },
    price: { type: ['number', 'null'], description: 'At most' },
    breakfast: { type: 'boolean', default: true },
    extras: { type: 'array', items: { enum: ['bike', 'boat'] } },
    notes: { type: 'string', maxLength: 2000 },
  },
};

describe('a form from a schema', () => {
  it('asks each property in its own way, with what is filled in at first', () => {
    expect(kinds(TRIP)).toEqual(['choice', 'whole', 'number', 'yes-no', 'choices', 'long']);
    const fields = fieldsOf(TRIP) ?? [];
    expect(fields.map(({ initial }) => initial)).toEqual([[1], '', '', true, [], '']);
    expect(fields.map(({ label, hint, required }) => [label, hint, required])).toEqual([
      ['Where to', null, true],
      ['nights', null, true],
      ['price', 'At most', false],
      ['breakfast', null, false],
      ['extras', null, false],
      ['notes', null, false],
    ]);
  });

  it('gives the answer in the types that were asked for, without what was left out', () => {
    expect(answer(TRIP, [[0], '3', '', false, [0, 1], ''])).toEqual({ to: 'Oslo', nights: 3, breakfast: false, extras: ['bike', 'boat'] });
    expect(answer({ type: 'string' }, ['Ada'])).toBe('Ada');
    expect(answer({ enum: [1, null, { a: 1 }] }, [[2]])).toEqual({ a: 1 });
    expect(answer({ anyOf: [{ const: 'x' }, { const: 'y' }] }, [[1]])).toBe('y');
  });

  it('says what is missing or no number', () => {
    expect(answer(TRIP, [[], '3', '', true, [], ''])).toBe('Where to is missing.');
    expect(answer(TRIP, [[0], '2.5', '', true, [], ''])).toBe('nights needs a whole number.');
    expect(answer(TRIP, [[0], '2', 'much', true, [], ''])).toBe('price needs a number.');
  });

  it('is none for what fields cannot ask, which is then asked as JSON', () => {
    const many = Object.fromEntries(Array.from({ length: 41 }, (_, at) => [`p${String(at)}`, { type: 'string' }]));
    const odd: JsonValue[] = [
      null,
      true,
      'string',
      [],
      {},
      { type: 'object' },
      { type: 'object', properties: {} },
      { type: 'object', properties: { a: { type: 'object', properties: { b: { type: 'string' } } } } },
      { type: 'object', properties: { a: { $ref: '#/$defs/a' } } },
      { type: 'object', properties: many },
      { enum: Array.from({ length: 201 }, (_, at) => at) },
      { type: ['string', 'number'] },
    ];
    for (const schema of odd) expect(fieldsOf(schema)).toBeNull();
    expect(answerOfJson('{"a": [1]}')).toEqual({ answer: { a: [1] } });
    expect(answerOfJson('a')).toHaveProperty('missing');
  });

  it('names a property whatever it is called', () => {
    const schema = JSON.parse('{"type":"object","properties":{"__proto__":{"type":"string"}}}') as JsonValue;
    expect(JSON.stringify(answer(schema, ['x']))).toBe('{"__proto__":"x"}');
  });
});
