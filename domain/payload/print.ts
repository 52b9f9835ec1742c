import type { z } from 'zod';
import { CONTAINER_RESOURCES_MAX } from '../limits.ts';
import { containerFields, factsOf, heartbeatFields } from './fields.ts';
import { inOrder, PAIRS_KEYS } from './pairs.ts';
import type { GivenPayload, Payload } from './payload.ts';
import { shapeOf } from './schema.ts';

/**
 * The JSON document of a payload: the kind first, then the keys in one order, with environment and
 * headers in the order of their author. It shows only that a secret is one.
 */
export function printPayload(payload: Payload | GivenPayload): string {
  const values = new Map<string, unknown>(Object.entries(payload));
  const members = FIELDS[payload.kind].flatMap(([key, schema]) => {
    const value = values.get(key);
    if (value === undefined) return [];
    const pairsKey = PAIRS_KEYS.find((one) => one === key);
    const isPairs = pairsKey !== undefined && typeof value === 'object' && value !== null;
    const text = isPairs ? printPairs(value, payload.order?.[pairsKey]) : masked(ordered(value, schema));
    return [`${JSON.stringify(key)}:${text}`];
  });
  return `{${[`"kind":"${payload.kind}"`, ...members].join()}}`;
}

/** Builds the text itself: a JavaScript object puts names that are whole numbers first. */
function printPairs(pairs: object, order: readonly string[] | undefined): string {
  const entries = inOrder<unknown>(Object.entries(pairs), order);
  return `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${masked(value)}`).join()}}`;
}

function masked(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (isSecret(part) ? { secret: true } : part));
}

type Fields = readonly (readonly [key: string, schema: z.core.$ZodType])[];

// The place of a key does not depend on the limits.
const FIELDS: Record<Payload['kind'], Fields> = {
  HEARTBEAT: byPosition(heartbeatFields()),
  CONTAINER: byPosition(containerFields({ maxJobSeconds: 1, maxResources: CONTAINER_RESOURCES_MAX })),
};

function byPosition(fields: Record<string, z.core.$ZodType>): Fields {
  const position = (schema: z.core.$ZodType) => factsOf(schema)?.position ?? Number.POSITIVE_INFINITY;
  return Object.entries(fields).sort(([, a], [, b]) => position(a) - position(b));
}

/**
 * Puts the keys of an object within the document in its schema's order: the database keeps none.
 */
function ordered(value: unknown, schema: z.core.$ZodType | undefined): unknown {
  const shape = shapeOf(schema);
  if (shape === undefined || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => ordered(item, schema));
  const values = new Map<string, unknown>(Object.entries(value));
  return Object.fromEntries(
    Object.keys(shape).flatMap((key) => (values.has(key) ? [[key, ordered(values.get(key), shape[key])]] : [])),
  );
}

/** In a payload, only secrets are objects with `secret: true`. */
function isSecret(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'secret' in value && value.secret === true;
}
