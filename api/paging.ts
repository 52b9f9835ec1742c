import type { IdWindow } from '../db/listing/window.ts';
import { isId } from '../domain/ids.ts';
import { failure } from './errors.ts';

/** A page of a list, as in Relay. Few documents show a cursor, so they are made on demand. */
export interface Page<T> {
  nodes: T[];
  cursorOf(node: T): string;
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  /**
   * Where to go on if that is not the last node: a search may have looked further than it found.
   */
  endCursor?: () => string;
  startCursor?: () => string;
}

/** A page of a list whose items can be counted. */
export interface CountedPage<T> extends Page<T> {
  /** The number of items in the whole list, or COUNTED_MAX + 1 if there are more. */
  count(): Promise<number>;
}

export const PAGE_SIZE = 20;
export const PAGE_SIZE_MAX = 100;

export interface PagingArgs {
  first?: number | null;
  after?: string | null;
  last?: number | null;
  before?: string | null;
}

/** How many items are requested, and from which end. Throws BAD_REQUEST. */
export function pageSize(
  { first, last }: PagingArgs,
  size = PAGE_SIZE,
  sizeMax = PAGE_SIZE_MAX,
): { count: number; backwards: boolean } {
  const [forwards, backwards] = [first ?? undefined, last ?? undefined];
  if (forwards !== undefined && backwards !== undefined)
    throw failure('BAD_REQUEST', 'Give `first` or `last`, not both.');
  const count = forwards ?? backwards ?? size;
  if (count < 1 || count > sizeMax) {
    throw failure(
      'BAD_REQUEST',
      `\`${forwards === undefined ? 'last' : 'first'}\` must be 1 to ${sizeMax}, not ${count}.`,
    );
  }
  return { count, backwards: backwards !== undefined };
}

/** The window of a list by ids. It reads one more than is shown, to know whether there is more. */
export function windowOf(args: PagingArgs): IdWindow {
  const { count, backwards } = pageSize(args);
  return {
    count: count + 1,
    backwards,
    ...(typeof args.after === 'string' ? { after: idOfCursor(args.after) } : {}),
    ...(typeof args.before === 'string' ? { before: idOfCursor(args.before) } : {}),
  };
}

/** The page of the rows that were read for `window`. */
export function pageOf<Row extends { id: string }>(
  rows: Row[],
  { count, backwards, after, before }: IdWindow,
  cursorOf = (row: Row) => cursorOfId(row.id),
): Page<Row> {
  const more = rows.length === count;
  const shown = more ? (backwards ? rows.slice(1) : rows.slice(0, -1)) : rows;
  return {
    nodes: shown,
    cursorOf,
    hasNextPage: backwards ? before !== undefined : more,
    hasPreviousPage: backwards ? more : after !== undefined,
  };
}

/** Adds the number of items to a page. They are counted on demand, and once. */
export function counted<T>(page: Page<T>, count: () => Promise<number>): CountedPage<T> {
  let counting: Promise<number> | undefined;
  return {
    ...page,
    count: () => {
      counting ??= count();
      return counting;
    },
  };
}

export function badCursor(problem = 'A cursor must be one that this list has given.'): Error {
  return failure('BAD_REQUEST', problem);
}

/** The beginning of cursors that carry an order (api/ordering.ts). No cursor of an id has a dot. */
export const ORDERED = /^[A-Z_]+\./;
export const OTHER_ORDER = 'A cursor can only be used with the `orderBy` of the list that has given it.';

const ID_BYTES = 16;

export function cursorOfId(id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url');
}

/** The id of a place in a list by ids, which is given as a cursor or as that id. */
export function idOfPlace(place: string): string {
  return isId(place) ? place.toLowerCase() : idOfCursor(place);
}

export function idOfCursor(cursor: string): string {
  const bytes = Buffer.from(cursor, 'base64url');
  if (bytes.length !== ID_BYTES || bytes.toString('base64url') !== cursor) {
    throw badCursor(ORDERED.test(cursor) ? OTHER_ORDER : undefined);
  }
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
