import { v7, validate } from 'uuid';

/** A new UUIDv7: ids are made by the application, and sort by creation. */
export function newId(): string {
  return v7();
}

/**
 * Whether `text` has the form of an id. A malformed id is an unknown one, never an error of the
 * database.
 */
export function isId(text: string): boolean {
  return validate(text);
}

/** Before every id. */
export const NO_ID = '00000000-0000-0000-0000-000000000000';

/**
 * The smallest UUIDv7 that can be made at `time`: a bound for ranges over ids. They hold times from
 * 1970 to the year 10889 (48 bits of milliseconds): a bound before that is before every id, and one
 * after it is behind all that are made until then.
 */
export function firstIdAt(time: Date): string {
  const ms = Math.min(Math.max(time.getTime(), 0), ID_TIME_MS_MAX);
  const hex = ms.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-0000-0000-000000000000`;
}

const ID_TIME_MS_MAX = 0xffff_ffff_ffff;
