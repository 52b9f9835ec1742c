import fc from 'fast-check';
import {
  buildSchema,
  type ExecutionResult,
  execute,
  GraphQLError,
  GraphQLObjectType,
  type GraphQLSchema,
  parse,
} from 'graphql';
import { expect, test } from 'vitest';
import { planOf } from '../../api/graphql/field-plan.ts';
import { executePlanned } from '../../api/graphql/planned-execution.ts';

/** Each object has every kind of field, and what they resolve to comes from `Outcomes`. */
const SDL = /* GraphQL */ `
  scalar Odd
  enum Color { RED GREEN }
  interface Named { text: String }
  type Thing implements Named {
    text: String
    sureText: String!
    number(by: Int = 1, with: In): Int
    color: Color
    odd: Odd
    thing: Thing
    sureThing: Thing!
    things: [Thing]
    sureThings: [Thing!]!
    texts: [String!]
    named: Named
  }
  input In { a: Int!, b: [String!] }
  type Query { thing: Thing, sureThing: Thing!, things: [Thing!], version: String! }
  type Mutation { change: Int }
`;

type Resolve = (path: string, args: object) => unknown;

function schemaOf(resolve: Resolve): GraphQLSchema {
  const schema = buildSchema(SDL);
  for (const type of Object.values(schema.getTypeMap())) {
    if (!(type instanceof GraphQLObjectType) || type.name.startsWith('__')) continue;
    for (const field of Object.values(type.getFields()))
      field.resolve = (source, args, _) => resolve(`${String(source?.path ?? '')}.${field.name}`, args);
  }
  const odd = schema.getType('Odd');
  Object.assign(odd ?? {}, {
    serialize: (value: unknown) => {
      if (value === 'refused') throw new GraphQLError('An odd value.');
      return value === 'nothing' ? undefined : value;
    },
  });
  return schema;
}

/** A value of the field at the end of a path. */
function valueAt(path: string, args: object): unknown {
  const name = path.slice(path.lastIndexOf('.') + 1);
  const thing = (n: number | string = '') => ({ path: `${path}${n}` });
  if (name.toLowerCase().endsWith('things')) return [thing(0), thing(1)];
  if (name.toLowerCase().endsWith('thing') || name === 'named') return { ...thing(), __typename: 'Thing' };
  if (name === 'number') return Object.keys(args).length + Number(Reflect.get(args, 'by') ?? 0);
  if (name === 'color') return 'RED';
  if (name === 'texts') return ['a', 'b'];
  return path;
}

async function both(schema: GraphQLSchema, text: string, variableValues: Record<string, unknown> = {}) {
  const args = { schema, document: parse(text), variableValues, contextValue: {} };
  const isPlanned = planOf(args) !== undefined;
  const shown = async (result: ExecutionResult | Promise<ExecutionResult>) => {
    const { data, errors } = JSON.parse(JSON.stringify(await result));
    const sorted = errors?.toSorted((a: object, b: object) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return { text: JSON.stringify(data), data, errors: sorted };
  };
  return { isPlanned, planned: await shown(executePlanned(args, execute)), usual: await shown(execute(args)) };
}

const PLANNED = [
  '{ thing { text sureText number color odd texts __typename } version }',
  '{ b: version a: version thing { z: text thing { a: text } } ...F ... on Query { things { text } } } fragment F on Query { thing { thing { b: text } ...G } } fragment G on Named { text }',
  '{ thing { number(by: 5) more: number(by: null, with: { a: 1, b: ["x"] }) sureThings { number(by: 3) } } }',
  'query ($n: Int, $in: In) { thing { number(by: $n, with: $in) sureThings { number(by: $n) } } }',
];

test('a planned query has the answer of the usual executor, with its fields in the same order', async () => {
  for (const later of [false, true]) {
    const schema = schemaOf((path, args) => (later ? Promise.resolve(valueAt(path, args)) : valueAt(path, args)));
    for (const text of PLANNED) {
      const { isPlanned, planned, usual } = await both(schema, text, { in: { a: 2 } });
      expect(isPlanned, text).toBe(true);
      expect(planned, text).toEqual(usual);
      expect(planned.text, text).toBe(usual.text);
    }
  }
});

test('what has no plan is left to the usual executor', async () => {
  const schema = schemaOf(valueAt);
  const unplanned = [
    '{ __schema { queryType { name } } version }',
    '{ version @include(if: false) thing { text } }',
    '{ thing { named { text } } }',
    '{ __proto__: version }',
    'mutation { change }',
  ];
  for (const text of unplanned) {
    const { isPlanned, planned, usual } = await both(schema, text);
    expect(isPlanned, text).toBe(false);
    expect(planned, text).toEqual(usual);
  }
  const wrong = await both(schema, 'query ($n: Int!) { thing { number(by: $n) } }', { n: 'one' });
  expect(wrong.planned).toEqual(wrong.usual);
});

test('the plans of a document have no more than three fields for each that it has', async () => {
  const schema = schemaOf(valueAt);
  const isPlanned = (text: string) => planOf({ schema, document: parse(text) }) !== undefined;
  const parts = 'fragment F on Thing { text color odd texts }';
  expect(isPlanned(`{ thing { ...F thing { ...F } more: thing { ...F } } } ${parts}`)).toBe(true);
  const levels = Array.from(
    { length: 12 },
    (_, n) => `fragment F${n + 1} on Thing { a: thing { ...F${n} } b: thing { ...F${n} } }`,
  );
  const text = `{ thing { ...F12 } } ${levels.join(' ')} fragment F0 on Thing { text }`;
  expect(isPlanned(text)).toBe(false);

  const operations = Array.from({ length: 20 }, (_, n) => `query Q${n} { thing { ...F } }`);
  const document = parse(`${operations.join(' ')} fragment F on Thing { text color odd texts number sureText }`);
  const planned = operations.filter((_, n) => planOf({ schema, document, operationName: `Q${n}` }));
  expect(planned.length).toBeGreaterThan(5);
  expect(planned.length).toBeLessThan(15);
  expect(planOf({ schema, document, operationName: 'Q0' })).toBeDefined();
});

test('a resolver cannot change arguments that later executions are given', () => {
  const schema = schemaOf(valueAt);
  const document = parse('{ thing { number(with: { a: 1, b: ["x"] }) text } }');
  const [thing] = planOf({ schema, document })?.fields ?? [];
  const [number, text] = thing?.shape.kind === 'OBJECT' ? thing.shape.fields : [];
  expect(number?.args).toEqual({ by: 1, with: { a: 1, b: ['x'] } });
  for (const part of [number?.args, number?.args?.with, Reflect.get(Object(number?.args?.with), 'b'), text?.args])
    expect(Object.isFrozen(part)).toBe(true);
});

const FAILURES: [what: string, at: string, outcome: () => unknown][] = [
  [
    'an error thrown',
    'text',
    () => {
      throw new Error('thrown');
    },
  ],
  ['an error that is a value', 'text', () => new Error('a value')],
  ['a rejection', 'text', () => Promise.reject(new GraphQLError('rejected', { extensions: { code: 'A' } }))],
  [
    'something else thrown',
    'text',
    () => {
      throw 'a text';
    },
  ],
  ['null for a text that is sure', 'sureText', () => null],
  ['a rejection of a text that is sure', 'sureText', () => Promise.reject(new Error('late'))],
  ['no list', 'things', () => 'a text'],
  ['null in a list', 'texts', () => ['a', null]],
  ['an error in a list', 'texts', () => ['a', new Error('an item')]],
  ['a rejection in a list', 'sureThings', () => [Promise.reject(new Error('an item'))]],
  ['another iterable', 'texts', () => new Set(['a'])],
  ['a value of no enum', 'color', () => 'BLUE'],
  ['a value that a scalar refuses', 'odd', () => 'refused'],
  ['a number that is none', 'number', () => 'one'],
];

test.each(FAILURES)('%s leads to the same answer', async (_, at, outcome) => {
  const schema = schemaOf((path, args) => (path.endsWith(`.thing.${at}`) ? outcome() : valueAt(path, args)));
  const of = at.endsWith('hings') ? `${at} { text }` : at;
  for (const text of [
    `{ version thing { ${of} thing { sureThings { thing { ${of} } } } } }`,
    `{ version thing { sureThing { sureThing { thing { ${of} } } } } }`,
  ]) {
    const { planned, usual } = await both(schema, text);
    expect(planned).toEqual(usual);
    expect(planned.text).toBe(usual.text);
  }
});

test('of any mix of values, nulls and failures the same data is left', async () => {
  const text =
    '{ thing { text sureText sureThing { sureText text } things { sureText sureThings { text sureText } } } }';
  const outcomes = fc.array(fc.constantFrom('value', 'later', 'null', 'thrown', 'rejected'), { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(outcomes, async (kinds) => {
      const schema = schemaOf((path, args) => {
        const hash = [...path].reduce((sum, character) => sum * 31 + character.charCodeAt(0), 7) >>> 0;
        const kind = kinds[hash % kinds.length];
        if (kind === 'thrown') throw new Error(path);
        if (kind === 'rejected') return Promise.reject(new Error(path));
        if (kind === 'null') return null;
        return kind === 'later' ? Promise.resolve(valueAt(path, args)) : valueAt(path, args);
      });
      const { planned, usual } = await both(schema, text);
      expect(planned.text).toBe(usual.text);
      expect(planned.errors === undefined).toBe(usual.errors === undefined);
    }),
    { numRuns: 300 },
  );
});
