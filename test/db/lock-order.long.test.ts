import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { array } from '../../db/arrays.ts';
import { claimBuilds } from '../../db/builds/claim.ts';
import { releaseBuilds, renewBuildLeases } from '../../db/builds/leases.ts';
import { endWaitsForEngine } from '../../db/builds/postpone.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { type Connection, connect, type Db } from '../../db/client.ts';
import { claimJobs, takeOverJobs } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { releaseJobs, renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { removeOldJobs } from '../../db/jobs/retention.ts';
import type { LeaseKey } from '../../db/lease.ts';
import { deleteChunks, insertChunks } from '../../db/logs/append.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { newId } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';

/**
 * Makes two statements that lock the same rows meet half-way. A third session holds one row of each
 * status until both statements have reached one of them. If a statement does not lock by id, each
 * of the two has by then locked rows that the other one needs.
 */

let database: TestDatabase;
let actors: Connection[];
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  actors = [0, 1].map((n) => connect(database.url, { max: 1, application: `actor ${n}` }));
});
afterAll(async () => {
  await Promise.all(actors.map((actor) => actor.close()));
  await database.close();
});

/** A job or build with its own workflow. A build also has a running job. */
interface Row {
  id: string;
  workflowId: string;
  leaseToken: string;
  jobId: string;
  status: string;
}

type Actor = (db: Db, rows: Row[]) => Promise<unknown>;

const markers: Actor = (db, rows) =>
  settleMarkers(
    db,
    rows.map(({ id }) => ({ kind: 'attempt-marker', sourceId: id, epoch: 7 })),
  );

const onJobs: Record<string, Actor> = {
  renewLeases,
  releaseJobs,
  returnJobs: (db, rows) => returnJobs(db, rows),
  'endJobs of successes': (db, rows) => endAll(db, rows, { status: 'COMPLETED' }),
  'endJobs of failures': (db, rows) => endAll(db, rows, { status: 'FAILED', failureReason: 'EXIT_CODE' }),
  'endJobs of failures of which some are retried': (db, rows) =>
    endAll(db, rows, { status: 'FAILED', failureReason: 'TIMEOUT' }),
  claimJobs: (db, rows) => claimJobs(db, idsOf(rows), { owner: 'other' }),
  takeOverJobs: (db, rows) => {
    const attempts = rows.map(({ id }) => ({ id, attempt: 1 }));
    return takeOverJobs(db, attempts, { owner: 'other', engineId: 'engine' });
  },
  settleMarkers: markers,
  reconcileSchedules: (db, rows) => {
    const workflowIds = rows.map(({ workflowId }) => workflowId);
    return reconcileSchedules(db, workflowIds, { watchedSeconds: () => Number.POSITIVE_INFINITY });
  },
  removeOldJobs: (db) => removeOldJobs(db, { days: 1, after: FIRST_ID, limit: 1_000, chunks: 10 }),
};

const onBuilds: Record<string, Actor> = {
  renewBuildLeases,
  releaseBuilds,
  endWaitsForEngine: (db) => endWaitsForEngine(db),
  sweepBuilds: (db) => sweepBuilds(db, { watchedSeconds: () => Number.POSITIVE_INFINITY }),
  claimBuilds: (db, rows) => claimBuilds(db, idsOf(rows), { owner: 'other' }),
  settleMarkers: markers,
  'endJobs of failures that terminate': (db, rows) => {
    const held = rows.map(({ jobId, workflowId, leaseToken }) => ({ id: jobId, workflowId, leaseToken }));
    return endAll(db, held, { status: 'FAILED', failureReason: 'EXIT_CODE' });
  },
};

const FIRST_ID = '00000000-0000-0000-0000-000000000000';
const ROWS = 60;

describe.each(Object.keys(onJobs))('%s', (first) => {
  test.each(Object.keys(onJobs))('and %s of the same jobs do not deadlock', async (second) => {
    await meet(
      'jobs',
      await seed('jobs', ['RUNNING', 'PENDING', 'QUEUED', 'COMPLETED']),
      onJobs[first],
      onJobs[second],
    );
  });
});

describe.each(Object.keys(onBuilds))('%s', (first) => {
  test.each(Object.keys(onBuilds))('and %s of the same builds do not deadlock', async (second) => {
    await meet('builds', await seed('builds', ['STARTED', 'QUEUED', 'COMPLETED']), onBuilds[first], onBuilds[second]);
  });
});

describe('chunks', () => {
  const storing =
    (lastNumber: number): Actor =>
    (db, rows) =>
      insertChunks(
        db,
        rows.map(({ id }) => ({ sourceId: id, attempt: 1, firstNumber: 1, lastNumber, lines: Buffer.of(1) })),
      );
  const removing: Actor = (db, rows) => deleteChunks(db, idsOf(rows), { limit: 1_000 });

  test.each([
    ['stored twice', storing(2), storing(3)],
    ['stored and removed', storing(2), removing],
    ['removed and stored', removing, storing(2)],
  ])('that are %s at once do not deadlock', async (_, first, second) => {
    const rows = await seed('jobs', ['RUNNING']);
    await storing(1)(database.db, rows);
    await meet('log_chunks', rows, first, second);
  });
});

/**
 * Runs `first` and `second` against rows that are held, the second one with the rows in the
 * opposite order. Then releases the rows.
 */
async function meet(table: string, rows: Row[], first: Actor | undefined, second: Actor | undefined): Promise<void> {
  const { db } = database;
  const sorted = rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const held = ['RUNNING', 'STARTED', 'PENDING', 'QUEUED', 'COMPLETED'].flatMap(
    (status) => sorted.filter((row) => row.status === status).slice(1, 2), // the second of them
  );
  const key = sql.identifier(table === 'log_chunks' ? 'source_id' : 'id');
  const results = await db.transaction(async (tx) => {
    await tx.execute(
      sql`SELECT FROM ${sql.identifier(table)} WHERE ${key} = ANY(${array(idsOf(held), 'uuid')}) FOR UPDATE`,
    );
    const running: Promise<unknown>[] = [];
    for (const [n, actor] of [first, second].entries()) {
      const connection = actors[n];
      if (actor === undefined || connection === undefined) throw new Error('There are two actors.');
      let isThrough = false; // a statement may skip locked rows
      const work = actor(connection.db, n === 0 ? rows : rows.toReversed()).finally(() => {
        isThrough = true;
      });
      running.push(work);
      await until('it waits for a lock, or is through', async () => isThrough || (await waits(`actor ${n}`)));
    }
    return { ended: Promise.allSettled(running) };
  });
  const refused = (await results.ended).filter((result) => result.status === 'rejected');
  expect(refused.map(({ reason }) => reason.cause ?? reason)).toEqual([]);
}

async function waits(application: string): Promise<boolean> {
  const rows = await database.db.execute(sql`
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = ${application}
      AND wait_event_type = 'Lock'`);
  return rows.length > 0;
}

/**
 * Jobs or builds that match the conditions of all actors: expired leases, open logs, due slots. The
 * newer half of the jobs is retried after a TIMEOUT, or replaced by a due slot: what that changes
 * is not what comes first.
 */
async function seed(table: 'jobs' | 'builds', statuses: string[]): Promise<Row[]> {
  const { db } = database;
  for (const name of ['jobs', 'log_chunks', 'workflows']) await db.execute(sql`DELETE FROM ${sql.identifier(name)}`);
  const rows = Array.from({ length: ROWS }, (_, n) => ({
    id: FIRST_ID.slice(0, 24) + randomUUID().slice(-12), // made long ago, in no order
    workflowId: randomUUID(),
    leaseToken: randomUUID(),
    jobId: `${newId().slice(0, 15)}${randomUUID().slice(15)}`, // of now, and in no order
    status: statuses[n % statuses.length] ?? '',
  }));
  const [middle = ''] = idsOf(rows)
    .toSorted()
    .slice(ROWS / 2);
  const retry = { maxRetries: 1, delaySeconds: 30, factor: 2, maxDelaySeconds: 3_600, on: ['TIMEOUT'] };
  const column = (name: keyof (typeof rows)[number], type: 'uuid' | 'text') => {
    const values = rows.map((row) => row[name]);
    return array(values, type);
  };
  const given = sql`unnest(${column('id', 'uuid')}, ${column('workflowId', 'uuid')}, ${column('leaseToken', 'uuid')},
    ${column('jobId', 'uuid')}, ${column('status', 'text')}) AS u (id, workflow_id, token, job_id, status)`;
  const held = sql`CASE WHEN status IN ('RUNNING', 'STARTED') THEN`;
  const ended = sql`CASE WHEN status = 'COMPLETED' THEN now() - interval '9 days' END, status = 'COMPLETED'`;
  await db.execute(sql`
    INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status, run_policy)
    SELECT workflow_id, ${ann}, 'test', 'CONTAINER', 1, ${table === 'jobs' ? 1_000 : 1}, 'STARTED',
      CASE WHEN id >= ${middle}::uuid THEN ${JSON.stringify({ retry })}::jsonb END FROM ${given}`);
  const lastJob = table === 'jobs' ? sql`id` : sql`job_id`;
  await db.execute(sql`
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at, last_job_id, overlap)
    SELECT workflow_id, ${ann}, 'CONTAINER', 'READY', 1, 1, now(), now(), ${lastJob}, CASE WHEN id >= ${middle}::uuid THEN 'REPLACE' ELSE 'QUEUE' END
    FROM ${given}`);
  const columns = sql`workflow_id, user_id, generation, attempt, started_at, lease_owner, lease_token, lease_expires_at, completed_at, log_open`;
  const values = sql`workflow_id, ${ann}, 1, 1, now() - interval '9 days'`;
  const lease = sql`${held} 'test' END, ${held} token END, ${held} now() - interval '1 hour' END`;
  const job = sql`'CONTAINER', 'AUTOMATIC', now() - interval '9 days', 'engine', now() - interval '1 hour'`;
  const ofJob = sql`kind, trigger, scheduled_at, engine_id, updated_at`;
  if (table === 'jobs') {
    await db.execute(sql`
      INSERT INTO jobs (id, status, ${columns}, ${ofJob}) SELECT id, status, ${values}, ${lease}, ${ended}, ${job} FROM ${given}`);
    return rows;
  }
  await db.execute(
    sql`INSERT INTO builds (id, status, ${columns}) SELECT id, status, ${values}, ${lease}, ${ended} FROM ${given}`,
  );
  await db.execute(sql`
    INSERT INTO payloads (workflow_id, generation, payload) SELECT workflow_id, 1, '{}' FROM ${given}`);
  await db.execute(sql`
    INSERT INTO jobs (id, status, ${columns}, ${ofJob}) -- of the generation before, still running
    SELECT job_id, 'RUNNING', ${values}, 'test', token, now(), NULL::timestamptz, false, ${job} FROM ${given}`);
  return rows;
}

function endAll(
  db: Db,
  held: (LeaseKey & { workflowId: string })[],
  outcome: Pick<Outcome, 'status' | 'failureReason'>,
) {
  return endJobs(
    db,
    held.map((row) => ({ ...row, ...outcome, logLineCount: 0 })),
  );
}

function idsOf(rows: { id: string }[]): string[] {
  return rows.map(({ id }) => id);
}
