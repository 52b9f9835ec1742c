import { and, asc, desc, eq, gt, lt, type SQL, sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { firstIdBefore, NEW_ID } from '../ids.ts';
import { countUpTo } from '../listing/count.ts';
import { type IdWindow, inListOrder } from '../listing/window.ts';
import { named } from '../named.ts';
import { type AuditRow, auditEvents } from '../schema.ts';

export type NewAuditEvent = Omit<typeof auditEvents.$inferInsert, 'id' | 'at'>;

/** Writes an audit event, in the transaction of the audited change if there is one. */
export async function recordAudit(db: Pick<Db, 'insert'>, event: NewAuditEvent): Promise<void> {
  await db.insert(auditEvents).values({ id: NEW_ID, ...event });
}

/** Audit events, newest first: those that concern `userId`, or all if it is undefined. */
export async function listAuditEvents(
  db: Db,
  { userId }: { userId: string | undefined },
  window: IdWindow,
): Promise<AuditRow[]> {
  const { count, backwards, after, before } = window;
  const rows = await db
    .select()
    .from(auditEvents)
    .where(
      and(
        concerns(userId),
        after === undefined ? undefined : lt(auditEvents.id, after),
        before === undefined ? undefined : gt(auditEvents.id, before),
      ),
    )
    .orderBy(backwards ? asc(auditEvents.id) : desc(auditEvents.id))
    .limit(count);
  return inListOrder(rows, window);
}

/** How many of these events there are, or `max + 1` if there are more than `max`. */
export async function countAuditEvents(
  db: Db,
  { userId }: { userId: string | undefined },
  max: number,
): Promise<number> {
  return countUpTo(db, 'countAuditEvents', { table: auditEvents, condition: concerns(userId), max });
}

/** The events with these ids that concern `userId`, or all of them if it is undefined. */
export async function findAuditEvents(
  db: Db,
  { ids, userId }: { ids: string[]; userId: string | undefined },
): Promise<AuditRow[]> {
  if (ids.length === 0) return [];
  return named(
    'findAuditEvents',
    db
      .select()
      .from(auditEvents)
      .where(and(eq(auditEvents.id, sql`ANY(${array(ids, 'uuid')})`), concerns(userId))),
  );
}

/**
 * Removes at most `limit` events that are older than `days` days by the database's clock. Resolves
 * with their number.
 */
export async function removeOldAuditEvents(db: Db, { days, limit }: { days: number; limit: number }): Promise<number> {
  const removed = await db.execute(sql`
    DELETE /* removeOldAuditEvents */ FROM audit_events WHERE id = ANY(ARRAY(
      SELECT id FROM audit_events WHERE id < ${firstIdBefore(sql`${days}`)} ORDER BY id LIMIT ${limit}
      FOR UPDATE SKIP LOCKED)) RETURNING 1`);
  return removed.length;
}

function concerns(userId: string | undefined): SQL | undefined {
  return userId === undefined ? undefined : eq(auditEvents.userId, userId);
}
