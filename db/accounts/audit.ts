import { and, desc, eq, lt, sql } from 'drizzle-orm';
import type { Db } from '../client.ts';
import { firstIdBefore, NEW_ID } from '../ids.ts';
import { type AuditRow, auditEvents } from '../schema.ts';

export type NewAuditEvent = Omit<typeof auditEvents.$inferInsert, 'id' | 'at'>;

/** Writes an audit event, in the transaction of the audited change if there is one. */
export async function recordAudit(db: Pick<Db, 'insert'>, event: NewAuditEvent): Promise<void> {
  await db.insert(auditEvents).values({ id: NEW_ID, ...event });
}

/** Audit events, newest first: those that concern `userId`, or all if it is undefined. */
export async function listAuditEvents(
  db: Db,
  { userId, count, after }: { userId: string | undefined; count: number; after?: string | undefined },
): Promise<AuditRow[]> {
  return db
    .select()
    .from(auditEvents)
    .where(and(concerns(userId), after === undefined ? undefined : lt(auditEvents.id, after)))
    .orderBy(desc(auditEvents.id))
    .limit(count);
}

/** One event, if it concerns `userId` or `userId` is undefined. */
export async function findAuditEvent(
  db: Db,
  { id, userId }: { id: string; userId: string | undefined },
): Promise<AuditRow | undefined> {
  const [event] = await db
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.id, id), concerns(userId)));
  return event;
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

function concerns(userId: string | undefined) {
  return userId === undefined ? undefined : eq(auditEvents.userId, userId);
}
