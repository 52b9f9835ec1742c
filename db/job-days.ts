import { getTableColumns, type SQL, Subquery, sql } from 'drizzle-orm';
import { NO_ID, timeOfId } from '../domain/ids.ts';
import { DAY_MS } from '../domain/limits.ts';
import { type Db, rootOf } from './client.ts';
import {
  changePartitions,
  constraintOf,
  dropPartition,
  type Partition,
  partitionOf,
  partitionOfDay,
  stateOf,
} from './partitions.ts';
import { jobs } from './schema.ts';

/**
 * The rows of `jobs` lie in a partition for each day on which they were made, by the database's
 * clock: `jobs_20261129`. So a new job is added to indexes of one day, however long the history is.
 * All other jobs are in the default partition, `jobs_other`: those from before there were days, and
 * those whose id is of a time that is far off.
 *
 * Statements that lock jobs name the partition: while they wait for a row, PostgreSQL 18 must not
 * choose partitions (docs/decisions/0054). They nearly always touch one day, and are sent once a
 * day where jobs are of several. Reads name `jobs`, with ids or bounds of ids as parameters, by
 * which the planner leaves out the other days.
 */
const OTHER_JOBS = 'jobs_other';

/** What this process knows of the partitions. It learns more when it meets a day without one. */
interface Days {
  /** From the first day on, and until the last one, ids belong to days. */
  from: string;
  until: string;
  /** By their first ids. */
  partitions: Map<string, Partition>;
  /** By how much the database's clock is ahead of this process's. */
  aheadMs: number;
  /** When this was read, by performance.now(). */
  readAtMs: number;
}

type Executor = Pick<Db, 'execute'>;

/**
 * What was read, and no promise of it: who waits for what another caller reads would wait for that
 * one's transaction, or for a connection, while it holds one itself.
 */
const known = new WeakMap<object, Days>();

/** After this time it is read again: other processes make and detach days. */
const KNOWN_MS_MAX = 60_000;

/**
 * Sends a statement for each day of these rows, oldest first: `work` gets the partition, to stand
 * where a table stands, under the name `jobs`. Resolves with all results. In the order of ids, as
 * every statement locks jobs.
 */
export async function eachDay<Row, Result>(
  db: Executor,
  rows: readonly Row[],
  idOf: (row: Row) => string,
  work: (jobs: SQL, rows: Row[]) => Promise<readonly Result[]>,
): Promise<Result[]> {
  const byName = await groupByDay(db, rows, idOf);
  const results: Result[] = [];
  // The default partition has ids before the first day. Those behind the last day are of no clock.
  for (const [name, ofDay] of [...byName].toSorted(([a], [b]) => orderOf(a) - orderOf(b))) {
    try {
      results.push(...(await work(sql.raw(`${name} AS jobs`), ofDay)));
    } catch (error) {
      // Retention has dropped the day.
      if (stateOf(error) === UNDEFINED_TABLE) known.delete(rootOf(db));
      throw error;
    }
  }
  return results;
}

const UNDEFINED_TABLE = '42P01';

async function groupByDay<Row>(
  db: Executor,
  rows: readonly Row[],
  idOf: (row: Row) => string,
): Promise<Map<string, Row[]>> {
  const byName = new Map<string, Row[]>();
  if (rows.length === 0) return byName;
  let days = await daysOf(db);
  let isNew = false;
  let last: Partition | undefined;
  let ofLast: Row[] = [];
  for (const row of rows) {
    const id = idOf(row);
    if (last === undefined || id < last.from || id >= last.until) {
      last = undefined;
      if (id >= days.from && id < days.until) {
        const { from } = partitionOf('jobs', timeOfId(id));
        if (!days.partitions.has(from) && !isNew) [days, isNew] = [await learn(db), true];
        last = days.partitions.get(from);
      }
      const name = last?.name ?? OTHER_JOBS;
      ofLast = byName.get(name) ?? [];
      byName.set(name, ofLast);
    }
    ofLast.push(row);
  }
  return byName;
}

function orderOf(name: string): number {
  return name === OTHER_JOBS ? 0 : Number(name.slice(-8));
}

/** The same for ids. */
export function eachDayOf<Result>(
  db: Executor,
  ids: readonly string[],
  work: (jobs: SQL, ids: string[]) => Promise<readonly Result[]>,
): Promise<Result[]> {
  return eachDay(db, ids, (id) => id, work);
}

/** A partition for the query builder, in the place of `jobs`. */
export function jobsIn(partition: SQL) {
  return new Subquery(sql`SELECT * FROM ${partition}`, getTableColumns(jobs), 'jobs');
}

/**
 * The rows of the job `id` if it was made today or yesterday, for a statement that locks other
 * rows. An older job, which is rare, looks as if it were gone.
 */
export async function recentJob(db: Executor, id: SQL, columns: SQL): Promise<SQL> {
  const { partitions, aheadMs } = await daysOf(db);
  const nowMs = Date.now() + aheadMs;
  const names = [nowMs, nowMs - DAY_MS].map(
    (ms) => partitions.get(partitionOf('jobs', new Date(ms)).from)?.name ?? OTHER_JOBS,
  );
  const looks = [...new Set(names)].map(
    (name) => sql`SELECT ${columns} FROM ${sql.raw(name)} AS jobs WHERE id = ${id}`,
  );
  return sql`(${sql.join(looks, sql` UNION ALL `)} LIMIT 1)`;
}

/** All partitions, oldest first, and the time of the database. */
export async function partitionsOfJobs(db: Executor): Promise<{ now: Date; partitions: Partition[] }> {
  const days = await learn(db);
  const partitions = [{ name: OTHER_JOBS, from: NO_ID, until: days.from }, ...sortedDays(days)];
  return { now: new Date(Date.now() + days.aheadMs), partitions };
}

function sortedDays({ partitions }: Days): Partition[] {
  return [...partitions.values()].toSorted((a, b) => (a.from < b.from ? -1 : 1));
}

/** Partitions that one statement reads. Their ids are those from `from` on and below `until`. */
export interface Piece {
  partitions: Partition[];
  from: string;
  until: string;
}

/**
 * Divides the jobs with ids above `above` and below `below` into pieces, the newest first unless
 * `ascending`: the day at that end alone (and with it the days that have not begun), then month by
 * month. A list is nearly always filled by the first piece. The planner takes a moment for each
 * partition, and for all days of a year as long as a user waits for a page.
 */
export async function piecesOfJobs(
  db: Executor,
  { ascending, above = NO_ID, below = LAST_ID }: { ascending: boolean; above?: string; below?: string },
): Promise<Piece[]> {
  const days = await daysOf(db);
  const { from: today } = partitionOf('jobs', new Date(Date.now() + days.aheadMs));
  const all = [
    { name: OTHER_JOBS, from: NO_ID, until: days.from },
    ...sortedDays(days),
    { name: OTHER_JOBS, from: days.until, until: LAST_ID },
  ].filter(({ from, until }) => until > above && from < below);
  if (!ascending) all.reverse();
  const pieces: Piece[] = [];
  let last: string | undefined;
  for (const [n, partition] of all.entries()) {
    const isAhead = partition.from >= today;
    const group = isAhead ? 'ahead' : n === 0 ? 'first' : partition.name.slice(0, -2);
    const piece = pieces.at(-1);
    if (piece === undefined || group !== last) {
      pieces.push({ partitions: [partition], from: partition.from, until: partition.until });
    } else {
      piece.partitions.push(partition);
      if (partition.from < piece.from) piece.from = partition.from;
      if (partition.until > piece.until) piece.until = partition.until;
    }
    last = group;
  }
  return pieces;
}

/** The first id of yesterday, by the database's clock. */
export async function yesterdayOfJobs(db: Executor): Promise<string> {
  const { aheadMs } = await daysOf(db);
  return partitionOf('jobs', new Date(Date.now() + aheadMs - DAY_MS)).from;
}

const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/**
 * The jobs of a piece that meet a condition, at most `limit`, in the order of their ids, to stand
 * where a table stands. Each partition gives its first ones by an index.
 */
export function jobsOfPiece(
  { partitions }: Piece,
  {
    columns = sql`*`,
    where,
    order,
    limit,
  }: { columns?: SQL; where: SQL | undefined; order?: 'ASC' | 'DESC'; limit: SQL },
): SQL {
  const inOrder = sql.raw(order === undefined ? '' : `ORDER BY id ${order} `);
  const parts = partitions.map(({ name, from, until }) => {
    const own =
      name === OTHER_JOBS
        ? sql` AND jobs.id >= ${sql.raw(`'${from}'`)} AND jobs.id <= ${sql.raw(`'${until}'`)}`
        : sql``;
    return sql`(SELECT ${columns} FROM ${sql.raw(name)} AS jobs WHERE ${where ?? sql`true`}${own} ${inOrder}LIMIT ${limit})`;
  });
  if (parts.length === 1) return sql`(${parts[0]})`;
  return sql`(SELECT * FROM (${sql.join(parts, sql` UNION ALL `)}) AS jobs ${inOrder}LIMIT ${limit})`;
}

/**
 * Makes the partitions of `jobs` for today and the `daysAhead` days after it. If one cannot be made
 * now, the next call tries again.
 */
export async function makeJobDays(db: Db, { daysAhead }: { daysAhead: number }): Promise<void> {
  const { from: first, until: last, partitions, aheadMs } = await learn(db);
  for (let day = 0; day <= daysAhead; day++) {
    const { name, from, until } = partitionOf('jobs', new Date(Date.now() + aheadMs + day * DAY_MS));
    if (partitions.has(from) || from < first || until > last) continue;
    await makeJobDay(db, { name, from, until });
  }
}

/**
 * Makes the partition of one day. The table is made first and attached then, which holds a lock of
 * `jobs` that blocks neither readers nor writers.
 */
export async function makeJobDay(db: Db, { name, from, until }: Partition): Promise<void> {
  await changePartitions(db, 'jobs', async (tx) => {
    const [found] = await tx.execute(sql`SELECT /* makeJobDay */ 1 FROM pg_class WHERE relname = ${name}`);
    if (found === undefined) for (const statement of dayStatements({ name, from, until })) await tx.execute(statement);
  });
  known.delete(rootOf(db));
}

/**
 * Takes a day and its jobs out of `jobs`. Resolves with whether it is out. Its table stays for a
 * while, because other processes still know the day and read it by its name.
 */
export async function detachJobDay(db: Db, { name }: Partition): Promise<boolean> {
  const isOut = await changePartitions(db, 'jobs', async (tx) => {
    const [day] = await tx.execute<{ now: Date }>(sql`
      SELECT /* detachJobDay */ now() FROM pg_class WHERE relname = ${name} AND relispartition`);
    if (day === undefined) return; // another worker was faster
    await tx.execute(sql.raw(`ALTER TABLE jobs DETACH PARTITION ${name}`));
    await tx.execute(sql.raw(`COMMENT ON TABLE ${name} IS '${DETACHED}${new Date(day.now).toISOString()}'`));
  });
  known.delete(rootOf(db));
  return isOut;
}

const DETACHED = 'detached at ';

/**
 * Drops the tables of days that were detached at least `minutes` ago, when no process knows them.
 */
export async function dropDetachedDays(db: Db, { minutes }: { minutes: number }): Promise<void> {
  const rows = await db.execute<{ name: string }>(sql`
    SELECT /* dropDetachedDays */ relname AS name
    FROM pg_class CROSS JOIN LATERAL (SELECT obj_description(pg_class.oid, 'pg_class') AS note) AS noted
    WHERE relname ~ '^jobs_[0-9]{8}$' AND relkind = 'r' AND NOT relispartition
      AND CASE WHEN starts_with(note, ${DETACHED}) THEN substr(note, ${DETACHED.length + 1})::timestamptz END
        <= now() - make_interval(mins => ${minutes})
    ORDER BY relname`);
  // What is in use now is dropped by a later call.
  for (const { name } of rows) await dropPartition(db, 'jobs', { name });
}

/**
 * Free space in each page keeps the later versions of a row beside it. Workflows and users
 * count as all different, so that the planner finds their jobs by their index however young the
 * day was when its statistics were made.
 */
export function dayStatements({ name, from, until }: Partition): string[] {
  return [
    `CREATE TABLE ${name} (LIKE jobs INCLUDING ALL) WITH (fillfactor = 42)`,
    `ALTER TABLE ${name} ALTER COLUMN user_id SET (n_distinct = -1), ALTER COLUMN workflow_id SET (n_distinct = -1)`,
    `ALTER TABLE jobs ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${until}')`,
  ];
}

/**
 * Says from which id on, and until which, jobs belong to days. All jobs between these have their
 * days already.
 */
export function boundStatement({ from, until }: { from: string; until: string }): string {
  return `ALTER TABLE jobs_other DROP CONSTRAINT jobs_other_days,
    ADD CONSTRAINT jobs_other_days CHECK (id < '${from}' OR id >= '${until}')`;
}

/**
 * Runs `work`, which makes jobs. If the day has no partition, because none could be made in
 * time, it makes one and runs `work` again.
 */
export async function withJobDay<Result>(db: Db, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (constraintOf(error) !== 'jobs_other_days' && stateOf(error) !== UNDEFINED_TABLE) throw error;
    await makeJobDays(db, { daysAhead: 1 });
    return work();
  }
}

async function daysOf(db: Executor): Promise<Days> {
  const days = known.get(rootOf(db));
  return days !== undefined && isCurrent(days) ? days : learn(db);
}

/** Whether it is young enough, and today is in it: jobs of today would not be listed. */
function isCurrent({ partitions, aheadMs, readAtMs }: Days): boolean {
  if (performance.now() - readAtMs > KNOWN_MS_MAX) return false;
  return partitions.has(partitionOf('jobs', new Date(Date.now() + aheadMs)).from);
}

/** Reads the partitions anew. */
async function learn(db: Executor): Promise<Days> {
  const days = await readDays(db);
  known.set(rootOf(db), days);
  return days;
}

/** The ids in the definition of a constraint. */
export function idsIn(definition: string): string[] {
  return definition.match(/[0-9a-f]{8}-[0-9a-f-]{27}/g) ?? [];
}

async function readDays(db: Executor): Promise<Days> {
  const sentMs = Date.now();
  const readAtMs = performance.now();
  const rows = await db.execute<{ name: string | null; bounds: string | null; now_ms: number }>(sql`
    SELECT /* readDays */ relname AS name, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms,
      (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'jobs_other'::regclass AND conname = 'jobs_other_days') AS bounds
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'jobs'::regclass`);
  const [from, until] = idsIn(rows[0]?.bounds ?? '');
  if (from === undefined || until === undefined) throw new Error('The table jobs_other does not say its ids.');
  const partitions = rows.flatMap(({ name }) =>
    name === null || name === OTHER_JOBS ? [] : partitionOfDay('jobs', name.slice(-8)),
  );
  return {
    from,
    until,
    partitions: new Map(partitions.map((partition) => [partition.from, partition])),
    aheadMs: (rows[0]?.now_ms ?? sentMs) - sentMs,
    readAtMs,
  };
}
