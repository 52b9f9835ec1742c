import { eq, sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endJobs } from '../../db/jobs/finish.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { jobs } from '../../db/schema.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { claim, heartbeat, schedule } from '../scheduling/support.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { type Person, person, socketOf, type TestApi, taker, testApi } from './support.ts';

/**
 * The test calls database functions that publish nothing. So every hint is lost, and only the
 * re-check finds changes.
 */
describe("a workflow's jobs without a hint", () => {
  let api: TestApi;
  let ann: Person;
  let client: ReturnType<typeof socketOf>;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
    client = socketOf(api, ann.token);
  });
  afterAll(async () => {
    await client.dispose();
    await api.close();
  });

  interface Update {
    jobUpdated: { id: string; status: string };
  }
  async function follow(workflowId: string) {
    const query = 'subscription ($id: ID) { jobUpdated(workflowId: $id) { id status } }';
    const stream = taker(client.iterate<Update>({ query, variables: { id: workflowId } }));
    const take = async () => {
      const { jobUpdated } = (await stream.take()).data ?? {};
      return [jobUpdated?.id, jobUpdated?.status];
    };
    return { take, first: await take() };
  }
  const complete = async (ids: string[]) =>
    endJobs(
      api.db,
      (await claim(api.db, ids)).map((job) => ({ ...job, status: 'COMPLETED' as const, logLineCount: 0 })),
    );

  test('gets each state of a job that is far from the newest', async () => {
    const { id: workflowId } = await heartbeat(api.db, ann.id);
    await complete(await schedule(api.db));
    for (let n = 0; n < 60; n++) await runWorkflow(api.db, { userId: ann.id, id: workflowId });
    const requested = (await jobsOf(api.db, workflowId))
      .filter(({ trigger }) => trigger === 'MANUAL')
      .map(({ id }) => id);
    const stream = await follow(workflowId);
    expect(stream.first).toEqual([requested.at(-1), 'PENDING']);
    for (const id of requested.slice(0, 2)) {
      expect(await schedule(api.db)).toEqual([id]);
      await complete([id]);
      expect([await stream.take(), await stream.take(), await stream.take()]).toEqual([
        [id, 'QUEUED'],
        [id, 'RUNNING'],
        [id, 'COMPLETED'],
      ]);
    }
  });

  test('gets a job whose id comes from a machine with a clock far behind', async () => {
    const { id: workflowId } = await heartbeat(api.db, ann.id);
    const [made = ''] = await schedule(api.db);
    const slow = v7({ msecs: Date.now() - 40 * DAY_MS });
    await api.db.update(jobs).set({ id: slow }).where(eq(jobs.id, made));
    await api.db.execute(sql`UPDATE schedules SET last_job_id = ${slow} WHERE workflow_id = ${workflowId}`);
    await Promise.all(Array.from({ length: 60 }, () => runWorkflow(api.db, { userId: ann.id, id: workflowId })));
    const stream = await follow(workflowId);
    await complete([slow]);
    expect([await stream.take(), await stream.take()]).toEqual([
      [slow, 'RUNNING'],
      [slow, 'COMPLETED'],
    ]);
  });

  test('gets jobs that were made and ended between two re-checks, each once', async () => {
    const { id: workflowId } = await heartbeat(api.db, ann.id);
    const [first = ''] = await schedule(api.db);
    const stream = await follow(workflowId);
    expect(stream.first).toEqual([first, 'QUEUED']);
    await complete([first]);
    const made: string[] = [];
    for (let n = 0; n < 8; n++) {
      await letPass(api.db, workflowId, 61);
      const [id = ''] = await schedule(api.db);
      await complete([id]);
      made.push(id);
    }
    const seen = new Set<string | undefined>();
    for (let count = 0; !seen.has(made.at(-1)); count++) {
      const [id, status] = await stream.take();
      if (status === 'COMPLETED') {
        expect(seen.has(id)).toBe(false);
        seen.add(id);
      }
      expect(count).toBeLessThan(30);
    }
    expect([...seen]).toEqual([first, ...made]);
  });
});
