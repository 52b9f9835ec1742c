import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ClaimedBuild, claimBuilds } from '../../db/builds/claim.ts';
import { renewBuildLeases } from '../../db/builds/leases.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { type Connection, connect } from '../../db/client.ts';
import { databaseClockMs } from '../../db/jobs/anchor.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { enterTurns } from '../../db/jobs/turns.ts';
import { type BuildRow, builds } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass, until } from '../support/time.ts';
import { claim, heartbeat, schedule } from './support.ts';

let database: TestDatabase;
let other: Connection;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  other = connect(database.url, { max: 2, application: 'chronoverse-test' });
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, builds, run_requests CASCADE`));
afterAll(async () => {
  await other.close();
  await database.close();
});

const forEver = () => Number.POSITIVE_INFINITY;

async function startedBuild(): Promise<ClaimedBuild> {
  const { buildId } = await createWorkflow(database.db, {
    userId: ann,
    name: 'image',
    payload: { kind: 'CONTAINER', image: 'alpine:3' },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  });
  const [build] = (await claimBuilds(database.db, [buildId ?? ''], { owner: 'test' })).claimed;
  if (build === undefined) throw new Error('no build');
  return build;
}

async function rowOf({ id }: ClaimedBuild): Promise<BuildRow | undefined> {
  const [row] = await database.db.select().from(builds).where(eq(builds.id, id));
  return row;
}

async function expire({ id }: ClaimedBuild): Promise<void> {
  await database.db.execute(sql`
    UPDATE builds SET lease_expires_at = now() - interval '1 second' WHERE id = ${id}`);
}

/**
 * Runs `first` while `statement` holds a lock that it needs, and `meanwhile` before the lock is
 * released.
 */
async function whileLocked(statement: string, first: () => Promise<unknown>, meanwhile: () => Promise<void>) {
  let running: Promise<unknown> | undefined;
  await other.db.transaction(async (tx) => {
    await tx.execute(statement);
    running = first();
    await until('it waits for the lock', async () => {
      const rows = await other.db.execute(sql`
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`);
      return rows.length > 0;
    });
    await meanwhile();
  });
  return running;
}

test('P4: after a break a build’s worker has the length of a lease to renew, and loses no attempt', async () => {
  const { db } = database;
  const build = await startedBuild();
  await expire(build);
  for (const seconds of [0, 10, 29.9]) await sweepBuilds(db, { watchedSeconds: () => seconds });
  expect(await rowOf(build)).toMatchObject({ status: 'STARTED', attempt: 1, leaseToken: build.leaseToken });
  expect((await renewBuildLeases(db, [build])).kept).toEqual(new Set([build.id]));
  await sweepBuilds(db, { watchedSeconds: forEver });
  expect(await rowOf(build)).toMatchObject({ status: 'STARTED', attempt: 1 });

  await expire(build);
  await sweepBuilds(db, { watchedSeconds: () => 30 });
  expect(await rowOf(build)).toMatchObject({ status: 'QUEUED', leaseToken: null });
});

test('a build renewed while the sweep waits stays with its worker, even if that lease has expired again when the sweep continues', async () => {
  const { db } = database;
  const build = await startedBuild();
  await expire(build);
  await whileLocked(
    `SELECT FROM workflows WHERE id = '${build.workflowId}' FOR UPDATE`,
    () => sweepBuilds(db, { watchedSeconds: forEver }),
    async () => {
      await other.db.execute(sql`UPDATE builds SET lease_expires_at = clock_timestamp() WHERE id = ${build.id}`);
    },
  );
  expect(await rowOf(build)).toMatchObject({ status: 'STARTED', attempt: 1 });
});

test('P4: a database that freezes in the middle of a look counts as a break for that look: of builds', async () => {
  const build = await startedBuild();
  await expire(build);
  let watched = Number.POSITIVE_INFINITY;
  await whileLocked(
    'LOCK TABLE builds IN ACCESS EXCLUSIVE MODE',
    () => sweepBuilds(database.db, { watchedSeconds: () => watched }),
    async () => {
      watched = 0;
    },
  );
  expect(await rowOf(build)).toMatchObject({ status: 'STARTED', attempt: 1 });
});

test('P4: a database that freezes in the middle of a look counts as a break for that look: of jobs', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [job] = await claim(db, await schedule(db));
  await letPass(db, id, 3_600);
  let watched = Number.POSITIVE_INFINITY;
  await whileLocked(
    'LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE',
    () => reconcileSchedules(db, [id], { watchedSeconds: () => watched }),
    async () => {
      watched = 0;
    },
  );
  expect((await jobsOf(db, id))[0]).toMatchObject({ status: 'RUNNING', attempt: 1, leaseToken: job?.leaseToken });
});

test('P4: a look says by the database’s clock when it read the rows, so that a clock that was set shows', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  await claim(db, await schedule(db));
  await letPass(db, id, 3_600);
  await expire(await startedBuild());
  const read: number[] = [];
  const watchedSeconds = (databaseMs: number) => {
    read.push(databaseMs);
    return 0;
  };
  const earliest = await databaseClockMs(db);
  await reconcileSchedules(db, [id], { watchedSeconds });
  await sweepBuilds(db, { watchedSeconds });
  const latest = await databaseClockMs(db);
  expect(read).toHaveLength(2);
  for (const at of read) expect(at).toBeGreaterThanOrEqual(earliest);
  for (const at of read) expect(at).toBeLessThanOrEqual(latest);
});

test('P3: the sweep names only builds that have no turn', async () => {
  const { db } = database;
  const ids = [];
  for (let n = 0; n < 3; n++) ids.push((await startedBuild()).id);
  await db.execute(sql`
    UPDATE builds SET status = 'QUEUED', lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
      started_at = now() - interval '1 minute'`);
  await enterTurns(db, 'BUILD', ids.slice(0, 2));
  expect((await sweepBuilds(db, { watchedSeconds: forEver })).queuedBuildIds).toEqual(ids.slice(2));
});
