import { and, asc, type Column, desc, gt, lt, type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { Shape, Values } from '../prepared.ts';

/**
 * A window of a list, newest first, or oldest first if it is `ascending`. Its bounds are keys, so
 * it costs the same at any place. `before` and `after` are ids outside the window. Backwards,
 * `count` is counted from the end of the list.
 */
export interface IdWindow {
  count: number;
  backwards: boolean;
  ascending?: boolean;
  after?: string;
  before?: string;
}

/** A window of a list in the order of a key, and of ids where keys are equal. */
export interface KeyWindow extends IdWindow {
  afterKey?: string;
  beforeKey?: string;
}

/** The key that orders a list, as the left side of a comparison, and the type of its values. */
export interface OrderKey {
  sql: SQL;
  type: 'text' | 'bigint';
}

/** The conditions of a window: behind `after`, ahead of `before`. */
export function within(id: Column, shape: Shape, key?: OrderKey): SQL | undefined {
  const isAscending = shape.has('ascending');
  const beyond = (name: string, isAbove: boolean) => {
    const value = shape.placeholder(name);
    if (value === undefined) return undefined;
    if (key === undefined) return isAbove ? gt(id, value) : lt(id, value);
    const position = sql`(${sql.placeholder(`${name}Key`)}::${sql.raw(key.type)}, ${value}::uuid)`;
    return sql`(${key.sql}, ${id}) ${sql.raw(isAbove ? '>' : '<')} ${position}`;
  };
  return and(beyond('after', isAscending), beyond('before', !isAscending));
}

/** The order in which the rows of a window are read: from the end that `count` is counted from. */
export function order(id: Column, shape: Shape, key?: OrderKey): SQL[] {
  const direction = shape.has('ascending') === shape.has('backwards') ? desc : asc;
  return key === undefined ? [direction(id)] : [direction(key.sql), direction(id)];
}

export function where(
  compare: (column: Column, value: Placeholder) => SQL,
  column: Column,
  value: Placeholder | undefined,
): SQL | undefined {
  return value && compare(column, value);
}

export function windowValues({ backwards, ascending, ...bounds }: KeyWindow): Values {
  return { ...bounds, backwards: backwards || undefined, ascending: ascending || undefined };
}

/**
 * Leaves out null values, which mean no filter. Sends instants as text, because a placeholder has
 * no column type.
 */
export function given(values: Values): Values {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      value === undefined || value === null ? [] : [[name, value instanceof Date ? value.toISOString() : value]],
    ),
  );
}

/** The rows of a window in the order of the list, from the order in which they were read. */
export function inListOrder<Row>(rows: Row[], { backwards }: IdWindow): Row[] {
  return backwards ? rows.reverse() : rows;
}
