import { sql } from 'drizzle-orm';
import postgres from 'postgres';
import { firstIdAt } from '../domain/ids.ts';
import { DAY_MS } from '../domain/limits.ts';
import type { Db } from './client.ts';

/**
 * The tables with a partition for each day on which the jobs and builds were made (UTC): what they
 * have of one day goes at once, by the id in which that time is.
 */
export type DailyTable = 'jobs' | 'log_chunks';

/** The partition of one day. The ids in it are at least `from` and below `until`. */
export interface Partition {
  name: string;
  from: string;
  until: string;
}

/** The partition of a day, whether there is one or not. */
export function partitionOf(table: DailyTable, day: Date): Partition {
  const start = new Date(Math.floor(day.getTime() / DAY_MS) * DAY_MS);
  return {
    name: `${table}_${start.toISOString().slice(0, 10).replaceAll('-', '')}`,
    from: firstIdAt(start),
    until: firstIdAt(new Date(start.getTime() + DAY_MS)),
  };
}

/** The partition of a day like "20261129". */
export function partitionOfDay(table: DailyTable, day: string): Partition {
  return partitionOf(table, new Date(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T00:00:00Z`));
}

/** The partitions of days that ended at least `days` days ago, oldest first. */
export async function partitionsBefore(db: Db, table: DailyTable, { days }: { days: number }): Promise<Partition[]> {
  const rows = await db.execute<{ day: string }>(sql`
    SELECT /* partitionsBefore */ right(relname, 8) AS day FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = ${table}::regclass AND relname ~ ('^' || ${table}::text || '_[0-9]{8}$')
      AND to_date(right(relname, 8), 'YYYYMMDD') + 1 <= now() AT TIME ZONE 'UTC' - make_interval(days => ${days})
    ORDER BY relname`);
  return rows.map(({ day }) => partitionOfDay(table, day));
}

/**
 * Drops the partition, attached or not, and its rows. Resolves with whether it is gone. PostgreSQL
 * frees the disk space after it has released the locks.
 */
export async function dropPartition(db: Db, table: DailyTable, { name }: Pick<Partition, 'name'>): Promise<boolean> {
  return changePartitions(db, table, (tx) => tx.execute(sql.raw(`DROP TABLE IF EXISTS ${name}`)));
}

/**
 * Changes the set of partitions. Resolves with false if that is not possible now. The change takes
 * an exclusive lock of the table, or of its default partition. Readers and writers queue behind a
 * session that waits for this lock: behind a long statement, such as a backup, all of them would
 * stop. So it waits for at most LOCK_MS_MAX. PostgreSQL refuses DETACH CONCURRENTLY, which would
 * block no session, if there is a default partition.
 */
export async function changePartitions(
  db: Db,
  table: DailyTable,
  change: (tx: Pick<Db, 'execute'>) => Promise<unknown>,
): Promise<boolean> {
  try {
    return await db.transaction(async (tx) => {
      // Another worker may be changing the partitions. Only this call waits for it.
      await tx.execute(sql.raw(`SET LOCAL lock_timeout = ${TURN_MS_MAX}`));
      await tx.execute(sql`SELECT /* changePartitions */ pg_advisory_xact_lock(hashtext(${`${table} partitions`}))`);
      await tx.execute(sql.raw(`SET LOCAL lock_timeout = ${LOCK_MS_MAX}`));
      await change(tx);
      return true;
    });
  } catch (error) {
    if (stateOf(error) === LOCK_NOT_AVAILABLE) return false;
    throw error;
  }
}

const LOCK_MS_MAX = 200;
const TURN_MS_MAX = 5_000;
const LOCK_NOT_AVAILABLE = '55P03';

/** The SQLSTATE of an error of the database. */
export function stateOf(error: unknown): string | undefined {
  return causeOf(error)?.code;
}

/** The name of the constraint that refused a row. */
export function constraintOf(error: unknown): string | undefined {
  return causeOf(error)?.constraint_name;
}

function causeOf(error: unknown): postgres.PostgresError | undefined {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof postgres.PostgresError ? cause : undefined;
}
