import fc from 'fast-check';
import {
  buildSchema,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  GraphQLError,
  GraphQLObjectType,
  GraphQLScalarType,
  type GraphQLSchema,
  parse,
  validate,
} from 'graphql';
import { expect, test } from 'vitest';
import { planOf } from '../../api/graphql/field-plan.ts';
import { executePlanned } from '../../api/graphql/planned-execution.ts';
import { diceOf, randomDocument } from '../support/random-document.ts';

/*
 * Any document has the same answer by its plan as by graphql's own executor, whatever its fields
 * resolve to.
 */

const SDL = /* GraphQL */ `
  scalar Odd
  enum Color { RED GREEN }
  input Point { x: Int!, y: Int = 3, more: [Point!], color: Color = GREEN, odd: Odd }
  interface Named { name: String, self: Named }
  union Any = Cat | Dog
  type Cat implements Named {
    name: String
    self: Cat
    sure: String!
    number(by: Int = 1, at: Point, colors: [Color!]): Int
    sureNumber(by: Int!): Int!
    color(is: Color = RED): Color
    odd(of: Odd): Odd
    kitten: Cat
    sureKitten: Cat!
    kittens: [Cat]
    sureKittens: [Cat!]!
    rows: [[Cat!]!]
    numbers: [[Int!]]!
    dog: Dog
    any: Any
    named: Named
  }
  type Dog implements Named { name: String, self: Dog, sure: String!, cats: [[[Cat!]!]!]!, age: Float, isOld: Boolean, id: ID }
  type Query { cat: Cat, sureCat: Cat!, cats: [Cat!], dog: Dog, any: Any, named: [Named!], version(of: Point): String! }
`;

/** How a field fares, by a number that its path decides. */
const FATES = [
  'VALUE',
  'VALUE',
  'VALUE',
  'VALUE',
  'LATER',
  'LATER',
  'MUCH_LATER',
  'NULL',
  'THROWN',
  'REJECTED',
] as const;
const RARE_FATES = ['AN_ERROR', 'UNDEFINED', 'WRONG', 'NO_ERROR', 'REJECTED_LATER'] as const;
type Fate = (typeof FATES)[number] | (typeof RARE_FATES)[number];

interface Place {
  path: string;
}

function schemaOf(seedNow: () => number): GraphQLSchema {
  const schema = buildSchema(SDL);
  for (const type of Object.values(schema.getTypeMap())) {
    if (!(type instanceof GraphQLObjectType) || type.name.startsWith('__')) continue;
    for (const field of Object.values(type.getFields()))
      field.resolve = (source: Place | undefined, args, _context) => {
        const path = `${source?.path ?? ''}.${field.name}${JSON.stringify(args)}`;
        return resolved(String(field.type), path, seedNow());
      };
  }
  const odd = schema.getType('Odd');
  if (!(odd instanceof GraphQLScalarType)) throw new Error('It is a scalar.');
  odd.serialize = (value) => {
    if (String(value).endsWith('7')) throw new GraphQLError('An odd value.', { extensions: { code: 'ODD' } });
    return value;
  };
  return schema;
}

function resolved(type: string, path: string, seed: number): unknown {
  const dice = diceOf(hashOf(path) ^ seed);
  const fate: Fate = dice.oneIn(12) ? dice.pick(RARE_FATES) : dice.pick(FATES);
  // The first fields have values, or nothing else would be reached.
  return faring(path.split('.').length < 3 ? 'VALUE' : fate, () => valueAt(type, path, seed), path);
}

function faring(fate: Fate, value: () => unknown, path: string): unknown {
  const error = new GraphQLError(path, { extensions: { code: 'FAILED' } });
  if (fate === 'LATER') return Promise.resolve().then(value);
  if (fate === 'MUCH_LATER') return turn().then(value);
  if (fate === 'REJECTED') return Promise.reject(error);
  if (fate === 'REJECTED_LATER') return turn().then(() => Promise.reject(error));
  if (fate === 'THROWN') throw new Error(path);
  if (fate === 'NO_ERROR') throw path;
  if (fate === 'AN_ERROR') return error;
  if (fate === 'NULL') return null;
  if (fate === 'UNDEFINED') return undefined;
  return fate === 'WRONG' ? 1.5 : value();
}

function valueAt(type: string, path: string, seed: number): unknown {
  if (type.endsWith('!')) return valueAt(type.slice(0, -1), path, seed);
  if (type.startsWith('[')) return [0, 1].map((n) => itemOf(type.slice(1, -1), `${path}${n}`, seed));
  const hash = hashOf(path);
  if (type === 'Int' || type === 'Float') return hash % 1_000;
  if (type === 'Boolean') return hash % 2 === 0;
  if (type === 'Color') return hash % 9 === 0 ? 'BLUE' : 'RED';
  if (type === 'Any' || type === 'Named') return { path, __typename: hash % 2 === 0 ? 'Cat' : 'Dog' };
  if (type === 'Cat' || type === 'Dog') return { path, __typename: type };
  return path;
}

function itemOf(type: string, path: string, seed: number): unknown {
  const dice = diceOf(hashOf(path) ^ seed);
  const fate = dice.oneIn(6) ? dice.pick(FATES) : 'VALUE';
  // Thrown, it would be the resolver that loses the promises before it.
  return faring(fate === 'THROWN' ? 'AN_ERROR' : fate, () => valueAt(type, path, seed), path);
}

function hashOf(text: string): number {
  return [...text].reduce((sum, character) => Math.imul(sum, 31) + character.charCodeAt(0), 7) >>> 0;
}

type Shown = { data?: unknown; errors?: { message: string; path?: (string | number)[] }[] };

async function shown(result: ExecutionResult | Promise<ExecutionResult>): Promise<{ text: string; answer: Shown }> {
  const answer: Shown = JSON.parse(JSON.stringify(await result));
  return { text: JSON.stringify(answer.data), answer };
}

/**
 * The errors of an answer, in no order. Of those in one place that became null, an executor may
 * show any, because it need not wait for the others.
 */
function errorsOf({ data, errors = [] }: Shown): string[] {
  const reported = errors.map((error) => {
    const place = nullAround(data, error.path ?? []);
    return place === undefined ? JSON.stringify(error) : `something below ${JSON.stringify(place)}`;
  });
  return [...new Set(reported)].toSorted();
}

/** The place above this one in which there is null. */
function nullAround(data: unknown, path: (string | number)[]): (string | number)[] | undefined {
  let at = data;
  for (const [n, key] of path.entries()) {
    if (at === null || at === undefined) return path.slice(0, n);
    at = Reflect.get(Object(at), key);
  }
  return undefined;
}

test('documents of every kind have the answer of the usual executor', async () => {
  let planned = 0;
  const property = fc.asyncProperty(fc.integer(), async (given) => {
    const { query, args } = documentOf(given);
    if (planOf(args)) planned += 1;
    const [ours, usual] = [await shown(executePlanned(args, execute)), await shown(execute(args))];
    expect(ours.text, query).toBe(usual.text);
    expect(errorsOf(ours.answer), query).toEqual(errorsOf(usual.answer));
    expect(Object.keys(ours.answer), query).toEqual(Object.keys(usual.answer));
  });
  // graphql's own executor leaves some in lists.
  await unhandledOf(() => fc.assert(property, { numRuns: RUNS, endOnFailure: true }));
  expect(planned).toBeGreaterThan(RUNS / 4);
});

test('no rejection is left to end the process', async () => {
  const property = fc.asyncProperty(fc.integer(), async (given) => {
    const { query, args } = documentOf(given);
    if (!planOf(args)) return;
    expect(await unhandledOf(() => Promise.resolve(executePlanned(args, execute))), query).toEqual([]);
  });
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true });
});

const RUNS = 400;

let seed = 0;
const schema = schemaOf(() => seed);

/** A valid document, and what its fields resolve to, by a number. */
function documentOf(given: number): { query: string; args: ExecutionArgs } {
  seed = given;
  const { query, operationName, variables } = randomDocument(schema, diceOf(seed), { depth: 4 });
  const document = parse(query);
  expect(validate(schema, document), query).toEqual([]);
  return { query, args: { schema, document, operationName, variableValues: variables, contextValue: {} } };
}

/** The rejections that are handled by nobody while `run` runs, and in the turn after it. */
async function unhandledOf(run: () => Promise<unknown>): Promise<unknown[]> {
  const left: unknown[] = [];
  const listeners = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', (error) => void left.push(error));
  try {
    await run();
    await turn();
    await turn();
    return left;
  } finally {
    process.removeAllListeners('unhandledRejection');
    for (const listener of listeners) process.on('unhandledRejection', listener);
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
