import { type SQL, sql } from 'drizzle-orm';
import { array, type ElementType, type Value } from './arrays.ts';

/**
 * Rows that a statement takes as its input, behind FROM, USING or JOIN:
 *
 *   `rowSet('u', held, { id: 'uuid', leaseToken: 'uuid' })` is
 *   `unnest($1::uuid[], $2::uuid[]) AS u (id, lease_token)`.
 *
 * Each column is one parameter. The text is the same for any number of rows, so the statement stays
 * prepared.
 */
export function rowSet<Key extends string, Row extends { readonly [K in Key]?: Value }>(
  alias: string,
  rows: readonly Row[],
  columns: Record<Key, ElementType> & { [K in Key]: K extends keyof Row ? TypeOf<Row[K]> : never },
): SQL {
  const arrays: SQL[] = [];
  const names: string[] = [];
  for (const key in columns) {
    const values = rows.map((row) => row[key]);
    arrays.push(array(values, columns[key]));
    names.push(toSnakeCase(key));
  }
  return sql`unnest(${sql.join(arrays, sql`, `)}) AS ${sql.raw(`${alias} (${names.join(', ')})`)}`;
}

/** The column types that can hold a value of the type `V`. */
type TypeOf<V> = V extends string
  ? 'uuid' | 'text' | 'timestamptz'
  : V extends number
    ? 'integer' | 'double precision'
    : V extends boolean
      ? 'boolean'
      : V extends Buffer
        ? 'bytea'
        : never;

function toSnakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * Statements that lock several rows take them in the order of their ids, so that two overlapping
 * statements do not deadlock.
 */
export function sortedById<Row extends { id: string }>(rows: readonly Row[]): Row[] {
  return rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
