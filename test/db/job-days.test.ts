import { eq, sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { connect, type Db } from '../../db/client.ts';
import { detachJobDay, eachDayOf, makeJobDay, makeJobDays } from '../../db/job-days.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { removeOldJobs } from '../../db/jobs/retention.ts';
import { countJobs, countJobsByWorkflow, listJobs, listJobsByWorkflow } from '../../db/listing/jobs.ts';
import { jobsOf } from '../../db/lookup.ts';
import { partitionOf } from '../../db/partitions.ts';
import { jobs, schedules, workflows } from '../../db/schema.ts';
import { inSnapshot } from '../../db/snapshot.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { deleteWorkflow } from '../../db/workflows/terminate.ts';
import { firstIdAt, NO_ID, newId } from '../../domain/ids.ts';
import { heartbeat, schedule } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { daysAgo, insertOldJob, makePastDays, rowsByDay } from '../support/days.ts';

/** Jobs in the partitions of several days are handled as if they were in one table. */

const DAYS = 70; // more than two months

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  await makePastDays(database.db, DAYS);
});
beforeEach(async () => {
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

const today = () => partitionOf('jobs', new Date()).name;
const yesterday = () => partitionOf('jobs', daysAgo(1)).name;

/** Dispatches a job of each of `count` workflows, every other one as if it were made yesterday. */
async function aroundMidnight(count: number): Promise<string[]> {
  const { db } = database;
  for (let n = 0; n < count; n++) await heartbeat(db, ann);
  const ids = await schedule(db);
  return Promise.all(
    ids.map(async (id, n) => {
      if (n % 2 === 0) return id;
      const moved = v7({ msecs: daysAgo(1).getTime() });
      await db.update(jobs).set({ id: moved }).where(eq(jobs.id, id));
      await db.update(schedules).set({ lastJobId: moved }).where(eq(schedules.lastJobId, id));
      return moved;
    }),
  );
}

test('transactions that hold every connection learn the days at the same time', async () => {
  const { db, close } = connect(database.url, { max: 2, application: 'chronoverse-test' });
  const ids = [newId(), newId(), newId()];
  try {
    const looks = ids.map((id) => db.transaction((tx) => eachDayOf(tx, [id], async (_, ofDay) => ofDay)));
    const found = await Promise.all([...looks, eachDayOf(db, ids, async (_, ofDay) => ofDay)]);
    expect(found).toEqual([...ids.map((id) => [id]), ids]);
  } finally {
    await close();
  }
});

test('a set of jobs around midnight is claimed, renewed, ended, listed and counted as one', async () => {
  const { db } = database;
  const ids = await aroundMidnight(6);
  const { claimed, effects } = await claimJobs(db, ids, { owner: 'test' });
  expect(claimed.map(({ id }) => id).sort()).toEqual(ids.toSorted());
  expect(effects.changed.map(({ userId }) => userId)).toEqual([ann]);
  expect((await claimJobs(db, ids, { owner: 'other' })).claimed).toEqual([]);
  expect((await renewLeases(db, claimed)).kept).toEqual(new Set(ids));
  const first = claimed.slice(0, 2);
  expect((await returnJobs(db, first)).pending.sort()).toEqual(first.map(({ id }) => id).sort());
  const { ended } = await endJobs(
    db,
    claimed.map((job, n) =>
      n % 3 === 0
        ? { ...job, logLineCount: 0, status: 'FAILED' as const, failureReason: 'EXIT_CODE' as const }
        : { ...job, logLineCount: 0, status: 'COMPLETED' as const },
    ),
  );
  const left = claimed.slice(2).map(({ id }) => id);
  expect([...ended].sort()).toEqual(left.toSorted()); // the leases of the returned jobs are gone
  const listed = await listJobs(db, { userId: ann }, {}, { count: 10, backwards: false });
  expect(listed.map(({ id }) => id)).toEqual(ids.toSorted().reverse());
  expect(await countJobs(db, { userId: ann }, { status: ['COMPLETED', 'FAILED'] }, 100)).toBe(left.length);
  expect(await rowsByDay(db)).toMatchObject({ [today()]: 3, [yesterday()]: 3 });
});

test('a slot of a workflow whose last job was made yesterday, or long ago, is queued', async () => {
  const { db } = database;
  for (const days of [1, 40]) {
    const { id: workflowId } = await heartbeat(db, ann);
    const old = await insertOldJob(db, { userId: ann, workflowId, days });
    await db.update(schedules).set({ lastJobId: old }).where(eq(schedules.workflowId, workflowId));
    const [made] = await schedule(db);
    expect(await jobsOf(db, ann, [made ?? NO_ID])).toMatchObject([{ workflowId, status: 'QUEUED' }]);
  }
});

test('a job of long ago that has not ended keeps its slot waiting', async () => {
  const { db } = database;
  const { id: workflowId } = await heartbeat(db, ann);
  const running = { status: 'RUNNING' as const, completedAt: null, leaseToken: newId(), leaseExpiresAt: daysAgo(-1) };
  const old = await insertOldJob(db, { userId: ann, workflowId, days: 40, ...running });
  await db.update(schedules).set({ lastJobId: old }).where(eq(schedules.workflowId, workflowId));
  expect(await schedule(db)).toEqual([]);
  await endJobs(db, [{ id: old, workflowId, leaseToken: running.leaseToken, logLineCount: 0, status: 'COMPLETED' }]);
  expect(await schedule(db)).toHaveLength(1);
});

test('a day without a partition gets one when a job is made', async () => {
  const { db } = database;
  await db.execute(sql.raw(`DROP TABLE ${today()}`)); // by somebody else: this process still knows it
  const { id } = await heartbeat(db, ann);
  expect(await schedule(db)).toHaveLength(1);
  await db.execute(sql.raw(`DROP TABLE ${today()}`));
  const requested = await runWorkflow(db, { userId: ann, id });
  expect(requested.outcome).toBe('REQUESTED');
  expect(await rowsByDay(db)).toMatchObject({ [today()]: 1 });
});

test('ids of days without jobs, of a far time or of no time name no job', async () => {
  const { db } = database;
  const strange = [
    firstIdAt(daysAgo(4_000)),
    firstIdAt(daysAgo(-400)),
    firstIdAt(new Date('9999-01-01')),
    NO_ID,
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    'd9428888-122b-41e1-b85b-61cdd3cfb1c9', // version 4
  ];
  const own = await insertOldJob(db, { userId: ann, days: 3 });
  expect((await jobsOf(db, ann, [...strange, own])).map(({ id }) => id)).toEqual([own]);
  expect((await claimJobs(db, strange, { owner: 'test' })).claimed).toEqual([]);
});

test('lists over many days keep their order, their cursors and their counts, in both directions', async () => {
  const { db } = database;
  const [one, two] = [newId(), newId()];
  for (const id of [one, two])
    await db.insert(workflows).values({
      id,
      userId: ann,
      name: 'test',
      kind: 'HEARTBEAT',
      intervalMinutes: 1,
      maxConsecutiveJobFailuresAllowed: 3,
      buildStatus: 'COMPLETED',
    });
  // Also before there were days, and with gaps of weeks.
  const ages = [900, 300, 80, 70, 69, 69, 68, 45, 44, 44, 31, 30, 30, 29, 8, 7, 7, 2, 1, 1, 0, 0];
  const ids: string[] = [];
  for (const [n, days] of ages.entries())
    ids.push(await insertOldJob(db, { userId: ann, workflowId: n % 3 === 0 ? two : one, days }));
  const newest = ids.toSorted().reverse();
  const ofOne = ids
    .filter((_, n) => n % 3 !== 0)
    .toSorted()
    .reverse();

  for (const ascending of [false, true])
    for (const backwards of [false, true])
      for (const count of [1, 4, 100]) {
        const order = ascending ? newest.toReversed() : newest;
        const paged: string[] = [];
        for (;;) {
          const edge = backwards ? paged[0] : paged.at(-1);
          const bound = edge === undefined ? {} : backwards ? { before: edge } : { after: edge };
          const page = await listJobs(db, { userId: ann }, {}, { count, backwards, ascending, ...bound });
          if (page.length === 0) break;
          const found = page.map(({ id }) => id);
          if (backwards) paged.unshift(...found);
          else paged.push(...found);
        }
        expect(paged).toEqual(order);
      }
  const between = { after: newest[3] ?? '', before: newest[15] ?? '' };
  const part = await listJobs(db, { userId: ann }, {}, { count: 100, backwards: false, ...between });
  expect(part.map(({ id }) => id)).toEqual(newest.slice(4, 15));

  for (const workflowIds of [[one], [one, two]]) {
    const expected = workflowIds.length === 1 ? ofOne : newest;
    const page = await listJobs(db, { userId: ann, workflowIds }, {}, { count: 9, backwards: false });
    expect(page.map(({ id }) => id)).toEqual(expected.slice(0, 9));
    expect(await countJobs(db, { userId: ann, workflowIds }, {}, 100)).toBe(expected.length);
  }
  const byWorkflow = await listJobsByWorkflow(db, [one, two], {}, { count: 9, backwards: true });
  expect(byWorkflow.get(one)?.map(({ id }) => id)).toEqual(ofOne.slice(-9));
  expect(byWorkflow.get(two)).toHaveLength(8);
  expect(await countJobs(db, { userId: ann }, {}, 100)).toBe(ages.length);
  expect(await countJobs(db, { userId: ann }, {}, 5)).toBe(6);
  expect(await countJobs(db, { userId: ann }, { status: ['FAILED'] }, 5)).toBe(0);
  expect(await countJobsByWorkflow(db, [one, two], {}, 10)).toEqual(
    new Map([
      [one, 11],
      [two, 8],
    ]),
  );
});

test('old jobs and those of a purged workflow are removed from all days', async () => {
  const { db } = database;
  const { id: workflowId } = await heartbeat(db, ann);
  const ids: string[] = [];
  for (const days of [400, 69, 40, 1]) ids.push(await insertOldJob(db, { userId: ann, workflowId, days }));
  for (let after: string | undefined = NO_ID; after !== undefined; )
    ({ after } = await removeOldJobs(db, { days: 41, after, limit: 1, chunks: 10 }));
  expect((await jobsOf(db, ann, ids)).map(({ id }) => id).sort()).toEqual(ids.slice(2));
  await deleteWorkflow(db, { userId: ann, id: workflowId, purge: true });
  await db.delete(schedules).where(eq(schedules.workflowId, workflowId));
  for (let n = 0; n < 10 && (await purgeSome(db)); n++);
  expect(await db.$count(workflows, eq(workflows.id, workflowId))).toBe(0);
  expect(await db.$count(jobs, eq(jobs.workflowId, workflowId))).toBe(0);
});

/** What another process knows and reads. */
async function inOtherProcess<T>(use: (db: Db) => Promise<T>): Promise<T> {
  const { db, close } = connect(database.url, { max: 2, application: 'chronoverse-test' });
  try {
    return await use(db);
  } finally {
    await close();
  }
}

const FIRST = { count: 100, backwards: false };

test('a process lists and counts the jobs of a day that another one made after it had looked', async () => {
  const { id: workflowId } = await heartbeat(database.db, ann);
  await inOtherProcess(async (api) => {
    await database.db.execute(sql.raw(`DROP TABLE ${today()}`));
    expect(await listJobs(api, { userId: ann }, {}, FIRST)).toEqual([]);
    await makeJobDays(database.db, { daysAhead: 0 });
    const id = await insertOldJob(database.db, { userId: ann, workflowId, days: 0 });
    expect((await listJobs(api, { userId: ann }, {}, FIRST)).map((job) => job.id)).toEqual([id]);
    expect(await countJobs(api, { userId: ann }, {}, 100)).toBe(1);
  });
});

test('a day that another process detaches or makes is known within a minute, and until then no list fails', async () => {
  const { db } = database;
  const { id: workflowId } = await heartbeat(db, ann);
  const far = partitionOf('jobs', daysAgo(-20));
  await inOtherProcess(async (api) => {
    await makeJobDay(db, partitionOf('jobs', daysAgo(66)));
    const old = await insertOldJob(db, { userId: ann, workflowId, days: 66 });
    const list = async (from: Db) => (await listJobs(from, { userId: ann }, {}, FIRST)).map(({ id }) => id);
    expect(await list(api)).toEqual([old]);
    await makeJobDay(db, far);
    await detachJobDay(db, partitionOf('jobs', daysAgo(66)));
    const ahead = await insertOldJob(db, { userId: ann, workflowId, days: -20 });
    expect(await list(db)).toEqual([ahead]);
    expect(await list(api)).toEqual([old]); // as it knows the days, and without an error
    expect(await inSnapshot(api, list)).toEqual([old]);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => REAL_NOW() + 61_000);
    try {
      expect(await list(api)).toEqual([ahead]);
    } finally {
      clock.mockRestore();
    }
  });
});
const REAL_NOW = performance.now.bind(performance);
