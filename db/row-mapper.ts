import { Column, is, SQL } from 'drizzle-orm';
import { PgTimestamp } from 'drizzle-orm/pg-core';

/** How the builder describes a column of an answer. */
interface Selected {
  /** Where its value goes: the name of a field, or those of an object and its field. */
  path: string[];
  field: unknown;
}

type Decode = (value: unknown) => unknown;

/**
 * Makes objects of the rows of one query, as the builder would. The builder finds out for each
 * value anew what column it is of, and this finds it out once. Undefined for a query that only the
 * builder can map: one with outer joins, or with other kinds of fields.
 */
export function rowMapper(
  selected: Selected[],
  joins: Record<string, boolean> | undefined,
): ((rows: unknown[][]) => unknown[]) | undefined {
  if (Object.values(joins ?? {}).includes(false) || selected.some(({ path }) => path.length > 2)) return undefined;
  const places = selected.flatMap(({ path: [first = '', second], field }) => {
    const decoder = decoderOf(field);
    return decoder === undefined ? [] : [{ first, second, decode: decodes(decoder) }];
  });
  if (places.length < selected.length) return undefined;
  return (rows) =>
    rows.map((row) => {
      const result: Record<string, unknown> = {};
      for (let n = 0; n < places.length; n++) {
        const place = places[n];
        if (place === undefined) continue;
        const { first, second, decode } = place;
        const raw = row[n];
        const value = raw === null || decode === undefined ? raw : decode(raw);
        if (second === undefined) result[first] = value;
        else objectIn(result, first)[second] = value;
      }
      return result;
    });
}

function objectIn(result: Record<string, unknown>, name: string): Record<string, unknown> {
  const known = result[name];
  if (typeof known === 'object' && known !== null) return known as Record<string, unknown>;
  const made = {};
  result[name] = made;
  return made;
}

interface Decoder {
  mapFromDriverValue: Decode;
}

function decoderOf(field: unknown): Decoder | undefined {
  if (is(field, Column)) return field;
  if (is(field, SQL)) return Reflect.get(field, 'decoder');
  if (is(field, SQL.Aliased)) return Reflect.get(field.sql, 'decoder');
  return undefined;
}

/** Undefined if the driver's value is the value. */
function decodes(decoder: Decoder): Decode | undefined {
  if (is(decoder, PgTimestamp) && decoder.withTimezone) return toDate;
  if (decoder.mapFromDriverValue === Column.prototype.mapFromDriverValue) return undefined;
  return (value) => decoder.mapFromDriverValue(value);
}

/**
 * The time in a text like "2026-01-31 12:00:00.123456+00", without its microseconds. Sessions are
 * in UTC. JavaScript's own parser takes several times as long: it gets the years that this does not
 * know.
 */
function toDate(value: unknown): Date {
  if (typeof value !== 'string') throw new TypeError('A time of the driver must be a text.');
  const hasYear = value.charCodeAt(0) > ZERO && value.charCodeAt(4) === DASH; // one of 1000 to 9999
  const isPlain = hasYear && value.length >= UTC_LENGTH_MIN && value.endsWith('+00');
  if (!isPlain) return new Date(value);
  const digits = (from: number, to: number) => {
    let number = 0;
    for (let n = from; n < to; n++) number = number * 10 + value.charCodeAt(n) - ZERO;
    return number;
  };
  let milliseconds = 0;
  for (let n = 20, unit = 100; n < value.length - 3 && unit >= 1; n++, unit /= 10)
    milliseconds += digits(n, n + 1) * unit;
  if (!value.startsWith(lastDay)) {
    lastDayMs = Date.UTC(digits(0, 4), digits(5, 7) - 1, digits(8, 10));
    lastDay = value.slice(0, DAY_LENGTH);
  }
  const seconds = (digits(11, 13) * 60 + digits(14, 16)) * 60 + digits(17, 19);
  return new Date(lastDayMs + seconds * 1_000 + milliseconds);
}

/** Rows that are read together are mostly of one day. */
let lastDay = '1970-01-01';
let lastDayMs = 0;
const DAY_LENGTH = '2026-01-31'.length;

const UTC_LENGTH_MIN = '2026-01-31 12:00:00+00'.length;
const DASH = 45;
const ZERO = 48;
