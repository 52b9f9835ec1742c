import { z } from 'zod';
import type { KeyWindow, OrderKey } from '../db/listing/window.ts';
import { isId } from '../domain/ids.ts';
import { textProblem } from '../domain/text.ts';
import {
  badCursor,
  cursorOfId,
  idOfCursor,
  ORDERED,
  OTHER_ORDER,
  type PagingArgs,
  pageSize,
  windowOf,
} from './paging.ts';

/** The order of a list: by a field, and by ids where that is equal. */
export interface Order<Field extends string = string> {
  field: Field;
  ascending: boolean;
  /** The type of the key in a cursor. Undefined for the order of ids, which are their own keys. */
  keyType: OrderKey['type'] | undefined;
}

/**
 * The window of a list in an order. A cursor of any order but newest first, the default, carries
 * its order, because it is no position in another one. Throws BAD_REQUEST.
 */
export function orderedWindowOf(args: PagingArgs, order: Order): KeyWindow {
  if (isDefault(order)) return windowOf(args);
  const { count, backwards } = pageSize(args);
  const after = positionOf(args.after, order);
  const before = positionOf(args.before, order);
  return {
    count: count + 1,
    backwards,
    ...(order.ascending ? { ascending: true } : {}),
    ...(after === undefined ? {} : { after: after.id }),
    ...(after?.key === undefined ? {} : { afterKey: after.key }),
    ...(before === undefined ? {} : { before: before.id }),
    ...(before?.key === undefined ? {} : { beforeKey: before.key }),
  };
}

/** The cursor of a row in a list of this order. */
export function orderedCursorOf(order: Order): (row: { id: string; key?: string | null }) => string {
  if (isDefault(order)) return ({ id }) => cursorOfId(id);
  return ({ id, key }) => `${nameOf(order)}.${Buffer.from(JSON.stringify([id, key ?? null])).toString('base64url')}`;
}

function positionOf(cursor: string | null | undefined, order: Order): { id: string; key?: string } | undefined {
  if (typeof cursor !== 'string') return undefined;
  if (!ORDERED.test(cursor)) {
    idOfCursor(cursor); // says what is wrong if it is not even a cursor
    throw badCursor(OTHER_ORDER);
  }
  const [name = '', position = ''] = cursor.split('.', 2);
  if (name !== nameOf(order)) throw badCursor(OTHER_ORDER);
  const parsed = Position.safeParse(jsonOf(position));
  if (!parsed.success) throw badCursor();
  const [id, key] = parsed.data;
  if (order.keyType === undefined) return { id };
  if (key === null || !fits(key, order.keyType)) throw badCursor();
  return { id, key };
}

const Position = z.tuple([z.string().refine(isId), z.string().max(2_000).nullable()]);

/** Callers can forge a cursor: its key must be a value that the database accepts. */
function fits(key: string, type: OrderKey['type']): boolean {
  if (type === 'text') return textProblem(key) === undefined;
  return /^-?\d{1,19}$/.test(key) && BigInt.asIntN(64, BigInt(key)) === BigInt(key);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    return undefined; // not a cursor, which the caller says
  }
}

function isDefault({ keyType, ascending }: Order): boolean {
  return keyType === undefined && !ascending;
}

function nameOf({ field, ascending }: Order): string {
  return `${field}_${ascending ? 'ASC' : 'DESC'}`;
}
