import { sql } from 'drizzle-orm';
import { afterEach, expect, test } from 'vitest';
import { dumpDatabase } from '../../db/backup/dump.ts';
import { loadDatabase } from '../../db/backup/load.ts';
import { type Connection, connect } from '../../db/client.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { countJobs } from '../../db/listing/jobs.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import { partitionOf } from '../../db/partitions.ts';
import { firstIdAt, newId } from '../../domain/ids.ts';
import { heartbeat, schedule } from '../scheduling/support.ts';
import { testUser } from '../support/database.ts';
import { daysAgo, insertOldJob, makePastDays, rowsByDay } from '../support/days.ts';
import { emptyDatabase, type OldDatabase } from '../support/old-database.ts';

const VERSION = 29; // of the days of jobs

const opened: { database: OldDatabase; connection: Connection }[] = [];
async function open(): Promise<{ database: OldDatabase; connection: Connection }> {
  const database = await emptyDatabase();
  const one = { database, connection: connect(database.url, { max: 4, application: 'chronoverse-test' }) };
  opened.push(one);
  return one;
}
afterEach(async () => {
  for (const { database, connection } of opened.splice(0)) {
    await connection.close();
    await database.close();
  }
});

/** A database of the version before, with a job of each of these days. */
async function oldJobs(ages: number[], { queued = 0 } = {}) {
  const { database, connection } = await open();
  await migrate(database.url, { upTo: VERSION - 1 });
  const { db } = connection;
  const userId = await testUser(db, 'ann');
  for (const days of ages) await insertOldJob(db, { userId, days });
  const waiting: string[] = [];
  for (let n = 0; n < queued; n++)
    waiting.push(await insertOldJob(db, { userId, days: 0, status: 'QUEUED', startedAt: null, completedAt: null }));
  return { database, db, userId, waiting };
}

test('jobs of before stay where they are and are run on; days begin the day after tomorrow', async () => {
  const { database, db, userId, waiting } = await oldJobs([400, 3, 0], { queued: 2 });
  await migrate(database.url);
  expect(await rowsByDay(db)).toEqual({ jobs_other: 5 });
  expect((await claimJobs(db, waiting, { owner: 'test' })).claimed).toHaveLength(2);
  await heartbeat(db, userId);
  expect(await schedule(db)).toHaveLength(1);
  expect(await rowsByDay(db)).toEqual({ jobs_other: 6 });
  await insertOldJob(db, { userId, days: -2 });
  expect(await rowsByDay(db)).toEqual({ jobs_other: 6, [partitionOf('jobs', daysAgo(-2)).name]: 1 });
  expect(await countJobs(db, { userId }, {}, 10)).toBe(1); // the others have no workflow
});

test('a job that a wrong clock made keeps nothing from having its day', async () => {
  const far = -3_000;
  const { database, db, userId } = await oldJobs([1, -5, far]);
  await migrate(database.url);
  expect(await rowsByDay(db)).toEqual({ jobs_other: 3 });
  await insertOldJob(db, { userId, days: far });
  await insertOldJob(db, { userId, days: -5 });
  expect(await rowsByDay(db)).toEqual({ jobs_other: 5 }); // the day after tomorrow plus five has jobs there
  const first = await database.client<{ name: string }[]>`
    SELECT relname AS name FROM pg_class WHERE relname ~ '^jobs_[0-9]{8}$' ORDER BY 1`;
  expect(first.map(({ name }) => name)).toEqual([]); // days begin behind it
});

test('a migration that was stopped after each part goes on, and a client of before writes meanwhile', async () => {
  const { database, db, userId } = await oldJobs([2, 1]);
  const stopped = new Set<string>();
  for (let isDone = false; !isDone; ) {
    const beforeCommit = async ({ does }: { does: string }) => {
      if (stopped.has(does)) return;
      stopped.add(does);
      throw new Error('stopped');
    };
    isDone = await migrate(database.url, { upTo: VERSION, watch: { beforeCommit } }).then(
      () => true,
      () => false,
    );
    await database.client`
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, queued_at)
      VALUES (${newId()}, ${newId()}, ${userId}, 'HEARTBEAT', 'AUTOMATIC', 'QUEUED', 1, now(), now())`;
    await database.client`UPDATE jobs SET updated_at = now() WHERE status = 'QUEUED'`;
  }
  expect(stopped.size).toBe(3);
  expect(await rowsByDay(db)).toEqual({ jobs_other: 2 + 4 });
});

test('a backup of several days is restored into the same days', async () => {
  const from = await open();
  await migrate(from.database.url);
  const { db } = from.connection;
  await makePastDays(db, 6);
  const userId = await testUser(db, 'ann');
  for (const days of [30, 6, 6, 2, 0]) await insertOldJob(db, { userId, days });
  const before = await rowsByDay(db);
  expect(before).toMatchObject({ jobs_other: 1, [partitionOf('jobs', daysAgo(6)).name]: 2 });

  const to = await open();
  const pieces = async function* () {
    for await (const piece of dumpDatabase(from.database.url)) yield Buffer.from(piece);
  };
  await loadDatabase(to.database.url, pieces());
  expect(await rowsByDay(to.connection.db)).toEqual(before);
  await heartbeat(to.connection.db, userId);
  expect(await schedule(to.connection.db)).toHaveLength(1);
  const [other] = await to.connection.db.execute(sql`
    SELECT FROM jobs_other WHERE id >= ${firstIdAt(daysAgo(5))}`);
  expect(other).toBeUndefined();
});
