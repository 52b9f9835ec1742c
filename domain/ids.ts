import { v7, validate } from 'uuid';

/** A new UUIDv7: ids are made by the application, and sort by creation. */
export function newId(): string {
  return v7();
}

/** Whether `text` has the form of an id. A malformed id is an unknown one, never an error of the database. */
export function isId(text: string): boolean {
  return validate(text);
}

/** Before every id. */
export const NO_ID = '00000000-0000-0000-0000-000000000000';

/** The smallest UUIDv7 that can be made at `time`: a bound for ranges over ids. */
export function firstIdAt(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-0000-0000-000000000000`;
}
