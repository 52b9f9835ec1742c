import type { z } from 'zod';
import { CONTAINER_RESOURCES_MAX } from '../limits.ts';
import { containerFields, factsOf, heartbeatFields } from './fields.ts';
import type { GivenPayload, Payload } from './payload.ts';
import { shapeOf } from './schema.ts';

/**
 * The JSON document of a payload: the kind first, then the keys in one order, so that equal payloads
 * print alike. Of a secret it says that it is one, and no more.
 */
export function printPayload(payload: Payload | GivenPayload): string {
  const values = new Map<string, unknown>(Object.entries(payload));
  const document = FIELDS[payload.kind].flatMap(([key, schema]) =>
    values.has(key) ? [[key, ordered(values.get(key), schema)]] : [],
  );
  return JSON.stringify(Object.fromEntries([['kind', payload.kind], ...document]), (_, value: unknown) =>
    isSecret(value) ? { secret: true } : value,
  );
}

type Fields = readonly (readonly [key: string, schema: z.core.$ZodType])[];

// Where a key stands does not depend on the limits.
const FIELDS: Record<Payload['kind'], Fields> = {
  HEARTBEAT: byPosition(heartbeatFields()),
  CONTAINER: byPosition(containerFields({ maxJobSeconds: 1, maxResources: CONTAINER_RESOURCES_MAX })),
};

function byPosition(fields: Record<string, z.core.$ZodType>): Fields {
  const position = (schema: z.core.$ZodType) => factsOf(schema)?.position ?? Number.POSITIVE_INFINITY;
  return Object.entries(fields).sort(([, a], [, b]) => position(a) - position(b));
}

/** The keys of an object within the document in its schema's order: the database keeps none. */
function ordered(value: unknown, schema: z.core.$ZodType | undefined): unknown {
  const shape = shapeOf(schema);
  if (shape === undefined || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => ordered(item, schema));
  const values = new Map<string, unknown>(Object.entries(value));
  return Object.fromEntries(
    Object.keys(shape).flatMap((key) => (values.has(key) ? [[key, ordered(values.get(key), shape[key])]] : [])),
  );
}

/** Of all that a payload holds, secrets alone are objects that say so. */
function isSecret(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'secret' in value && value.secret === true;
}
