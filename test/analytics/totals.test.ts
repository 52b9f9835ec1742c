import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { areTotalsDue, readUserTotals, readWorkflowTotals, rollUpTotals } from '../../db/analytics.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { type TimeRange, wholeDays } from '../../domain/analytics.ts';
import { DURATION_ERROR_MAX, percentileMs } from '../../domain/durations.ts';
import { claim, heartbeat, schedule } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letPass } from '../support/time.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

const everything: TimeRange = { from: undefined, to: undefined };
type Sums = Record<string, { count: number; lines: number; ms: number }>;

/** The sums of the totals of a user or workflow, by kind of end. */
async function totalsOf(userId: string, range = everything, workflowId?: string): Promise<Sums> {
  const { db } = database;
  const totals = workflowId ? readWorkflowTotals(db, [workflowId], range) : readUserTotals(db, userId, range);
  const sums: Sums = {};
  for (const { what, count, logLines, durationMs } of await totals) {
    const sum = sums[what] ?? { count: 0, lines: 0, ms: 0 };
    sums[what] = { count: sum.count + count, lines: sum.lines + logLines, ms: sum.ms + durationMs };
  }
  return sums;
}

/** The same sums computed from the jobs, in whole milliseconds like a Date. */
async function jobsOf(column: 'user_id' | 'workflow_id', id: string): Promise<Sums> {
  const rows = await database.db.execute<{
    status: string;
    started: string | null;
    completed: string;
    lines: number;
  }>(sql`
    SELECT status, started_at AS started, completed_at AS completed, log_line_count AS lines FROM jobs
    WHERE ${sql.raw(column)} = ${id} AND completed_at IS NOT NULL`);
  const sums: Sums = {};
  for (const { status, started, completed, lines } of rows) {
    const ms = started === null ? 0 : new Date(completed).getTime() - new Date(started).getTime();
    const sum = sums[status] ?? { count: 0, lines: 0, ms: 0 };
    sums[status] = { count: sum.count + 1, lines: sum.lines + lines, ms: sum.ms + ms };
  }
  return sums;
}

const jobSums = ({ COMPLETED, FAILED, CANCELED }: Sums) => ({ COMPLETED, FAILED, CANCELED });

test('P10: the totals equal those of the jobs after any sequence of ends, rolled up or not, also with concurrent calls', async () => {
  const { db } = database;
  const step = fc.constantFrom('complete', 'fail', 'system', 'cancel', 'cancelQueued', 'request', 'fold', 'terminate');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 20 }), async (steps) => {
      const user = await testUser(db, 'random');
      const made = [];
      for (let n = 0; n < 3; n++) made.push((await heartbeat(db, user, { failuresAllowed: 2 })).id);
      for (const [n, taken] of steps.entries()) {
        if (taken === 'fold') await Promise.all([rollUpTotals(db, { limit: 3 }), rollUpTotals(db, { limit: 3 })]);
        else if (taken === 'request') await runWorkflow(db, { userId: user, id: made[n % 3] ?? '' });
        else if (taken === 'terminate' && n % 4 === 0) await terminateWorkflow(db, { userId: user, id: made[2] ?? '' });
        else {
          const ids = await schedule(db);
          if (taken === 'cancelQueued') for (const id of ids) await cancelJob(db, { userId: user, id });
          const status = { complete: 'COMPLETED', fail: 'FAILED', system: 'FAILED' } as const;
          const outcome = taken in status ? status[taken as keyof typeof status] : 'CANCELED';
          const reason = taken === 'system' ? 'SYSTEM' : 'EXIT_CODE';
          await endJobs(
            db,
            (await claim(db, ids)).map((job, at) => ({
              ...job,
              status: outcome,
              ...(outcome === 'FAILED' ? { failureReason: reason } : {}),
              logLineCount: n + at,
            })),
          );
          for (const id of made) await letPass(db, id, 60);
        }
      }
      expect(jobSums(await totalsOf(user))).toEqual(await jobsOf('user_id', user));
      for (const id of made)
        expect(jobSums(await totalsOf(user, everything, id))).toEqual(await jobsOf('workflow_id', id));
    }),
    { numRuns: 12 },
  );
});

test('P10: a roll-up counts each set once despite concurrent roll-ups, and changes no total that is read', async () => {
  const { db } = database;
  for (let n = 0; n < 20; n++) await heartbeat(db, ann);
  for (const job of await claim(db, await schedule(db)))
    await endJobs(db, [{ ...job, status: 'COMPLETED', logLineCount: 2 }]);
  const before = await totalsOf(ann);
  for (const [bound, due] of [
    [{ idleSeconds: 3_600, jobs: 20_000, seconds: 3_600 }, false],
    [{ idleSeconds: 3_600, jobs: 20, seconds: 3_600 }, true],
    [{ idleSeconds: 3_600, jobs: 20_000, seconds: 0 }, true],
    [{ idleSeconds: 0, jobs: 20_000, seconds: 3_600 }, true],
  ] as const)
    expect(await areTotalsDue(db, bound)).toBe(due);
  expect(before).toMatchObject({ COMPLETED: { count: 20, lines: 40 }, WORKFLOW_CREATED: { count: 20 } });
  const fold = async () => {
    let taken = 0;
    for (let last = 1; last > 0; taken += last) last = await rollUpTotals(db, { limit: 4 });
    return taken;
  };
  const [pending] = await db.execute<{ n: number }>(sql`SELECT count(*)::integer AS n FROM totals_pending`);
  const taken = await Promise.all([fold(), fold(), fold()]);
  expect(taken.reduce((sum, n) => sum + n, 0)).toBe(pending?.n);
  expect(await totalsOf(ann)).toEqual(before);
  expect(await db.execute(sql`SELECT FROM totals_pending`)).toHaveLength(0);
});

test('P10: totals outlive the rows that they count, and each workflow counts once as created and once as deleted', async () => {
  const { db } = database;
  const [kept, deleted, purged] = [await heartbeat(db, ann), await heartbeat(db, ann), await heartbeat(db, ann)];
  for (const job of await claim(db, await schedule(db)))
    await endJobs(db, [{ ...job, status: 'COMPLETED', logLineCount: 1 }]);
  const before = jobSums(await totalsOf(ann));
  for (let n = 0; n < 2; n++) await deleteWorkflow(db, { userId: ann, id: deleted.id });
  await db.execute(sql`DELETE FROM workflows WHERE id IN (${purged.id}, ${deleted.id})`);
  await db.execute(sql`DELETE FROM jobs WHERE user_id = ${ann}`); // as retention does
  const later = { from: new Date(Date.now() + 7_200_000), to: undefined };
  for (let n = 0; n < 2; n++) {
    expect(jobSums(await totalsOf(ann))).toEqual(before);
    expect(await totalsOf(ann, later)).toMatchObject({
      WORKFLOW_CREATED: { count: 3 },
      WORKFLOW_DELETED: { count: 2 },
    });
    expect((await totalsOf(ann, everything, kept.id)).COMPLETED?.count).toBe(1);
    await rollUpTotals(db, { limit: 1_000 });
  }
});

test('a percentile is within its bound of the duration at that rank', async () => {
  const { db } = database;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 86_400_000 })), {
        minLength: 1,
        maxLength: 300,
      }),
      fc.constantFrom(0.5, 0.99),
      async (durations, fraction) => {
        const rows = await db.execute<{ bucket: number }>(
          sql`SELECT duration_bucket(ms::bigint) AS bucket FROM unnest(${`{${durations}}`}::integer[]) AS ms`,
        );
        const counts = new Map<number, number>();
        for (const { bucket } of rows) counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
        const exact = durations.toSorted((a, b) => a - b)[Math.ceil(durations.length * fraction) - 1] ?? Number.NaN;
        const found = percentileMs(counts, fraction) ?? Number.NaN;
        expect(Math.abs(found - exact)).toBeLessThanOrEqual(exact * DURATION_ERROR_MAX * 1.000_001);
      },
    ),
    { numRuns: 60 },
  );
  expect(percentileMs(new Map([[-1, 3]]), 0.5)).toBeUndefined();
});

test('the whole days and the remaining hours of a range contain each hour of the range once', () => {
  const hour = fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined });
  const at = (n: number | undefined) => (n === undefined ? undefined : new Date(n * 3_600_000));
  const within = ({ from, to }: TimeRange, time: Date) => (!from || time >= from) && (!to || time < to);
  fc.assert(
    fc.property(hour, hour, fc.integer({ min: -30, max: 130 }), (from, to, n) => {
      fc.pre(from === undefined || to === undefined || from <= to);
      const [range, time] = [{ from: at(from), to: at(to) }, new Date(n * 3_600_000)];
      const { days, hours } = wholeDays(range);
      const parts = [...hours, ...(days ? [days] : [])].filter((part) => within(part, time));
      expect(parts.length).toBe(within(range, time) ? 1 : 0);
      if (days) for (const end of [days.from, days.to]) expect((end?.getTime() ?? 0) % 86_400_000).toBe(0);
    }),
  );
});
