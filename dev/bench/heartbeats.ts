import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { sql } from 'drizzle-orm';
import { Redis } from 'ioredis';
import { migrate } from '../../db/migrate/migrate.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { type BenchDatabase, benchDatabase } from './database.ts';
import { type Benchmark, percentile, ROUNDS } from './harness.ts';
import { type BenchProcess, startWorker } from './processes.ts';
import { seedHeartbeats, seedUser, settle } from './seed.ts';

const JOBS = 20_000;
const LATENCY_SLOTS = 1_000;
const LATENCY_SPACING_MS = 25;
const ASK_MS = 50;
const ROUND_MS_MAX = 120_000;
const WORKERS = ['joblogs', 'execution', 'scheduling'];

const exec = promisify(execFile);

/**
 * Measures the whole path with real processes, Kafka and Redis: due slot, job, event, claim, check,
 * lines, end, stored lines.
 */
export const heartbeats: Benchmark = {
  name: 'heartbeats',
  describe: `${JOBS.toLocaleString('en')} HEARTBEAT jobs over the whole path, and from due to RUNNING when idle`,
  async run(progress) {
    const database = await benchDatabase('heartbeats');
    const prefix = `cvbench${process.pid}.`;
    const redis = new Redis(process.env.REDIS_URL ?? '');
    const processes: BenchProcess[] = [];
    try {
      await migrate(database.url);
      await seedHeartbeats(database.db, await seedUser(database.db), JOBS, Number.POSITIVE_INFINITY);
      const env = {
        DATABASE_URL: database.url,
        KAFKA_TOPIC_PREFIX: prefix,
        REDIS_PREFIX: prefix,
        SECRET_KEY: '00'.repeat(32),
      };
      for (const name of WORKERS) processes.push(await startWorker(name, env));
      const wake = () => redis.publish(`${prefix}${SCHEDULE_CHANNEL}`, '');

      const ours: number[] = [];
      const peer: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        peer.push(await runPeer());
        ours.push(await runRound(database, wake));
        progress(`round ${round + 1}: ${ours.at(-1)?.toFixed(0)} a second, graphile-worker ${peer.at(-1)?.toFixed(0)}`);
      }
      const latencies = await measureLatency(database, wake);
      return [
        {
          what: 'HEARTBEAT jobs a second, history and logs kept',
          ours,
          unit: 'jobs a second',
          peer: { name: 'graphile-worker', values: peer },
          budget: 'ahead of graphile-worker (ratio above 1)',
        },
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

/**
 * Makes all workflows due at once and waits until the last job has ended and the last line is
 * stored. Returns jobs per second.
 */
async function runRound(database: BenchDatabase, wake: () => Promise<unknown>): Promise<number> {
  await database.db.execute(sql`TRUNCATE jobs, log_chunks`);
  await settle(database.db);
  await database.db.execute(sql`UPDATE schedules SET next_run_at = now(), wake_at = now(), last_job_id = NULL`);
  const started = performance.now();
  await wake();
  while (!(await isDone(database))) {
    if (performance.now() - started > ROUND_MS_MAX) throw new Error(`Not all jobs ended in ${ROUND_MS_MAX / 1_000} s.`);
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  const seconds = (performance.now() - started) / 1_000;
  await database.db.execute(
    sql`UPDATE schedules SET next_run_at = now() + interval '1 year', wake_at = now() + interval '1 year'`,
  );
  return JOBS / seconds;
}

/**
 * Lines are stored last, so it counts jobs only when all lines are stored: the check must not slow
 * down what it measures.
 */
async function isDone(database: BenchDatabase): Promise<boolean> {
  return database.db.transaction(async (tx) => {
    await tx.execute(sql`SET LOCAL enable_seqscan = on`);
    const [lines] = await tx.execute<{ n: number }>(sql`SELECT count(*)::integer AS n FROM log_chunks`);
    if ((lines?.n ?? 0) < JOBS) return false;
    const [jobs] = await tx.execute<{ n: number }>(
      sql`SELECT count(*)::integer AS n FROM jobs WHERE status = 'COMPLETED'`,
    );
    return (jobs?.n ?? 0) >= JOBS;
  });
}

async function runPeer(): Promise<number> {
  const database = await benchDatabase('graphile');
  try {
    const { stdout } = await exec('node_modules/.bin/tsx', [
      'dev/bench/graphile-worker.ts',
      database.url,
      String(JOBS),
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
