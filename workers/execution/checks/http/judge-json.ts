import type { Mask } from '../../../../domain/masking/mask.ts';
import { parseJsonPath, valuesAt } from '../../../../domain/payload/json-path.ts';
import type { HeartbeatPayload } from '../../../../domain/payload/payload.ts';
import { quoted } from '../quote.ts';
import type { BodyReader } from './body.ts';

type Wanted = NonNullable<HeartbeatPayload['body_json']>;

/**
 * What is wrong with a body that should be JSON with a value at a path, in words that follow "with
 * a body that".
 */
export function jsonProblem(body: BodyReader, { path, value: wanted }: Wanted, mask: Mask | undefined) {
  const expected = `JSON with ${wanted === undefined ? 'something' : JSON.stringify(wanted)} at ${path} was expected.`;
  if (body.undecodable !== undefined) return `cannot be read: ${body.undecodable}. ${expected}`;
  const document = parsed(body.first());
  if (document === undefined)
    return `is ${body.isBound ? 'too long for JSON' : 'not JSON'} and begins ${body.shown}. ${expected}`;
  const values = valuesAt(document.value, parseJsonPath(path) ?? []);
  if (values.length === 0) return `has nothing at ${path}, and begins ${body.shown}. ${expected}`;
  if (wanted === undefined || values.some((value) => isWritten(value, wanted))) return undefined;
  return `has ${quoted(mask, textOf(values[0]) ?? kindOf(values[0]))} at ${path}. ${expected}`;
}

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined; // the message says what it is
  }
}

/** Whether `value` can be written as `wanted`: the number 5 is `5.00` too. */
function isWritten(value: unknown, wanted: string): boolean {
  if (typeof value === 'number' && JSON_NUMBER.test(wanted)) return value === Number(wanted);
  return textOf(value) === wanted;
}

const JSON_NUMBER = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i;

/** A text itself, or a number, true, false or null as JSON. Undefined for an object or a list. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'object' && value !== null ? undefined : String(value);
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'a list' : 'an object';
}
