import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { CONTAINER_RESOURCES_MAX } from '../../domain/limits.ts';
import { containerFields, heartbeatFields } from '../../domain/payload/fields.ts';
import { parsePayload } from '../../domain/payload/input.ts';
import { shapeOf } from '../../domain/payload/schema.ts';
import { camelCase } from '../../domain/payload/typed-input.ts';
import type { Problem } from '../../domain/problem.ts';

const LIMITS = { maxJobSeconds: 60, maxResources: CONTAINER_RESOURCES_MAX };

/** As JSON: 1e999 and __proto__ have no other way in. */
const WRONG = [
  ...['null', 'true', '-1', '0', '1.5', '1e999', '-1e999', '1e300', '""', '"x"', '" "', '"\\u0000"', '"\\ud800"'],
  ...['[]', '[null]', '[1]', '[[]]', '[""]', '["x"]', '["x","x"]', '[{}]', '[{"x":1}]', '[true]', '[1e999]', '[-1.5]'],
  ...['{}', '{"x":1}', '{"":null}', '{"__proto__":{}}', '{"constructor":1}', '{"secret":true}', '{"secret":1}'],
  ...[`"${'x'.repeat(5_000)}"`, JSON.stringify(Array(200).fill('x')), '{"a":{"a":{"a":{"a":[[[[1]]]]}}}}'],
];

/** The values to try for a field: wrong ones in its place, and in each place within it. */
function variants(schema: z.core.$ZodType | undefined): string[] {
  const within = Object.entries(shapeOf(schema) ?? {}).flatMap(([key, inner]) =>
    variants(inner).flatMap((value) => {
      const object = `{${JSON.stringify(key)}:${value}}`;
      return [object, `[${object}]`];
    }),
  );
  return [...WRONG, ...within];
}

const KINDS = {
  HEARTBEAT: { fields: heartbeatFields(), base: { endpoint: '"https://a.example/"' } },
  CONTAINER: { fields: containerFields(LIMITS), base: { image: '"a"' } },
};

const FIELDS = Object.entries(KINDS).flatMap(([kind, { fields, base }]) =>
  Object.entries<z.core.$ZodType>({ ...fields }).map(([key, schema]) => ({ kind, key, schema, base })),
);

/** The words of the validator, of Node and of JavaScript, which tell a person nothing. */
const RAW =
  /invalid (input|type|option|key|element|value|string)|received|unrecognized|too (big|small)|\bNaN\b|undefined|\[object|Infinity|ZodError|TypeError|cannot read/i;

function check(problems: Problem[] | undefined, written: string): void {
  for (const { message } of problems ?? []) {
    const own = message.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
    expect(own, written.slice(0, 200)).not.toMatch(RAW);
    expect(message, written.slice(0, 200)).toMatch(/^["A-Za-z].* .*[.?]$/s);
  }
}

describe('a wrong value anywhere in a payload is answered by a sentence of ours', () => {
  test.each(FIELDS)('$kind $key', ({ kind, key, schema, base }) => {
    for (const value of variants(schema)) {
      const members = Object.entries({ ...base, [key]: value }).map(
        ([name, text]) => `${JSON.stringify(name)}:${text}`,
      );
      const json = `{"kind":"${kind}",${members.join()}}`;
      check(parsePayload({ json }, LIMITS).problems, json);
      const typed = { ...base, [key]: value };
      const input = Object.fromEntries(
        Object.entries(typed).map(([name, text]) => [camelCase(name), withCamelCase(JSON.parse(text))]),
      );
      // GraphQL lets most of these never through. The parser must not depend on that.
      const alternative: Parameters<typeof parsePayload>[0] = { [kind.toLowerCase()]: input };
      if (key !== 'headers' && key !== 'env') check(parsePayload(alternative, LIMITS).problems, JSON.stringify(input));
    }
  });

  test.each([
    '',
    'null',
    '[]',
    '"x"',
    '1',
    '{',
    '{"kind":1}',
    '{"kind":"x"}',
    '{"kind":null}',
    '\u0000',
    '{"kind":"CONTAINER"',
  ])('a document that is %j', (json) => {
    const { problems } = parsePayload({ json }, LIMITS);
    expect(problems).toHaveLength(1);
    check(problems, json);
  });
});

function withCamelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withCamelCase);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [camelCase(name), withCamelCase(inner)]));
}
