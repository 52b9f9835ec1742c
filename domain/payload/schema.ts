import { z } from 'zod';
import { containerFields, type FieldLimits, factsOf, heartbeatFields } from './fields.ts';

/**
 * The rules of a payload, for the typed input and the JSON document alike. Environment and headers
 * come as lists of pairs here. Messages are whole sentences.
 */
export function payloadSchemas(limits: FieldLimits) {
  const ofHeartbeat = heartbeatFields();
  const needs = Object.entries(ofHeartbeat).flatMap(([key, schema]): Need[] => {
    const scheme = factsOf(schema)?.needs;
    return scheme === undefined ? [] : [{ key, scheme }];
  });
  return {
    HEARTBEAT: z
      .strictObject({ kind: z.literal('HEARTBEAT'), ...ofHeartbeat })
      .superRefine((payload, context) => checkApplies(payload, needs, context)),
    CONTAINER: z.strictObject({ kind: z.literal('CONTAINER'), ...containerFields(limits) }),
  };
}

interface Need {
  key: string;
  scheme: 'http' | 'https';
}

/**
 * Refuses fields of an HTTP request for the other checks. To ignore them would hide that they do
 * nothing.
 */
function checkApplies(payload: Record<string, unknown>, needs: Need[], context: z.RefinementCtx): void {
  const { endpoint: url, method, body, body_contains: contained } = payload;
  const scheme = typeof url === 'string' ? /^(https?):/i.exec(url)?.[1]?.toLowerCase() : undefined;
  const report = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });

  const given = needs.filter(({ key }) => payload[key] !== undefined);
  if (scheme !== 'https')
    for (const need of given.filter((one) => one.scheme === 'https'))
      report(need.key, 'This needs an endpoint that is https://: no other has a certificate.');
  if (scheme === undefined) {
    for (const need of given.filter((one) => one.scheme === 'http'))
      report(need.key, 'This needs an endpoint that is http:// or https://.');
    return;
  }
  if (body !== undefined && method !== 'POST' && method !== 'PUT')
    report('body', 'A body needs the method POST or PUT.');
  if (contained !== undefined && method === 'HEAD') report('body_contains', 'The answer to HEAD has no body: use GET.');
}

/**
 * The keys of a schema's objects in the table's order. It looks behind lists and optional fields.
 */
export function shapeOf(schema: z.core.$ZodType | undefined): Readonly<Record<string, z.core.$ZodType>> | undefined {
  if (schema instanceof z.ZodOptional) return shapeOf(schema.unwrap());
  if (schema instanceof z.ZodArray) return shapeOf(schema.element);
  if (schema instanceof z.ZodPipe) return shapeOf(schema.in);
  return schema instanceof z.ZodObject ? schema.shape : undefined;
}
