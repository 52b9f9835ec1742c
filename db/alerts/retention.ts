import { sql } from 'drizzle-orm';
import type { Db } from '../client.ts';
import { firstIdBefore } from '../ids.ts';

interface Old {
  /** By the database's clock. */
  days: number;
  limit: number;
}

/** Removes at most `limit` deliveries that are older than `days` days. Returns their number. */
export async function removeOldDeliveries(db: Db, { days, limit }: Old): Promise<number> {
  const removed = await db.execute(sql`
    WITH /* removeOldDeliveries */ old AS (
      DELETE FROM alert_deliveries WHERE id = ANY(ARRAY(
        SELECT id FROM alert_deliveries WHERE id < ${firstIdBefore(sql`${days}`)} ORDER BY id LIMIT ${limit}
        FOR UPDATE SKIP LOCKED)) RETURNING id
    ), queued AS (
      DELETE FROM alert_due USING old WHERE delivery_id = ANY(ARRAY[old.id])
    )
    SELECT 1 FROM old`);
  return removed.length;
}

/**
 * Removes at most `limit` channels that were deleted more than `days` days ago, once their
 * deliveries are gone. Returns their number.
 */
export async function removeDeletedChannels(db: Db, { days, limit }: Old): Promise<number> {
  const removed = await db.execute(sql`
    DELETE /* removeDeletedChannels */ FROM alert_channels WHERE id = ANY(ARRAY(
      SELECT id FROM alert_channels c WHERE deleted_at < now() - make_interval(days => ${days})
        AND NOT EXISTS (SELECT FROM alert_deliveries WHERE channel_id = c.id OFFSET 0)
      ORDER BY deleted_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)) RETURNING 1`);
  return removed.length;
}

/** Removes at most `limit` outages that ended more than `days` days ago. Returns their number. */
export async function removeOldOutages(db: Db, { days, limit }: Old): Promise<number> {
  const removed = await db.execute(sql`
    DELETE /* removeOldOutages */ FROM outages WHERE id = ANY(ARRAY(
      SELECT id FROM outages WHERE ended_at < now() - make_interval(days => ${days}) ORDER BY ended_at LIMIT ${limit}
      FOR UPDATE SKIP LOCKED)) RETURNING 1`);
  return removed.length;
}

/** Removes at most `limit` incidents that ended more than `days` days ago. Returns their number. */
export async function removeOldIncidents(db: Db, { days, limit }: Old): Promise<number> {
  const removed = await db.execute(sql`
    DELETE /* removeOldIncidents */ FROM incidents WHERE id = ANY(ARRAY(
      SELECT id FROM incidents WHERE resolved_at < now() - make_interval(days => ${days}) ORDER BY resolved_at LIMIT ${limit}
      FOR UPDATE SKIP LOCKED)) RETURNING 1`);
  return removed.length;
}
