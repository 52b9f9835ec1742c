import { getTableColumns, sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import type { Db } from '../../db/client.ts';
import { boundStatement, makeJobDay, makeJobDays } from '../../db/job-days.ts';
import { partitionOf } from '../../db/partitions.ts';
import { jobs } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';

export const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS);

/** Makes the partitions of the last `count` days, as if the installation were so old. */
export async function makePastDays(db: Db, count: number): Promise<void> {
  const { from } = partitionOf('jobs', daysAgo(count));
  await db.execute(sql.raw(boundStatement({ from, until: partitionOf('jobs', new Date('2100-01-01')).from })));
  for (let day = count; day >= 0; day--) {
    const partition = partitionOf('jobs', daysAgo(day));
    const [found] = await db.execute<{ attached: boolean }>(sql`
      SELECT relispartition AS attached FROM pg_class WHERE relname = ${partition.name}`);
    if (found?.attached === false) await db.execute(sql.raw(`DROP TABLE ${partition.name}`));
    if (found?.attached !== true) await makeJobDay(db, partition);
  }
  await makeJobDays(db, { daysAhead: 0 });
}

/** The partitions of jobs that have rows, with the number of these. */
export async function rowsByDay(db: Db): Promise<Record<string, number>> {
  const rows = await db.execute<{ name: string; count: number }>(sql`
    SELECT tableoid::regclass::text AS name, count(*)::integer AS count FROM jobs GROUP BY 1 ORDER BY 1`);
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
}

/** Stores a job that was made so many days ago, and ended then. */
export async function insertOldJob(
  db: Db,
  {
    userId,
    workflowId = newId(),
    days,
    ...changes
  }: Partial<typeof jobs.$inferInsert> & { userId: string; days: number },
): Promise<string> {
  const at = daysAgo(days);
  const id = v7({ msecs: at.getTime() });
  const values: Partial<typeof jobs.$inferInsert> = {
    id,
    workflowId,
    userId,
    kind: 'HEARTBEAT',
    trigger: 'MANUAL',
    status: 'COMPLETED',
    generation: 1,
    attempt: 1,
    scheduledAt: at,
    createdAt: at,
    startedAt: at,
    completedAt: at,
    ...changes,
  };
  // Only the given columns: a database of an earlier version lacks some.
  const given = Object.entries(getTableColumns(jobs)).flatMap(([name, column]) => {
    const value = Object.entries(values).find(([key]) => key === name)?.[1];
    return value === undefined ? [] : [{ column: sql.identifier(column.name), value: sql.param(value, column) }];
  });
  const columns = sql.join(
    given.map(({ column }) => column),
    sql`, `,
  );
  await db.execute(
    sql`INSERT INTO jobs (${columns}) VALUES (${sql.join(
      given.map(({ value }) => value),
      sql`, `,
    )})`,
  );
  return id;
}
