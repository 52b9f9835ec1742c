import { randomInt } from 'node:crypto';
import { v7, validate } from 'uuid';

let lastMs = 0;
let sequence = 0;

/**
 * A new UUIDv7. The application makes the ids, and those of one process sort by its clock, and by
 * their making within a millisecond. The library alone would go on from the latest time that it has
 * met, even if the clock was far ahead then and has been corrected.
 */
export function newId(): string {
  const msecs = Date.now();
  sequence = msecs === lastMs ? sequence + 1 : randomInt(SEQUENCE_MAX);
  lastMs = msecs;
  return v7({ msecs, seq: sequence });
}

/** Half of the 32 bits between the time and the last 42 bits, so that a sequence has room. */
const SEQUENCE_MAX = 2 ** 31;

/**
 * Whether `text` has the form of an id. A malformed id counts as unknown, and never becomes an
 * error of the database.
 */
export function isId(text: string): boolean {
  return validate(text);
}

/** Sorts before every id. */
export const NO_ID = '00000000-0000-0000-0000-000000000000';

/**
 * The smallest UUIDv7 that can be made at `time`: a bound for ranges over ids. Ids hold times from
 * 1970 to the year 10889 (48 bits of milliseconds). A bound for an earlier time sorts before every
 * id. A bound for a later time sorts behind all ids that are made until then.
 */
export function firstIdAt(time: Date): string {
  const ms = Math.min(Math.max(time.getTime(), 0), ID_TIME_MS_MAX);
  const hex = ms.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-0000-0000-000000000000`;
}

/** When a UUIDv7 was made, to the millisecond. */
export function timeOfId(id: string): Date {
  return new Date(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16));
}

const ID_TIME_MS_MAX = 0xffff_ffff_ffff;
