import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Connection, connect, type Db } from '../../db/client.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letPass, until } from '../support/time.ts';
import { claim, end, heartbeat, run, schedule, scheduleOf } from './support.ts';

/**
 * While a test holds the lock GATE, the statements of this scheduler have a snapshot but have
 * locked no row yet. In its sessions now() is a function that waits for that lock. It is VOLATILE,
 * so that PostgreSQL calls it while the statement runs.
 */
const GATE = 471_101;
let database: TestDatabase;
let scheduler: Connection;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  const { db, url } = database;
  ann = await testUser(db, 'ann');
  await db.execute(sql`CREATE SCHEMA gated`);
  await db.execute(
    sql.raw(`CREATE FUNCTION gated.now() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
      BEGIN
        PERFORM pg_advisory_xact_lock_shared(${GATE});
        RETURN pg_catalog.now();
      END $$`),
  );
  const gated = new URL(url);
  gated.searchParams.set('search_path', 'gated,pg_catalog,public');
  scheduler = connect(gated.href, { max: 1, application: 'scheduler' });
});
afterAll(async () => {
  await scheduler.close();
  await database.close();
});

/**
 * Runs the statement that dispatches due slots. `meanwhile` runs in a transaction that begins
 * before the statement and commits between its snapshot and its first lock.
 */
async function queueWhile(meanwhile: (tx: Db) => Promise<unknown>) {
  const { db } = database;
  let pass: ReturnType<typeof queueDueSlots> | undefined;
  await db.transaction(async (holder) => {
    await holder.execute(sql`SELECT pg_advisory_xact_lock(${GATE})`);
    await db.transaction(async (tx) => {
      await tx.execute(sql`SELECT now()`);
      pass = queueDueSlots(scheduler.db, { limit: 10 });
      await until('the scheduler is at the gate', async () => {
        const waiting = await db.execute(
          sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = ${GATE} AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        );
        return waiting.length > 0;
      });
      await meanwhile(tx);
    });
  });
  if (pass === undefined) throw new Error('No pass was begun.');
  return pass;
}

test('P2: a run requested between the snapshot and the lock of a scheduler is dispatched by the same look', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: 60 });
  await run(db, { status: 'COMPLETED' });
  await letPass(db, id, 3_600); // now the next slot is due and the workflow idle
  let requested: string | undefined;
  const { effects, others } = await queueWhile(async (tx) => {
    const answer = await runWorkflow(tx, { userId: ann, id });
    requested = answer.outcome === 'REQUESTED' ? answer.job.id : undefined;
  });
  expect(requested).toBeDefined();
  expect(effects.dispatched).toEqual([]);
  const reconciled = await reconcileSchedules(db, others, { watchedSeconds: () => Number.POSITIVE_INFINITY });
  expect(reconciled.effects.dispatched.map((job) => job.id)).toEqual([requested]);

  // The slot that came due meanwhile follows the end of this job.
  const [job] = await claim(db, [requested ?? '']);
  if (job === undefined) throw new Error('no job');
  await end(db, job, { status: 'COMPLETED' });
  expect(await schedule(db)).toHaveLength(1);
});

test('P2: several requested runs keep the mark until the last one is dispatched', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: 60 });
  await run(db, { status: 'COMPLETED' });
  for (let n = 0; n < 3; n++) await runWorkflow(db, { userId: ann, id });
  for (const left of [true, true, false]) {
    const dispatched = await schedule(db);
    expect(dispatched).toHaveLength(1);
    expect((await scheduleOf(db, id))?.requested).toBe(left);
    const [job] = await claim(db, dispatched);
    if (job === undefined) throw new Error('no job');
    await end(db, job, { status: 'COMPLETED' });
  }
});

test('P2: a canceled request blocks no slot, even if it came and went between snapshot and lock', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: 60 });
  await run(db, { status: 'COMPLETED' });
  await letPass(db, id, 3_600);
  const { effects, others } = await queueWhile(async (tx) => {
    const answer = await runWorkflow(tx, { userId: ann, id });
    if (answer.outcome === 'REQUESTED') await cancelJob(tx, { userId: ann, id: answer.job.id });
  });
  expect(effects.dispatched).toEqual([]); // the mark stays set
  await reconcileSchedules(db, others, { watchedSeconds: () => Number.POSITIVE_INFINITY });
  expect(await schedule(db)).toHaveLength(1);
  expect((await scheduleOf(db, id))?.requested).toBe(false);
});
