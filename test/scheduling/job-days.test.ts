import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { makeJobDays } from '../../db/job-days.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { partitionOf } from '../../db/partitions.ts';
import { logChunks } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { createJobRetention } from '../../workers/scheduling/job-retention.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { daysAgo, insertOldJob, makePastDays, rowsByDay } from '../support/days.ts';

const KEPT_DAYS = 5;

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  const { db } = database;
  ann = await testUser(db, 'ann');
  await db.execute(sql`TRUNCATE jobs, log_chunks`);
  await makePastDays(db, 12);
});
afterAll(() => database.close());

const nameOf = (days: number) => partitionOf('jobs', daysAgo(days)).name;
const never = new AbortController().signal;
const pass = () => createJobRetention({ db: database.db, days: KEPT_DAYS }).pass(never);
/** Makes the days that were detached look as if that was eleven minutes ago. */
const age = async () => {
  for (const { name, at } of await database.db.execute<{ name: string; at: string }>(sql`
    SELECT relname AS name, (now() - interval '11 minutes')::text AS at FROM pg_class
    WHERE relname ~ '^jobs_[0-9]{8}$' AND relkind = 'r' AND NOT relispartition`))
    await database.db.execute(sql.raw(`COMMENT ON TABLE ${name} IS 'detached at ${at}'`));
};
const exists = async (days: number) => {
  const rows = await database.db.execute(sql`SELECT FROM pg_class WHERE relname = ${nameOf(days)}`);
  return rows.length > 0;
};

test('P10: a day goes when all of its jobs ended long enough ago, with the lines that are left', async () => {
  const { db } = database;
  const old = await insertOldJob(db, { userId: ann, days: 9 });
  await insertOldJob(db, { userId: ann, days: 2 });
  await insertChunks(db, [{ sourceId: old, attempt: 1, firstNumber: 1, lastNumber: 1, lines: Buffer.of(1) }]);
  // The lines are in the default partition, so the jobs of this day are removed one by one.
  expect(await pass()).toMatchObject({ jobs: 1 });
  expect(await db.$count(logChunks)).toBe(0);
  await pass();
  expect(await rowsByDay(db)).toEqual({ [nameOf(2)]: 1 });
  // Other processes still know the day.
  expect([await exists(9), await exists(2), await exists(0)]).toEqual([true, true, true]);
  await age();
  await pass();
  expect([await exists(9), await exists(2), await exists(0)]).toEqual([false, true, true]);
});

test('P10: a day with an unfinished job stays, and loses the others', async () => {
  const { db } = database;
  const running = { status: 'RUNNING' as const, completedAt: null, leaseToken: newId(), leaseExpiresAt: daysAgo(-1) };
  await insertOldJob(db, { userId: ann, days: 9, ...running });
  await insertOldJob(db, { userId: ann, days: 9, completedAt: daysAgo(1) });
  await insertOldJob(db, { userId: ann, days: 9 });
  await insertOldJob(db, { userId: ann, days: 10 });
  const removed = await pass();
  expect(removed).toMatchObject({ jobs: 1 });
  expect(await rowsByDay(db)).toEqual({ [nameOf(9)]: 2 });
});

test('jobs from before there were days are removed one by one', async () => {
  const { db } = database;
  await insertOldJob(db, { userId: ann, days: 30 });
  expect(await rowsByDay(db)).toEqual({ jobs_other: 1 });
  expect(await pass()).toMatchObject({ jobs: 1 });
  expect(await rowsByDay(db)).toEqual({});
});

test('a day that is in use is detached later, and dropped later, and blocks nobody meanwhile', async () => {
  const { db } = database;
  const isDay = async () => {
    const rows = await db.execute(sql`SELECT FROM pg_class WHERE relname = ${nameOf(8)} AND relispartition`);
    return rows.length > 0;
  };
  const whileInUse = (work: () => Promise<void>) =>
    db.transaction(async (tx) => {
      await tx.execute(sql.raw(`SELECT count(*) FROM ${nameOf(8)}`));
      await work();
    });
  await whileInUse(async () => {
    await pass();
    expect(await isDay()).toBe(true);
  });
  await pass();
  expect([await isDay(), await exists(8)]).toEqual([false, true]);
  await age();
  await whileInUse(async () => {
    await pass();
    expect(await exists(8)).toBe(true);
  });
  await pass();
  expect(await exists(8)).toBe(false);
});

test('two workers detach a day once', async () => {
  await Promise.all([pass(), pass(), pass()]);
  expect(await exists(9)).toBe(true);
  expect(await rowsByDay(database.db)).toEqual({});
  await age();
  await Promise.all([pass(), pass()]);
  expect(await exists(9)).toBe(false);
});

test('days are made early, twice at once too', async () => {
  const { db } = database;
  await Promise.all([makeJobDays(db, { daysAhead: 6 }), makeJobDays(db, { daysAhead: 6 })]);
  expect([await exists(-6), await exists(-7)]).toEqual([true, false]);
});
