import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { sql } from 'drizzle-orm';
import { Redis } from 'ioredis';
import { migrate } from '../../db/migrate/migrate.ts';
import { partitionOf } from '../../db/partitions.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { listenerOf, treeCpuSeconds } from './cpu.ts';
import { type BenchDatabase, benchDatabase } from './database.ts';
import { type Benchmark, type Finding, median, percentile, ROUNDS } from './harness.ts';
import { type BenchProcess, startWorker } from './processes.ts';
import { seedHeartbeats, seedUser, settle } from './seed.ts';

/** How many jobs, and the ratio to the peer that they should reach. */
const SIZES = [
  { jobs: 20_000, budget: 'a ratio of 1.1 or more' },
  { jobs: 100_000, budget: 'a ratio of 1.2 or more' },
];
const WORKFLOWS = Math.max(...SIZES.map(({ jobs }) => jobs));
const LATENCY_SLOTS = 1_000;
const LATENCY_SPACING_MS = 25;
const ASK_MS = 20;
const ASK_AFTER_MS = 500;
/** More jobs than are claimed at once. */
const NEWEST = 4_000;
const ROUND_MS_MAX = 120_000;
const SEED_SET = 50_000;
export const WORKERS = ['joblogs', 'execution', 'scheduling'];

const exec = promisify(execFile);

/**
 * Measures the whole path with real processes, Kafka and Redis: due slot, job, event, claim, check,
 * lines, end, stored lines.
 */
export const heartbeats: Benchmark = {
  name: 'heartbeats',
  describe: `${SIZES.map(({ jobs }) => jobs.toLocaleString('en')).join(' and ')} HEARTBEAT jobs over the whole path, and from due to RUNNING when idle`,
  async run(progress) {
    const database = await benchDatabase('heartbeats');
    const prefix = `cvbench${process.pid}.`;
    const redis = new Redis(process.env.REDIS_URL ?? '');
    const processes: BenchProcess[] = [];
    try {
      await migrate(database.url);
      const userId = await seedUser(database.db);
      for (let made = 0; made < WORKFLOWS; made += SEED_SET)
        await seedHeartbeats(database.db, userId, Math.min(SEED_SET, WORKFLOWS - made), Number.POSITIVE_INFINITY);
      const env = {
        DATABASE_URL: database.url,
        KAFKA_TOPIC_PREFIX: prefix,
        REDIS_PREFIX: prefix,
        SECRET_KEY: '00'.repeat(32),
      };
      for (const name of WORKERS) processes.push(await startWorker(name, env));
      const wake = () => redis.publish(`${prefix}${SCHEDULE_CHANNEL}`, '');
      const parts = await partsOf(processes);

      const findings: Finding[] = [];
      for (const { jobs: size, budget } of SIZES) {
        const ours: number[] = [];
        const peer: number[] = [];
        const after: number[] = [];
        const cpu = new Map(parts.map(({ name }) => [name, [] as number[]]));
        for (let round = 0; round < ROUNDS; round++) {
          peer.push(await runPeer(size));
          const { rate, cpuOfJob, cpuAfter } = await runRound(database, size, parts, wake);
          ours.push(rate);
          after.push(cpuAfter);
          for (const [name, microseconds] of cpuOfJob) cpu.get(name)?.push(microseconds);
          progress(
            `round ${round + 1} of ${size.toLocaleString('en')}: ${rate.toFixed(0)} a second, graphile-worker ${peer.at(-1)?.toFixed(0)}`,
          );
        }
        findings.push({
          what: `HEARTBEAT jobs a second, ${size.toLocaleString('en')} of them, history and logs kept`,
          ours,
          unit: 'jobs a second',
          peer: { name: 'graphile-worker', values: peer },
          notes: [
            `CPU a job in microseconds: ${[...cpu].map(([name, values]) => `${name} ${median(values).toFixed(1)}`).join(', ')}; afterwards, to roll totals up: ${median(after).toFixed(1)}`,
          ],
          budget,
        });
      }
      const latencies = await measureLatency(database, wake);
      return [
        ...findings,
        {
          what: `from due to RUNNING, idle, ${LATENCY_SLOTS.toLocaleString('en')} slots: p50, p99`,
          ours: [percentile(latencies, 0.5), percentile(latencies, 0.99)],
          unit: 'ms (the range is p50 to p99)',
          budget: 'p50 6 ms, p99 15 ms',
        },
      ];
    } finally {
      for (const started of processes.reverse()) await started.stop();
      redis.disconnect();
      await database.close();
    }
  },
};

/** A process, or a server with its processes. */
export interface Part {
  name: string;
  cpuSeconds: () => Promise<number>;
}

export async function partsOf(processes: BenchProcess[]): Promise<Part[]> {
  const own = processes.map(({ cpuSeconds }, index): Part => ({ name: WORKERS[index] ?? '', cpuSeconds }));
  const servers = [
    { name: 'PostgreSQL', address: process.env.DATABASE_URL ?? '' },
    { name: 'Kafka', address: process.env.KAFKA_BROKERS ?? '' },
    { name: 'Redis', address: process.env.REDIS_URL ?? '' },
  ];
  const found = await Promise.all(
    servers.map(async ({ name, address }): Promise<Part[]> => {
      const pid = await listenerOf(address);
      return pid === undefined ? [] : [{ name, cpuSeconds: () => treeCpuSeconds(pid) }];
    }),
  );
  return [...own, ...found.flat()];
}

export interface Round {
  /** Jobs a second. */
  rate: number;
  /** Microseconds of CPU for a job, by part. */
  cpuOfJob: Map<string, number>;
  /** The same for all parts together, after the round: totals are rolled up when nothing ends. */
  cpuAfter: number;
}

/**
 * Makes `size` workflows due at once and waits until the last job has ended and the last line is
 * stored. Resolves when the totals are rolled up too.
 */
export async function runRound(
  database: BenchDatabase,
  size: number,
  parts: Part[],
  wake: () => Promise<unknown>,
): Promise<Round> {
  const [jobs, chunks] = today();
  await database.db.execute(sql.raw(`TRUNCATE ${jobs}, ${chunks}`));
  await settle(database.db);
  await database.db.execute(sql`
    UPDATE schedules SET next_run_at = now(), wake_at = now(), last_job_id = NULL
    WHERE workflow_id IN (SELECT workflow_id FROM schedules ORDER BY workflow_id LIMIT ${size})`);
  const cpuSeconds = () => Promise.all(parts.map((part) => part.cpuSeconds()));
  const before = await cpuSeconds();
  const started = performance.now();
  await wake();
  while (!(await isDone(database, size))) {
    if (performance.now() - started > ROUND_MS_MAX) throw new Error(`Not all jobs ended in ${ROUND_MS_MAX / 1_000} s.`);
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  const seconds = (performance.now() - started) / 1_000;
  const after = await cpuSeconds();
  while (!(await isRolledUp(database))) await new Promise((resolve) => setTimeout(resolve, ASK_AFTER_MS));
  const end = await cpuSeconds();
  await database.db.execute(
    sql`UPDATE schedules SET next_run_at = now() + interval '1 year', wake_at = now() + interval '1 year'`,
  );
  const ofJob = (from: number[], to: number[]) =>
    parts.map((_, index) => (((to[index] ?? 0) - (from[index] ?? 0)) * 1e6) / size);
  const during = ofJob(before, after);
  return {
    rate: size / seconds,
    cpuOfJob: new Map(parts.map(({ name }, index) => [name, during[index] ?? 0])),
    cpuAfter: ofJob(after, end).reduce((sum, value) => sum + value, 0),
  };
}

async function isRolledUp({ db }: BenchDatabase): Promise<boolean> {
  return (await db.execute(sql`SELECT FROM totals_pending LIMIT 1`)).length === 0;
}

/**
 * Looks at the newest jobs first, and counts only when they have ended: the look must not slow down
 * what it measures.
 */
async function isDone(database: BenchDatabase, size: number): Promise<boolean> {
  for (const limit of [1, NEWEST]) {
    const [newest] = await database.db.execute<{ ended: boolean | null }>(sql`
      SELECT bool_and(completed_at IS NOT NULL) AS ended FROM (
        SELECT completed_at FROM ${sql.raw(today()[0])} ORDER BY id DESC LIMIT ${limit}) newest`);
    if (newest?.ended !== true) return false;
  }
  return database.db.transaction(async (tx) => {
    await tx.execute(sql`SET LOCAL enable_seqscan = on`);
    const [jobs] = await tx.execute<{ n: number }>(
      sql.raw(`SELECT count(*)::integer AS n FROM ${today()[0]} WHERE status = 'COMPLETED'`),
    );
    if ((jobs?.n ?? 0) < size) return false;
    const [lines] = await tx.execute<{ n: number }>(
      sql.raw(`SELECT count(DISTINCT source_id)::integer AS n FROM ${today()[1]}`),
    );
    return (lines?.n ?? 0) >= size;
  });
}

/** The partitions of today: of jobs, and of their lines. A run over midnight fails. */
function today(): [string, string] {
  return [partitionOf('jobs', new Date()).name, partitionOf('log_chunks', new Date()).name];
}

async function runPeer(size: number): Promise<number> {
  const database = await benchDatabase('graphile');
  try {
    const { stdout } = await exec('node_modules/.bin/tsx', [
      'dev/bench/graphile-worker.ts',
      database.url,
      String(size),
    ]);
    const rate = Number(stdout.trim().split('\n').at(-1));
    if (!Number.isFinite(rate)) throw new Error(`graphile-worker printed ${stdout}`);
    return rate;
  } finally {
    await database.close();
  }
}

/**
 * Milliseconds from scheduled_at to started_at, by the database's clock, for slots one after the
 * other on an idle system.
 */
async function measureLatency(database: BenchDatabase, wake: () => Promise<unknown>): Promise<number[]> {
  await settle(database.db);
  const [first] = await database.db.execute<{ at: string }>(sql`SELECT now() + interval '2 seconds' AS at`);
  await database.db.execute(sql`
    WITH chosen AS (SELECT workflow_id, row_number() OVER () AS n FROM schedules LIMIT ${LATENCY_SLOTS})
    UPDATE schedules SET wake_at = due, next_run_at = due FROM (
      SELECT workflow_id, ${first?.at}::timestamptz + make_interval(secs => n * ${LATENCY_SPACING_MS / 1_000}::float8) AS due FROM chosen
    ) AS u WHERE schedules.workflow_id = u.workflow_id`);
  await wake();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const rows = await database.db.execute<{ ms: number }>(sql`
      SELECT (extract(epoch FROM started_at - scheduled_at) * 1000)::float8 AS ms FROM jobs
      WHERE scheduled_at > ${first?.at}::timestamptz AND completed_at IS NOT NULL ORDER BY id LIMIT ${LATENCY_SLOTS}`);
    if (rows.length >= LATENCY_SLOTS) return rows.map((row) => row.ms);
  }
}
