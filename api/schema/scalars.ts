import { GraphQLError } from 'graphql';
import { isoTime } from '../../domain/iso-time.ts';
import { builder } from './builder.ts';

builder.scalarType('DateTime', {
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  description:
    'A date and time in RFC 3339, like "2026-01-31T12:00:00.000Z", in the years 1 to 9999. Output is in UTC with at least milliseconds; input can have any offset.',
  serialize: (value) => (value instanceof Date ? isoTime(value) : value),
  parseValue: (value) => {
    const instant = typeof value === 'string' ? instantOf(value) : undefined;
    if (!instant)
      throw new GraphQLError('A DateTime must be RFC 3339 with an offset, like "2026-01-31T12:00:00.000Z".');
    const time = instant.getTime();
    if (time < FIRST || time > LAST) throw new GraphQLError('A DateTime must be in the years 1 to 9999 of UTC.');
    return instant;
  },
});

const RFC_3339 = /^(\d{4}-\d{2}-(\d{2}))[Tt](?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;
/** RFC 3339 has no other years, and the database refuses them. */
const FIRST = Date.parse('0001-01-01T00:00:00.000Z');
const LAST = Date.parse('9999-12-31T23:59:59.999Z');

function instantOf(text: string): Date | undefined {
  const [, date, day] = RFC_3339.exec(text) ?? [];
  if (date === undefined) return undefined;
  const instant = new Date(text);
  if (Number.isNaN(instant.getTime())) return undefined;
  // Date takes February 30 for March 2.
  return new Date(date).getUTCDate() === Number(day) ? instant : undefined;
}
