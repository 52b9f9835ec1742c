import { GraphQLError } from 'graphql';
import { builder } from './builder.ts';

builder.scalarType('DateTime', {
  description:
    'An instant: RFC 3339 in UTC, with at least milliseconds, like "2026-01-31T12:00:00.000Z". Input may have an offset.',
  serialize: (value) => (value instanceof Date ? value.toISOString() : value),
  parseValue: (value) => {
    const instant = typeof value === 'string' && RFC_3339.test(value) ? new Date(value) : undefined;
    if (!instant || Number.isNaN(instant.getTime())) {
      throw new GraphQLError('A DateTime must be RFC 3339 with an offset, like "2026-01-31T12:00:00.000Z".');
    }
    return instant;
  },
});

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;
