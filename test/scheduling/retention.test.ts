import { eq, sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Db } from '../../db/client.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { removeOldJobs } from '../../db/jobs/retention.ts';
import { deleteChunks, insertChunks } from '../../db/logs/append.ts';
import { jobs, logChunks, workflows } from '../../db/schema.ts';
import { firstIdAt, NO_ID, newId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from '../api/support.ts';
import { jobsOf } from '../support/jobs.ts';
import { until } from '../support/time.ts';
import { quiet, testSealer } from '../support/workers.ts';
import { claim, schedule } from './support.ts';

const SEEN = `query ($id: ID!) { node(id: $id) { id } }`;
const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS);

describe('the retention', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
  });
  afterAll(() => api.close());

  const ask = async (document: string, variables: object = {}) =>
    (await query(api, document, { token: ann.token, variables })).data;
  const create = async (): Promise<string> =>
    (await createWorkflow(api, ann, { maxConsecutiveJobFailuresAllowed: 3 })).workflow.id;
  const isSeen = async (id: string) => (await ask(SEEN, { id })).node !== null;
  const totals = async () => (await ask('{ analytics { jobCount completedJobCount logLineCount } }')).analytics;
  const scheduling = (days: { deletedRetentionDays?: number; jobRetentionDays?: number }) => {
    const { db, bus, cache } = api;
    return startScheduling({ db, bus, cache, log: quiet, owner: 'test', sealer: testSealer, ...days });
  };

  /**
   * The job of the workflow's first slot, with a line, as if it had been made `made` days ago and
   * had ended `ended` days ago.
   */
  async function jobOf(workflowId: string, { made, ended }: { made: number; ended?: number }): Promise<string> {
    await schedule(api.db);
    const [job] = await jobsOf(api.db, workflowId);
    if (job === undefined) throw new Error('No job was dispatched.');
    const claimed = await claim(api.db, [job.id]);
    const id = v7({ msecs: daysAgo(made).getTime() });
    if (ended !== undefined)
      await endJobs(
        api.db,
        claimed.map((job) => ({ ...job, status: 'COMPLETED' as const, logLineCount: 1 })),
      );
    const times = ended === undefined ? {} : { completedAt: daysAgo(ended) };
    await api.db
      .update(jobs)
      .set({ id, scheduledAt: daysAgo(made), ...times })
      .where(eq(jobs.id, job.id));
    await api.db.execute(sql`UPDATE schedules SET last_job_id = ${id} WHERE workflow_id = ${workflowId}`);
    const lines = Buffer.from('o2026-01-01T00:00:00.000000000Z a\n');
    await insertChunks(api.db, [{ sourceId: id, attempt: 1, firstNumber: 1, lastNumber: 1, lines }]);
    return id;
  }

  test('P10: of jobs counts from their end, removes their lines and keeps the totals', async () => {
    const [one, two, three] = [await create(), await create(), await create()];
    const old = await jobOf(one, { made: 9, ended: 8 });
    const late = await jobOf(two, { made: 9, ended: 2 });
    const running = await jobOf(three, { made: 9 });
    const before = await totals();
    expect(before).toMatchObject({ completedJobCount: 2, logLineCount: 2 });

    const worker = await scheduling({ jobRetentionDays: 7 });
    await until('the old job is gone', async () => !(await isSeen(old)));
    await worker.close();
    expect([await isSeen(late), await isSeen(running)]).toEqual([true, true]);
    const kept = await api.db.select({ id: logChunks.sourceId }).from(logChunks);
    expect(kept.map(({ id }) => id).sort()).toEqual([late, running].sort());
    expect(await totals()).toEqual(before);
  });

  test('of jobs reads no job if they are kept for longer than ids reach back', async () => {
    await api.db.execute(sql`
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, started_at, completed_at)
      SELECT (left(${v7({ msecs: daysAgo(50).getTime() })}, 24) || lpad(n::text, 12, '0'))::uuid, ${newId()}, ${ann.id}, 'HEARTBEAT', 'MANUAL',
        'COMPLETED', 1, now(), now(), now() - interval '50 days' FROM generate_series(1, 3000) n`);
    // A session reports its statistics only from time to time, so this test uses one session.
    const alone = connect(api.databaseUrl, { max: 1, application: 'chronoverse-test' });
    const read = async () => {
      await alone.db.execute(sql`SELECT pg_stat_force_next_flush()`);
      const [row] = await alone.db.execute<{ read: number }>(sql`
        SELECT sum(idx_tup_fetch + seq_tup_read)::integer AS read FROM pg_stat_user_tables WHERE relname ~ '^jobs_'`);
      return row?.read ?? 0;
    };
    const remove = (days: number) => removeOldJobs(alone.db, { days, after: NO_ID, limit: 1_000, chunks: 1_000 });
    try {
      for (const days of [36_500, 20_000]) {
        const before = await read();
        expect(await remove(days)).toEqual({ after: undefined, count: 0 });
        expect((await read()) - before).toBeLessThan(10);
      }
      const before = await read();
      expect(await remove(49)).toMatchObject({ count: 1_000 });
      expect((await read()) - before).toBeGreaterThan(999); // this shows that the counter works
    } finally {
      await alone.close();
    }
  });

  test('leaves no lines of a job whose first lines another worker removes at the same time', async () => {
    const old = await jobOf(await create(), { made: 9, ended: 8 });
    const lines = Buffer.from('o2026-01-01T00:00:00.000000000Z a\n');
    await insertChunks(api.db, [{ sourceId: old, attempt: 1, firstNumber: 2, lastNumber: 2, lines }]);
    const after = firstIdAt(daysAgo(10));
    const remove = (db: Db) => removeOldJobs(db, { days: 7, after, limit: 10, chunks: 1 });
    const alone = connect(api.databaseUrl, { max: 1, application: 'second' });
    try {
      const second = await api.db.transaction(async (tx) => {
        await deleteChunks(tx, [old], { limit: 1 });
        const removing = remove(alone.db);
        await until('it waits for the first one', async () => {
          const waiting = await api.db.execute(sql`
            SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'second' AND wait_event_type = 'Lock'`);
          return waiting.length > 0;
        });
        return { removing };
      });
      expect(await second.removing).toMatchObject({ after, count: 0 });
      for (let n = 0; n < 2; n++) await remove(alone.db);
      expect([await isSeen(old), await api.db.$count(logChunks, eq(logChunks.sourceId, old))]).toEqual([false, 0]);
    } finally {
      await alone.close();
    }
  });

  test('leaves a workflow whose last job was removed to its next slot', async () => {
    const id = await create();
    const old = await jobOf(id, { made: 9, ended: 8 });
    const worker = await scheduling({ jobRetentionDays: 7 });
    await until('the old job is gone', async () => !(await isSeen(old)));
    await worker.close();
    await api.db.execute(sql`UPDATE schedules SET next_run_at = now(), wake_at = now() WHERE workflow_id = ${id}`);
    expect(await schedule(api.db)).toHaveLength(1);
    expect(await jobsOf(api.db, id)).toMatchObject([{ status: 'QUEUED' }]);
  });

  test('purges workflows that were deleted long enough ago', async () => {
    const [old, young] = [await create(), await create()];
    const job = await jobOf(old, { made: 3, ended: 3 });
    for (const id of [old, young])
      await ask(`mutation { deleteWorkflow(input: { id: "${id}" }) { userErrors { code } } }`);
    await schedule(api.db); // removes their schedules
    await api.db
      .update(workflows)
      .set({ deletedAt: daysAgo(2.1) })
      .where(eq(workflows.id, old));
    await api.db
      .update(workflows)
      .set({ deletedAt: daysAgo(1.9) })
      .where(eq(workflows.id, young));
    expect([await isSeen(old), await isSeen(job)]).toEqual([true, true]);

    const worker = await scheduling({ deletedRetentionDays: 2 });
    await until('the row is gone', async () => (await api.db.$count(workflows, eq(workflows.id, old))) === 0);
    await worker.close();
    expect([await isSeen(old), await isSeen(job), await isSeen(young)]).toEqual([false, false, true]);
    expect(await api.db.$count(logChunks, eq(logChunks.sourceId, job))).toBe(0);
  });
});
