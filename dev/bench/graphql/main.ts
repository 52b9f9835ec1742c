import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { hashToken, newToken } from '../../../api/auth/tokens.ts';
import { insertToken } from '../../../db/accounts/tokens.ts';
import { insertChunks } from '../../../db/logs/append.ts';
import { makeLogPartitions } from '../../../db/logs/partitions.ts';
import { migrate } from '../../../db/migrate/migrate.ts';
import { formatLine } from '../../../domain/logs/encode.ts';
import { packLines } from '../../../domain/logs/packing.ts';
import { listenerOf, treeCpuSeconds } from '../cpu.ts';
import { type BenchDatabase, benchDatabase } from '../database.ts';
import { type Benchmark, type Finding, median, ROUNDS } from '../harness.ts';
import { type BenchProcess, startProcess, startScript } from '../processes.ts';
import { seedHeartbeats, seedUser, settle } from '../seed.ts';
import { load } from './load.ts';

const WORKFLOWS = 100;
const JOBS_PER_WORKFLOW = 100;
const LINES = 3;
const CONNECTIONS = 16;
/** Until then, much of the code is not compiled: the first 300 take twice as long. */
const WARM_REQUESTS = 3_000;
const ROUND_SECONDS = Number(process.env.BENCH_SECONDS ?? '4');

const JOB = 'id status trigger attempt scheduledAt startedAt completedAt workflow { id name kind }';
const PAGE = (more = '') => `{ jobs(first: 20) { nodes { ${JOB} ${more} } pageInfo { hasNextPage endCursor } } }`;
const CASES = [
  { what: 'jobs(first: 20) with their workflows', query: PAGE(), goal: 0.5 },
  {
    what: 'the same with the last line of each job',
    query: PAGE('logs(last: 1) { nodes { number timestamp stream text } }'),
    goal: 0.3,
  },
];

/** Measures answers from PostgreSQL beside those of a bare server from memory. */
export const graphql: Benchmark = {
  name: 'graphql',
  describe: `requests a second over ${CONNECTIONS} connections, beside a bare yoga server that answers from memory`,
  async run(progress) {
    const database = await benchDatabase('graphql');
    const prefix = `cvbench${process.pid}.`;
    const processes: BenchProcess[] = [];
    try {
      await migrate(database.url);
      const token = await seed(database);
      const settings = {
        DATABASE_URL: database.url,
        KAFKA_TOPIC_PREFIX: prefix,
        REDIS_PREFIX: prefix,
        SECRET_KEY: '00'.repeat(32),
        PORT: '0',
      };
      const api = await startProcess(['api'], settings);
      processes.push(api);
      const bare = await startScript('dev/bench/graphql/bare-yoga.ts', { NODE_ENV: 'production' });
      processes.push(bare);
      const parts = { api, bare, token, postgres: await listenerOf(database.url) };
      const findings: Finding[] = [];
      for (const each of CASES) findings.push(await measure(each, parts, progress));
      return findings;
    } finally {
      for (const started of processes.reverse()) await started.stop();
      await database.close();
    }
  },
};

interface Parts {
  api: BenchProcess;
  bare: BenchProcess;
  token: string;
  /** The process id of the server, if it runs on this machine. */
  postgres: number | undefined;
}

async function measure(
  { what, query, goal }: (typeof CASES)[number],
  { api, bare, token, postgres }: Parts,
  progress: (text: string) => void,
): Promise<Finding> {
  const ask = { query, connections: CONNECTIONS };
  for (const { url } of [api, bare])
    for (let sent = 0; sent < WARM_REQUESTS; ) sent += (await load(url, { ...ask, token, seconds: 1 })).requests;
  const [ours, peer]: [number[], number[]] = [[], []];
  const cpu: Record<'api' | 'PostgreSQL' | 'bare yoga', number[]> = { api: [], PostgreSQL: [], 'bare yoga': [] };
  const postgresSeconds = async () => (postgres === undefined ? Number.NaN : treeCpuSeconds(postgres));
  for (let round = 0; round < ROUNDS; round++) {
    const bareBefore = await bare.cpuSeconds();
    const fromMemory = await load(bare.url, { ...ask, seconds: ROUND_SECONDS });
    cpu['bare yoga'].push((((await bare.cpuSeconds()) - bareBefore) / fromMemory.requests) * 1e6);
    peer.push(fromMemory.requestsPerSecond);

    const [apiBefore, postgresBefore] = [await api.cpuSeconds(), await postgresSeconds()];
    const fromDatabase = await load(api.url, { ...ask, token, seconds: ROUND_SECONDS });
    cpu.api.push((((await api.cpuSeconds()) - apiBefore) / fromDatabase.requests) * 1e6);
    cpu.PostgreSQL.push((((await postgresSeconds()) - postgresBefore) / fromDatabase.requests) * 1e6);
    ours.push(fromDatabase.requestsPerSecond);
    progress(
      `${what}, round ${round + 1}: ${ours.at(-1)?.toFixed(0)} requests a second, bare yoga ${peer.at(-1)?.toFixed(0)}`,
    );
  }
  const shown = Object.entries(cpu).map(([name, microseconds]) => `${name} ${median(microseconds).toFixed(0)}`);
  return {
    what,
    ours,
    unit: 'requests a second',
    peer: { name: 'bare yoga', values: peer },
    notes: [`CPU a request in microseconds: ${shown.join(', ')}`],
    budget: `a ratio of ${goal} or more`,
  };
}

/** A user with workflows, and with jobs that have ended and printed lines. Returns a token. */
async function seed(database: BenchDatabase): Promise<string> {
  const { db } = database;
  const userId = await seedUser(db);
  await seedHeartbeats(db, userId, WORKFLOWS, Number.POSITIVE_INFINITY);
  await makeLogPartitions(db, { daysAhead: 1 });
  const made = await db.execute<{ id: string }>(sql`
    INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, attempt, scheduled_at, queued_at,
      started_at, completed_at, log_line_count)
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid,
      workflows.id, user_id, 'HEARTBEAT', 'AUTOMATIC', 'COMPLETED', 1, 1, now() - n * interval '1 minute', now(),
      now(), now(), ${LINES}
    FROM generate_series(1, ${JOBS_PER_WORKFLOW}::integer) AS n, workflows RETURNING id`);
  const text = ['looking up example.com', 'connected to 93.184.215.14', 'GET / answered 200 in 12 ms'];
  const lines = await packLines(
    Buffer.from(text.map((line) => formatLine('STDOUT', '2026-01-01T00:00:00.015000000Z', line)).join('')),
  );
  await insertChunks(
    db,
    made.map(({ id }) => ({ sourceId: id, firstNumber: 1, lastNumber: LINES, attempt: 1, lines })),
  );
  const token = newToken('API');
  await insertToken(db, { userId, kind: 'API', name: randomUUID(), hash: hashToken(token) });
  await settle(db);
  return token;
}
