import { sql } from 'drizzle-orm';
import { Redis } from 'ioredis';
import type { Db } from '../../db/client.ts';
import { boundStatement, makeJobDay } from '../../db/job-days.ts';
import { countJobs, listJobs } from '../../db/listing/jobs.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import { partitionOf } from '../../db/partitions.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { type BenchDatabase, benchDatabase } from './database.ts';
import { type Benchmark, type Finding, median, ROUNDS } from './harness.ts';
import { partsOf, runRound, WORKERS } from './heartbeats.ts';
import { type BenchProcess, startWorker } from './processes.ts';
import { seedHeartbeats, seedUser } from './seed.ts';

const OLD_JOBS = Number(process.env.HISTORY_JOBS ?? 10_000_000);
const DAYS = Number(process.env.HISTORY_DAYS ?? 30);
const WORKFLOWS = 20_000;
const FEW_JOBS = 10;
const PAGES = 50;

interface Installation {
  database: BenchDatabase;
  userId: string;
  wake: () => Promise<unknown>;
}

/**
 * Runs the rounds of `heartbeats` in an installation without a past and in one with ten million old
 * jobs and their lines, one after the other in each round.
 */
export const history: Benchmark = {
  name: 'history',
  describe: `${WORKFLOWS.toLocaleString('en')} HEARTBEAT jobs with ${OLD_JOBS.toLocaleString('en')} old ones of ${DAYS} days, against none`,
  async run(progress) {
    const redis = new Redis(process.env.REDIS_URL ?? '');
    const processes: BenchProcess[] = [];
    const databases: BenchDatabase[] = [];
    const install = async (
      label: string,
      prepare: (db: Db, userId: string) => Promise<void>,
    ): Promise<Installation> => {
      const database = await benchDatabase(label);
      databases.push(database);
      await migrate(database.url);
      const userId = await seedUser(database.db);
      await seedHeartbeats(database.db, userId, WORKFLOWS, Number.POSITIVE_INFINITY);
      await prepare(database.db, userId);
      const prefix = `cvbench${process.pid}${label}.`;
      const names = { KAFKA_TOPIC_PREFIX: prefix, REDIS_PREFIX: prefix };
      const env = { DATABASE_URL: database.url, SECRET_KEY: '00'.repeat(32), ...names };
      for (const name of WORKERS) processes.push(await startWorker(name, env));
      return { database, userId, wake: () => redis.publish(`${prefix}${SCHEDULE_CHANNEL}`, '') };
    };
    try {
      const fresh = await install('fresh', async () => undefined);
      const fewId = await seedUser(fresh.database.db);
      const old = await install('old', (db, userId) => seedHistory(db, userId, fewId, progress));
      const parts = await partsOf([]);
      const without: number[] = [];
      const withPast: number[] = [];
      const cpu = new Map<string, number[]>();
      for (let round = 0; round < ROUNDS; round++) {
        for (const [{ database, wake }, rates, name] of [
          [fresh, without, 'without'],
          [old, withPast, 'with'],
        ] as const) {
          const { rate, cpuOfJob } = await runRound(database, WORKFLOWS, parts, wake);
          rates.push(rate);
          const key = `PostgreSQL ${name}`;
          cpu.set(key, [...(cpu.get(key) ?? []), cpuOfJob.get('PostgreSQL') ?? 0]);
        }
        progress(`round ${round + 1}: ${withPast.at(-1)?.toFixed(0)} a second, without ${without.at(-1)?.toFixed(0)}`);
      }
      return [
        {
          what: 'HEARTBEAT jobs a second, with a long past',
          ours: withPast,
          unit: 'jobs a second',
          peer: { name: 'none', values: without },
          notes: [
            `CPU a job in microseconds: ${[...cpu].map(([name, values]) => `${name} ${median(values).toFixed(1)}`).join(', ')}`,
          ],
          budget: 'a ratio of 0.9 or more',
        },
        ...(await measureLists(old, fewId)),
      ];
    } finally {
      for (const started of processes.reverse()) await started.stop();
      redis.disconnect();
      for (const database of databases) await database.close();
    }
  },
};

/** Old jobs with a chunk of lines each, of all workflows in turn, and a few of another user. */
async function seedHistory(db: Db, userId: string, fewId: string, progress: (text: string) => void): Promise<void> {
  const now = Date.now();
  const dayOf = (days: number) => new Date(now - days * DAY_MS);
  const { from } = partitionOf('jobs', dayOf(DAYS));
  await db.execute(sql.raw(boundStatement({ from, until: partitionOf('jobs', new Date('2100-01-01')).from })));
  await db.execute(sql`INSERT INTO users (id, email, password_hash) VALUES (${fewId}, 'few@example.com', '!')`);
  await seedHeartbeats(db, fewId, 1, Number.POSITIVE_INFINITY);
  await db.execute(sql`
    CREATE TABLE numbered AS SELECT workflow_id, row_number() OVER (ORDER BY workflow_id) - 1 AS n FROM schedules WHERE user_id = ${userId}`);
  await db.execute(sql`ALTER TABLE numbered ADD PRIMARY KEY (n)`);
  const perDay = Math.ceil(OLD_JOBS / DAYS);
  for (let days = DAYS; days >= 1; days--) {
    const day = partitionOf('jobs', dayOf(days));
    await makeJobDay(db, day);
    const chunks = partitionOf('log_chunks', dayOf(days));
    await db.execute(
      sql.raw(
        `CREATE TABLE ${chunks.name} PARTITION OF log_chunks FOR VALUES FROM ('${chunks.from}') TO ('${chunks.until}')`,
      ),
    );
    const startMs = Math.floor(dayOf(days).getTime() / DAY_MS) * DAY_MS;
    const few = Math.floor((days * FEW_JOBS) / DAYS) > Math.floor(((days - 1) * FEW_JOBS) / DAYS);
    await db.execute(sql`
      INSERT INTO ${sql.raw(day.name)} (id, workflow_id, user_id, kind, trigger, status, generation, attempt, scheduled_at, created_at, updated_at,
        queued_at, started_at, completed_at, log_line_count)
      SELECT (lpad(to_hex(${startMs}::bigint + (made.n - 1) * ${DAY_MS}::bigint / ${perDay}::integer), 12, '0') || '7' || lpad(to_hex(made.n % 4096), 3, '0')
          || '8' || lpad(to_hex(made.n), 15, '0'))::uuid,
        coalesce(numbered.workflow_id, (SELECT workflow_id FROM schedules WHERE user_id = ${fewId})),
        CASE WHEN numbered.n IS NULL THEN ${fewId}::uuid ELSE ${userId}::uuid END, 'HEARTBEAT', 'AUTOMATIC', 'COMPLETED', 1, 1, at, at, at, at, at, at, 2
      FROM generate_series(1, ${perDay}::integer) AS made (n) CROSS JOIN LATERAL (SELECT to_timestamp(${startMs}::float8 / 1000)) AS t (at)
        LEFT JOIN numbered ON numbered.n = made.n % ${WORKFLOWS}::integer AND NOT (made.n = 1 AND ${few})`);
    await db.execute(sql`
      INSERT INTO ${sql.raw(chunks.name)} (source_id, first_number, last_number, attempt, lines)
      SELECT id, 1, 2, 1, decode(repeat(md5(id::text), 6), 'hex') FROM ${sql.raw(day.name)}`);
    progress(`day ${DAYS - days + 1} of ${DAYS} is filled`);
  }
  await db.execute(sql`DROP TABLE numbered`);
}

/** Pages of a user with all of the jobs, from the newest on, and of one with a few. */
async function measureLists({ database: { db }, userId }: Installation, fewId: string): Promise<Finding[]> {
  const page = { count: 20, backwards: false };
  const many: number[] = [];
  let after: string | undefined;
  for (let n = 0; n < PAGES; n++) {
    const bound = after === undefined ? {} : { after };
    const rows = await timed(many, () => listJobs(db, { userId }, {}, { ...page, ...bound }));
    after = rows.at(-1)?.id;
  }
  const first: number[] = [];
  const few: number[] = [];
  const counts: number[] = [];
  for (let n = 0; n < PAGES; n++) {
    await timed(first, () => listJobs(db, { userId }, {}, { ...page, ascending: true }));
    await timed(few, () => listJobs(db, { userId: fewId }, {}, page));
    await timed(counts, () => countJobs(db, { userId: fewId }, {}, 10_000));
  }
  const unit = 'ms';
  const budget = 'bounded: one statement for each month, at most';
  return [
    { what: `a page of a user with ${OLD_JOBS.toLocaleString('en')} jobs, newest first`, ours: many, unit, budget },
    { what: 'the first page of that user, oldest first', ours: first, unit, budget },
    { what: `the jobs of a user with ${FEW_JOBS}`, ours: few, unit, budget },
    { what: 'their number', ours: counts, unit, budget },
  ];
}

async function timed<Result>(milliseconds: number[], work: () => Promise<Result>): Promise<Result> {
  const started = performance.now();
  const result = await work();
  milliseconds.push(performance.now() - started);
  return result;
}
