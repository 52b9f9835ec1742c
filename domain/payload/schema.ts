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
  scheme: 'http' | 'https' | 'dns' | 'tcp';
}

/**
 * Refuses fields of one kind of check for the others. To ignore them would hide that they do
 * nothing.
 */
function checkApplies(payload: Record<string, unknown>, needs: Need[], context: z.RefinementCtx): void {
  if (payload.push !== undefined) {
    for (const key of Object.keys(payload).filter((key) => payload[key] !== undefined && !ALWAYS.includes(key)))
      context.addIssue({ code: 'custom', path: [key], message: key === 'endpoint' ? ONE_OF_BOTH : NO_CHECK });
    return;
  }
  const { endpoint: url, method, body } = payload;
  const scheme = typeof url === 'string' ? /^(https?):/i.exec(url)?.[1]?.toLowerCase() : undefined;
  const report = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });

  const given = needs.filter(({ key }) => payload[key] !== undefined);
  for (const other of ['dns', 'tcp'] as const) {
    if (typeof url === 'string' && url.toLowerCase().startsWith(`${other}:`)) continue;
    for (const need of given.filter((one) => one.scheme === other))
      report(need.key, `This needs an endpoint that is ${other}://.`);
  }
  if (scheme !== 'https')
    for (const need of given.filter((one) => one.scheme === 'https'))
      report(need.key, 'This needs an endpoint that is https://: no other has a certificate.');
  if (scheme === undefined) {
    for (const need of given.filter((one) => one.scheme === 'http'))
      report(need.key, 'This needs an endpoint that is http:// or https://.');
    return;
  }
  if (payload.proxy_auth !== undefined && payload.proxy === undefined)
    report('proxy_auth', 'A login needs a proxy: give "proxy" too.');
  if (body !== undefined && method !== 'POST' && method !== 'PUT')
    report('body', 'A body needs the method POST or PUT.');
  for (const key of BODY_KEYS.filter((key) => payload[key] !== undefined)) {
    if (method === 'HEAD') report(key, 'The answer to HEAD has no body: use GET.');
    if (payload.websocket === true) report(key, 'A WebSocket has no body: leave this out.');
    if (payload.headers_only === true) report(key, 'With headers_only, no body is read: leave one of the two out.');
  }
  for (const key of NOT_FOR_WEBSOCKETS.filter((key) => payload[key] !== undefined)) {
    if (payload.websocket === true) report(key, 'A check of a WebSocket sends GET and expects 101: leave this out.');
  }
  if (payload.http_version === 'HTTP_2') {
    if (payload.websocket === true) report('http_version', 'A WebSocket is opened over HTTP/1.1: leave this out.');
    if (scheme !== 'https') report('http_version', 'HTTP/2 needs an endpoint that is https://.');
  }
  if (payload.max_redirects !== undefined && payload.follow_redirects === false)
    report('max_redirects', 'Without redirects, there is no maximum of them: leave one of the two out.');
}

const ALWAYS = ['kind', 'push'];
const ONE_OF_BOTH = 'Give "endpoint" or "push", not both.';
const NO_CHECK = 'With push, pings come and nothing is checked: leave this out.';

const NOT_FOR_WEBSOCKETS = ['method', 'body', 'expected_status', 'expected_status_ranges', 'headers_only'];

/** The fields that say what the body of the answer must be. */
const BODY_KEYS = ['body_contains', 'body_not_contains', 'body_matches', 'body_json'];

/**
 * The keys of a schema's objects in the table's order. It looks behind lists and optional fields.
 */
export function shapeOf(schema: z.core.$ZodType | undefined): Readonly<Record<string, z.core.$ZodType>> | undefined {
  if (schema instanceof z.ZodOptional) return shapeOf(schema.unwrap());
  if (schema instanceof z.ZodArray) return shapeOf(schema.element);
  if (schema instanceof z.ZodPipe) return shapeOf(schema.in);
  return schema instanceof z.ZodObject ? schema.shape : undefined;
}
