import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { renewLeases } from '../../db/jobs/leases.ts';
import { notifyWatchedRuns } from '../../db/jobs/watched-runs.ts';
import { notifications } from '../../db/schema.ts';
import { NO_ID } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letPass } from '../support/time.ts';
import { claim, end, schedule, scheduled } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, notifications CASCADE`));
afterAll(() => database.close());

const look = async () => (await notifyWatchedRuns(database.db, { after: NO_ID, limit: 10 })).count;
const notified = () => database.db.select().from(notifications).orderBy(notifications.id);
async function begin(id: string) {
  const [job] = await claim(database.db, await schedule(database.db));
  if (job === undefined) throw new Error(`${id} has no job.`);
  return job;
}

test('a job that has not started in time is late, once, whichever of several looks comes first', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 600 }, { runPolicy: { lateAfterSeconds: 60 } });
  const [jobId] = await schedule(db);
  await letPass(db, id, 55);
  expect(await look()).toBe(0);
  await letPass(db, id, 10);
  const counts = await Promise.all([look(), look(), look()]);
  expect(counts.reduce((sum, count) => sum + count)).toBe(1);
  expect(await notified()).toMatchObject([
    {
      kind: 'RUN_LATE',
      jobId,
      detail: expect.stringMatching(/^The run of .*Z had not started 60 s after it was due\.$/),
    },
  ]);
});

test('a slot that waits for a job is late too, without a job', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 10 }, { runPolicy: { lateAfterSeconds: 60 } });
  const job = await begin(id);
  await letPass(db, id, 670);
  await renewLeases(db, [job]);
  await db.execute(sql`UPDATE jobs SET started_at = scheduled_at`);
  expect(await look()).toBe(1);
  expect(await look()).toBe(0);
  expect(await notified()).toMatchObject([{ kind: 'RUN_LATE', jobId: null }]);
});

test('a job that runs longer than expected is notified once, and goes on', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 600 }, { runPolicy: { expectedMaxSeconds: 100 } });
  const job = await begin(id);
  expect(await look()).toBe(0);
  await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds'`);
  expect(await look()).toBe(1);
  expect(await look()).toBe(0);
  expect(await notified()).toMatchObject([{ kind: 'JOB_LONG', jobId: job.id }]);
  await end(db, job, { status: 'COMPLETED' });
  expect(await look()).toBe(0);
});

test('a job that completes sooner than expected is notified, and one that fails or takes its time is not', async () => {
  const { db } = database;
  const policy = { runPolicy: { expectedMinSeconds: 100 } };
  const short = await begin((await scheduled(db, ann, { everyMinutes: 600 }, policy)).id);
  await end(db, short, { status: 'COMPLETED' });
  expect(await notified()).toMatchObject([
    { kind: 'JOB_SHORT', jobId: short.id, detail: 'It completed after 0 s, and at least 100 s are expected.' },
  ]);
  const long = await begin((await scheduled(db, ann, { everyMinutes: 600 }, policy)).id);
  await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds' WHERE id = ${long.id}`);
  await end(db, long, { status: 'COMPLETED' });
  const failing = await begin((await scheduled(db, ann, { everyMinutes: 600 }, policy)).id);
  await end(db, failing, { status: 'FAILED', failureReason: 'CHECK_FAILED' });
  expect((await notified()).map(({ kind }) => kind)).toEqual(['JOB_SHORT', 'JOB_FAILED']);
});
