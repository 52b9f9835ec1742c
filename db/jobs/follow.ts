import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { NO_ID } from '../../domain/ids.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDayOf, jobsIn, jobsOfPiece, piecesOfJobs, yesterdayOfJobs } from '../job-days.ts';
import { named } from '../named.ts';
import { rowSet } from '../row-set.ts';
import { type JobRow, jobs } from '../schema.ts';

/**
 * The jobs that live streams begin with, and those in which they look for changes whose hints were
 * lost.
 */

/**
 * The newest `count` jobs of each of the workflows, newest first. Reads a short range of an index
 * for each.
 */
export async function newestJobs(db: Db, workflowIds: string[], count: number): Promise<JobRow[]> {
  const ids = await newestIds(db, 'workflow_id', workflowIds, count);
  return (await jobRows(db, ids)).toReversed();
}

/** The newest `count` jobs of a workflow and all that have not ended, in the order of their ids. */
export async function jobsToFollow(db: Db, workflowId: string, count: number): Promise<JobRow[]> {
  const newest = await newestIds(db, 'workflow_id', [workflowId], count);
  const active = await db.execute<{ id: string }>(sql`
    SELECT /* jobsToFollow */ last_job_id AS id FROM schedules WHERE workflow_id = ${workflowId} AND last_job_id IS NOT NULL
    UNION ALL SELECT job_id FROM run_requests WHERE workflow_id = ${workflowId}`);
  return jobRows(db, [...newest, ...active.map(({ id }) => id)]);
}

/**
 * For each workflow: the first `count` jobs behind `after`, the job that was dispatched last, and
 * the jobs in `open`, in the order of their ids.
 */
export async function jobsToRecheck(
  db: Db,
  asked: { workflowId: string; after: string; open: Iterable<string> }[],
  count: number,
): Promise<JobRow[]> {
  const made = await idsBehind(
    db,
    'workflow_id',
    asked.map(({ workflowId, after }) => ({ scope: workflowId, after })),
    count,
  );
  const workflowIds = asked.map(({ workflowId }) => workflowId);
  const last = await db.execute<{ id: string }>(sql`
    SELECT /* jobsToRecheck */ last_job_id AS id FROM schedules
    WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND last_job_id IS NOT NULL`);
  return jobRows(db, [...asked.flatMap(({ open }) => [...open]), ...made, ...last.map(({ id }) => id)]);
}

/**
 * The newest `count` jobs of a user and those that have not ended, at most `openMax`, in the order
 * of their ids.
 */
export async function jobsOfUserToFollow(
  db: Db,
  userId: string,
  { count, openMax }: { count: number; openMax: number },
): Promise<JobRow[]> {
  const newest = await newestIds(db, 'user_id', [userId], count);
  const last = await db.execute<{ id: string }>(sql`
    SELECT /* jobsOfUserToFollow */ schedule.last_job_id AS id
    FROM workflows, LATERAL (SELECT last_job_id FROM schedules WHERE workflow_id = workflows.id LIMIT 1) schedule
    WHERE workflows.user_id = ${userId} AND schedule.last_job_id IS NOT NULL`);
  const open = await eachDayOf(
    db,
    last.map(({ id }) => id),
    (partition, ids) =>
      db.execute<{ id: string }>(sql`
    SELECT /* jobsOfUserToFollow */ id FROM ${partition} WHERE id = ANY(${array(ids, 'uuid')}) AND completed_at IS NULL LIMIT ${openMax}`),
  );
  const requested = await db.execute<{ id: string }>(sql`
    SELECT /* jobsOfUserToFollow */ job_id AS id FROM run_requests WHERE user_id = ${userId} LIMIT ${openMax}`);
  return jobRows(db, [...newest, ...[...open.slice(0, openMax), ...requested].map(({ id }) => id)]);
}

/**
 * For each user: the first `count` jobs behind `after`, and the jobs in `open`, in the order of
 * their ids.
 */
export async function jobsOfUsersToRecheck(
  db: Db,
  asked: { userId: string; after: string; open: Iterable<string> }[],
  count: number,
): Promise<JobRow[]> {
  const made = await idsBehind(
    db,
    'user_id',
    asked.map(({ userId, after }) => ({ scope: userId, after })),
    count,
  );
  return jobRows(db, [...asked.flatMap(({ open }) => [...open]), ...made]);
}

type Scope = 'workflow_id' | 'user_id';

/** The ids of the newest `count` jobs of each of the workflows or users, piece by piece. */
async function newestIds(db: Db, scope: Scope, scopeIds: string[], count: number): Promise<string[]> {
  const found = new Map(scopeIds.map((id) => [id, [] as string[]]));
  for (const piece of await piecesOfJobs(db, { ascending: false })) {
    const open = [...found].filter(([, ids]) => ids.length < count).map(([id]) => id);
    if (open.length === 0) break;
    const page = jobsOfPiece(piece, {
      columns: sql`id`,
      where: sql`${sql.identifier(scope)} = asked.id`,
      order: 'DESC',
      limit: sql`${count}`,
    });
    const rows = await db.execute<{ scope: string; id: string }>(sql`
    SELECT /* newestIds */ asked.id AS scope, page.id FROM unnest(${array(open, 'uuid')}) AS asked (id), LATERAL ${page} AS page
    ORDER BY page.id DESC`);
    addUpTo(count, found, rows);
  }
  return [...found.values()].flat();
}

/**
 * The ids of the first `count` jobs of each of the workflows or users behind an id of its own. A
 * stream looks every few seconds, so it finds jobs of today or yesterday.
 */
async function idsBehind(
  db: Db,
  scope: Scope,
  asked: { scope: string; after: string }[],
  count: number,
): Promise<string[]> {
  const found = new Map(asked.map((one) => [one.scope, [] as string[]]));
  const [first = NO_ID] = asked.map(({ after }) => after).toSorted();
  const [, above] = [first, await yesterdayOfJobs(db)].toSorted();
  for (const piece of await piecesOfJobs(db, { ascending: true, ...(above === undefined ? {} : { above }) })) {
    const open = asked.filter((one) => (found.get(one.scope)?.length ?? count) < count && one.after < piece.until);
    if (open.length === 0) continue;
    const page = jobsOfPiece(piece, {
      columns: sql`id`,
      where: sql`${sql.identifier(scope)} = asked.scope AND id > asked.after`,
      order: 'ASC',
      limit: sql`${count}`,
    });
    const rows = await db.execute<{ scope: string; id: string }>(sql`
    SELECT /* idsBehind */ asked.scope, page.id FROM ${rowSet('asked', open, { scope: 'uuid', after: 'uuid' })}, LATERAL ${page} AS page
    ORDER BY page.id`);
    addUpTo(count, found, rows);
  }
  return [...found.values()].flat();
}

function addUpTo(count: number, found: Map<string, string[]>, rows: { scope: string; id: string }[]): void {
  for (const { scope, id } of rows) {
    const ids = found.get(scope);
    if (ids !== undefined && ids.length < count) ids.push(id);
  }
}

/** The rows of these jobs, in the order of their ids. */
async function jobRows(db: Db, ids: string[]): Promise<JobRow[]> {
  const read = (partition: SQL, ofDay: string[]) =>
    named(
      'jobRows',
      db
        .select(getTableColumns(jobs))
        .from(jobsIn(partition))
        .where(sql`${jobs.id} = ANY(${array(ofDay, 'uuid')})`),
    );
  const rows = await eachDayOf(db, [...new Set(ids)], read);
  return rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
