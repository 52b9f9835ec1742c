import { type SQL, sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { firstIdBefore } from '../ids.ts';
import { eachDayOf, jobsOfPiece, piecesOfJobs } from '../job-days.ts';
import { rowSet } from '../row-set.ts';
import { deleteChunks } from './append.ts';
import type { LogPartition } from './partitions.ts';

/**
 * Removes the lines of a job or build `days` days after it ended, by the database's clock. Each
 * call takes a bounded set, in the order of ids. Ends do not change, so ids that a call has passed
 * need no second look, except new rows with ids of the past.
 */

/** The progress of the check of a partition's jobs. */
export interface Looked {
  /** The last job that was checked. */
  to: string | undefined;
  /** CLEAR: all lines in the partition may go. KEPT: some may not. */
  found: 'CLEAR' | 'KEPT' | 'MORE';
}

/**
 * Checks, behind the job `after`, whether all jobs and builds with ids in the partition's range
 * ended at least `days` days ago.
 */
export async function lookThrough(
  db: Db,
  partition: LogPartition,
  { days, after = partition.from, limit }: { days: number; after?: string | undefined; limit: number },
): Promise<Looked> {
  type Row = { count: number; kept: string | null; passed: string | null; build: boolean };
  const [row] = await eachDayOf(db, [partition.from], (jobs) =>
    db.execute<Row>(sql`
    WITH /* lookThrough */ part AS MATERIALIZED (
      SELECT id, ${hasEndedFor(sql`${days}`)} AS gone FROM ${jobs}
      WHERE id > ${after} AND id < ${partition.until} ORDER BY id LIMIT ${limit}
    ), kept AS (SELECT id FROM part WHERE NOT gone ORDER BY id LIMIT 1)
    SELECT (SELECT count(*) FROM part)::integer AS count,
      (SELECT id FROM kept) AS kept,
      (SELECT id FROM part WHERE id < coalesce((SELECT id FROM kept), ${partition.until}) ORDER BY id DESC LIMIT 1) AS passed,
      EXISTS (SELECT FROM builds WHERE id >= ${partition.from} AND id < ${partition.until} AND NOT ${hasEndedFor(sql`${days}`)}) AS build`),
  );
  if (row === undefined) throw new Error('A statement without a table gave no row.');
  const to = row.passed ?? after;
  if (row.kept !== null || row.build) return { to, found: 'KEPT' };
  return { to, found: row.count === limit ? 'MORE' : 'CLEAR' };
}

/**
 * Removes the lines in one partition whose job or build ended at least `days` days ago or no longer
 * exists, for at most `limit` jobs. Resolves with where to continue, undefined at the end of the
 * partition.
 */
export async function removeOldChunks(
  db: Db,
  { name }: Pick<LogPartition, 'name'>,
  { days, after, limit, chunks }: { days: number; after: string; limit: number; chunks: number },
): Promise<{ after: string | undefined; count: number }> {
  const table = sql.identifier(name);
  const until = firstIdBefore(sql`${days}`); // a job with a later id did not end that long ago
  const rows = await db.execute<{ id: string }>(sql`
    WITH RECURSIVE /* removeOldChunks */ source (id, n) AS ( -- the partition's ids, by one step of the index each, however many lines they have
      (SELECT source_id, 1 FROM ${table} WHERE source_id > ${after} AND source_id < ${until} ORDER BY source_id LIMIT 1)
      UNION ALL
      SELECT following.source_id, n + 1 FROM source, LATERAL (
        SELECT source_id FROM ${table} WHERE source_id > source.id AND source_id < ${until} ORDER BY source_id LIMIT 1
      ) following WHERE n < ${limit}
    )
    SELECT id FROM source ORDER BY n`);
  const ids = rows.map(({ id }) => id);
  const isKept = sql`NOT ${hasEndedFor(sql`${days}`)}`;
  const keptJobs = await eachDayOf(db, ids, (jobs, ofDay) =>
    db.execute<{ id: string }>(sql`
    SELECT /* removeOldChunks */ id FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')}) AND ${isKept}`),
  );
  const keptBuilds = await db.execute<{ id: string }>(sql`
    SELECT /* removeOldChunks */ id FROM builds WHERE id = ANY(${array(ids, 'uuid')}) AND ${isKept}`);
  const kept = new Set([...keptJobs, ...keptBuilds].map(({ id }) => id));
  const gone = ids.filter((id) => !kept.has(id));
  const count = await deleteChunks(db, gone, { limit: chunks });
  if (count === chunks) return { after, count }; // there may be more chunks
  return { after: rows.length === limit ? rows.at(-1)?.id : undefined, count };
}

/**
 * The same for workflows that keep their lines for a shorter time: `workflows` of them behind
 * `after`, and `limit` jobs and builds of each. `logs_removed_to` stores the progress of each
 * workflow, so that finished work costs nothing. It does not pass a job that has not ended; a
 * workflow has at most one active job. It skips what the installation's own retention has removed.
 */
export async function removeChunksOfWorkflows(
  db: Db,
  {
    days,
    after,
    workflows,
    limit,
    chunks,
  }: { days: number; after: string; workflows: number; limit: number; chunks: number },
): Promise<{ after: string | undefined; count: number }> {
  const asked = await db.execute<{ id: string; days: number; done: string }>(sql`
    SELECT /* removeChunksOfWorkflows */ id, log_retention_days AS days, greatest(logs_removed_to, ${firstIdBefore(sql`${days + REMOVED_AFTER_DAYS}`)}) AS done
    FROM workflows WHERE log_retention_days IS NOT NULL AND id > ${after} ORDER BY id LIMIT ${workflows}`);
  const sources = await sourcesOf(db, asked, limit);
  const gone = asked.flatMap(({ id: workflow }) => {
    const own = sources.get(workflow) ?? [];
    const kept = own.findIndex((source) => !source.gone);
    const ids = own.slice(0, kept === -1 ? undefined : kept).map(({ id }) => id);
    return ids.length === 0 ? [] : [{ workflow, ids, last: ids.at(-1) }];
  });
  const count = await deleteChunks(
    db,
    gone.flatMap(({ ids }) => ids),
    { limit: chunks },
  );
  if (count === chunks) return { after, count };
  await db.execute(sql`
    UPDATE /* removeChunksOfWorkflows */ workflows SET logs_removed_to = u.last
    FROM ${rowSet('u', gone, { workflow: 'uuid', last: 'uuid' })} WHERE workflows.id = ANY(ARRAY[u.workflow])`);
  if (gone.some(({ ids }) => ids.length === limit)) return { after, count };
  return { after: asked.length === workflows ? asked.at(-1)?.id : undefined, count };
}

type AskedWorkflow = { id: string; days: number; done: string };

/** The first `limit` jobs and builds of each of the workflows behind `done`, in order. */
async function sourcesOf(
  db: Db,
  asked: AskedWorkflow[],
  limit: number,
): Promise<Map<string, { id: string; gone: boolean }[]>> {
  type Row = { workflow: string; id: string; gone: boolean };
  const gone = hasEndedFor(sql`asked.days`);
  const until = firstIdBefore(sql`asked.days`);
  const set = (some: AskedWorkflow[]) => rowSet('asked', some, { id: 'uuid', days: 'integer', done: 'uuid' });
  const found = new Map<string, Row[]>(asked.map(({ id }) => [id, []]));
  const [first] = asked.map(({ done }) => done).toSorted();
  if (first === undefined) return found;
  for (const piece of await piecesOfJobs(db, { ascending: true, above: first })) {
    const open = asked.filter(({ id }) => (found.get(id)?.length ?? 0) < limit);
    if (open.length === 0) break;
    const page = jobsOfPiece(piece, {
      columns: sql`id, ${gone} AS gone`,
      where: sql`workflow_id = asked.id AND id > asked.done AND id < ${until}`,
      order: 'ASC',
      limit: sql`${limit}`,
    });
    const rows = await db.execute<Row>(sql`
    SELECT /* sourcesOf */ asked.id AS workflow, page.id, page.gone FROM ${set(open)}, LATERAL ${page} AS page ORDER BY page.id`);
    for (const row of rows) found.get(row.workflow)?.push(row);
  }
  const builds = await db.execute<Row>(sql`
    SELECT /* sourcesOf */ asked.id AS workflow, source.id, source.gone FROM ${set(asked)}, LATERAL (
      SELECT id, ${gone} AS gone FROM ( -- a fence: the key would be read over everybody's builds
          SELECT id, completed_at FROM builds WHERE workflow_id = asked.id OFFSET 0
        ) own WHERE id > asked.done AND id < ${until} ORDER BY id LIMIT ${limit}) source`);
  for (const row of builds) found.get(row.workflow)?.push(row);
  return new Map([...found].map(([id, rows]) => [id, rows.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit)]));
}

/** After so many more days, the installation's own retention has removed the lines of a day. */
const REMOVED_AFTER_DAYS = 3;

/** The condition that a job or build ended at least `days` days ago. */
export function hasEndedFor(days: SQL): SQL {
  return sql`(completed_at IS NOT NULL AND completed_at <= now() - make_interval(days => ${days}))`;
}
