import { eq, inArray, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { jobs, workflows } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { packCheckLines } from '../../workers/execution/lines.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { readLines } from '../support/lines.ts';
import { letPass } from '../support/time.ts';
import { claim, heartbeat, run, schedule } from './support.ts';

let database: TestDatabase;
let ann: string;
let bob: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  bob = await testUser(database.db, 'bob');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests CASCADE`));
afterAll(() => database.close());

const failure = { status: 'FAILED', failureReason: 'CHECK_FAILED', failureMessage: 'It answers 500.' } as const;

async function withLines(job: ClaimedJob, outcome: Pick<Outcome, 'status' | 'failureReason'>, ...texts: string[]) {
  const lines = texts.map((text) => ({ stream: 'STDOUT' as const, timestamp: new Date(), text }));
  const lastLines = { firstNumber: 1, lines: await packCheckLines(lines) };
  return { ...job, ...outcome, logLineCount: texts.length, lastLines };
}

async function textsOf(id: string): Promise<string[]> {
  return (await readLines(database.db, id)).map(({ number, text }) => `${number} ${text}`);
}

/** Workflows of which each has a running job after a success. */
async function runningAfterSuccess(...owners: string[]): Promise<ClaimedJob[]> {
  const { db } = database;
  const ids: string[] = [];
  for (const owner of owners) {
    ids.push((await heartbeat(db, owner)).id);
    await run(db, { status: 'COMPLETED' });
  }
  for (const id of ids) await letPass(db, id, 60);
  const running = await claim(db, await schedule(db));
  return running.toSorted((a, b) => ids.indexOf(a.workflowId) - ids.indexOf(b.workflowId));
}

/** The place of the row, which changes with each write. */
async function placeOf(table: 'workflows' | 'schedules', column: string, id: string): Promise<string | undefined> {
  const [row] = await database.db.execute<{ place: string }>(
    sql`SELECT ctid::text || xmin::text AS place FROM ${sql.identifier(table)} WHERE ${sql.identifier(column)} = ${id}`,
  );
  return row?.place;
}

test('a set of ends of every kind ends each as it should, and an odd one costs the others nothing', async () => {
  const { db } = database;
  const [ordinary, alike, failed, canceled, waitedFor, lost] = await runningAfterSuccess(ann, bob, ann, bob, ann, ann);
  if (!ordinary || !alike || !failed || !canceled || !waitedFor || !lost) throw new Error('Six jobs run.');
  await cancelJob(db, { userId: canceled.userId, id: canceled.id });
  await runWorkflow(db, { userId: waitedFor.userId, id: waitedFor.workflowId });
  expect(await schedule(db)).toEqual([]);
  await returnJobs(db, [lost]); // another worker has it by now
  const untouched = () =>
    Promise.all(
      [ordinary, alike, canceled].flatMap(({ workflowId }) => [
        placeOf('workflows', 'id', workflowId),
        placeOf('schedules', 'workflow_id', workflowId),
      ]),
    );
  const before = await untouched();

  const { ended, effects } = await endJobs(db, [
    await withLines(lost, { status: 'COMPLETED' }, 'nobody reads this'),
    await withLines(waitedFor, { status: 'COMPLETED' }, 'same'),
    await withLines(canceled, { status: 'CANCELED' }, 'stopped'),
    await withLines(failed, failure, 'one', 'two'),
    await withLines(alike, { status: 'COMPLETED' }, 'same'),
    await withLines(ordinary, { status: 'COMPLETED' }, 'same'),
  ]);

  expect(ended).toEqual(new Set([ordinary, alike, failed, canceled, waitedFor].map(({ id }) => id)));
  expect(effects.wakeScheduler).toBe(true);
  const rows = await db
    .select()
    .from(jobs)
    .where(inArray(jobs.id, [...ended, lost.id]));
  const statusOf = (job: ClaimedJob) => rows.find(({ id }) => id === job.id)?.status;
  expect([ordinary, alike, failed, canceled, waitedFor, lost].map(statusOf)).toEqual(
    ['COMPLETED', 'COMPLETED', 'FAILED', 'CANCELED', 'COMPLETED', 'QUEUED'].map((status, index) =>
      index === 5 ? expect.stringMatching(/QUEUED|PENDING/) : status,
    ),
  );
  expect(await Promise.all([ordinary, alike, failed, canceled, waitedFor, lost].map(({ id }) => textsOf(id)))).toEqual([
    ['1 same'],
    ['1 same'],
    ['1 one', '2 two'],
    ['1 stopped'],
    ['1 same'],
    [],
  ]);
  expect(await untouched()).toEqual(before);
  const [count] = await db.select().from(workflows).where(eq(workflows.id, failed.workflowId));
  expect(count?.consecutiveJobFailuresCount).toBe(1);
  expect(await schedule(db)).toContainEqual((await jobsOf(db, waitedFor.workflowId)).at(-1)?.id);
});

test('ends that are written again after a lost answer change nothing, and keep the lines once', async () => {
  const { db } = database;
  const running = await runningAfterSuccess(ann, ann);
  const outcomes = await Promise.all(running.map((job) => withLines(job, { status: 'COMPLETED' }, 'a', 'b')));
  expect((await endJobs(db, outcomes)).ended.size).toBe(2);
  expect(await endJobs(db, outcomes)).toMatchObject({ ended: new Set(), effects: { changed: [] } });
  for (const { id } of running) expect(await textsOf(id)).toEqual(['1 a', '2 b']);
});

test('the first success after failures resets the count, whatever the jobs in between are', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
  const count = async () =>
    (await db.select().from(workflows).where(eq(workflows.id, id)))[0]?.consecutiveJobFailuresCount;
  const counts: (number | undefined)[] = [];
  const marks: (boolean | undefined)[] = [];
  for (const outcome of [
    { status: 'COMPLETED' },
    { status: 'COMPLETED' },
    failure,
    { status: 'CANCELED' },
    { status: 'FAILED', failureReason: 'SYSTEM' },
    { status: 'COMPLETED' },
    { status: 'COMPLETED' },
  ] as const) {
    await run(db, outcome);
    marks.push((await jobsOf(db, id)).at(-1)?.afterFailure);
    counts.push(await count());
    await letPass(db, id, 60);
  }
  expect(counts).toEqual([0, 0, 1, 1, 1, 0, 0]);
  // Only an end that may change the count looks it up: the first, and those after the failure.
  expect(marks).toEqual([true, false, false, true, true, true, false]);
});

test('an end with the lease of another attempt stores no line', async () => {
  const { db } = database;
  const [job] = await runningAfterSuccess(ann);
  if (job === undefined) throw new Error('A job runs.');
  const stale = await withLines({ ...job, leaseToken: newId() }, { status: 'COMPLETED' }, 'late');
  expect((await endJobs(db, [stale])).ended.size).toBe(0);
  expect(await textsOf(job.id)).toEqual([]);
});
