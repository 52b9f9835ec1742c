import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { rollUpTotals } from '../../db/analytics.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { jobs, logChunks } from '../../db/schema.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { encodeChunks, endMarker } from '../../domain/logs/chunk.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { type Person, person, query, type TestApi, testApi } from '../api/support.ts';
import { heartbeat, schedule } from '../scheduling/support.ts';
import { numberedChunk } from '../support/lines.ts';
import { letPass } from '../support/time.ts';
import { quiet, testSealer } from '../support/workers.ts';

const FOR_EVER = { watchedSeconds: () => Number.POSITIVE_INFINITY };
const FIELDS =
  'jobCount completedJobCount failedJobCount canceledJobCount logLineCount totalDurationMs p50DurationMs p99DurationMs';

describe('lines that are stored after the end of their job', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
  });
  beforeEach(async () => {
    ann = await person(api);
  });
  afterAll(() => api.close());

  interface Running {
    workflowId: string;
    id: string;
    leaseToken: string;
  }

  /** A job whose attempt has run for one second. */
  async function running(attempt: number): Promise<Running> {
    const workflow = await heartbeat(api.db, ann.id);
    const { claimed } = await claimJobs(api.db, await schedule(api.db), { owner: 'lost' });
    const job = claimed.find(({ workflowId }) => workflowId === workflow.id);
    if (job === undefined) throw new Error('No job was dispatched.');
    const startedAt = new Date(job.startedAt.getTime() - 1_000);
    await api.db.update(jobs).set({ attempt, startedAt }).where(eq(jobs.id, job.id));
    return { workflowId: workflow.id, id: job.id, leaseToken: job.leaseToken };
  }

  const store = async (id: string, first: number, last: number, attempt = 1) =>
    insertChunks(api.db, [{ ...(await numberedChunk(id, first, last)), attempt }]);
  const settle = (...ids: string[]) =>
    settleMarkers(
      api.db,
      ids.map((sourceId) => ({ kind: 'end-marker', sourceId })),
    );
  async function look({ workflowId }: Running): Promise<void> {
    await letPass(api.db, workflowId, 3_600);
    await reconcileSchedules(api.db, [workflowId], FOR_EVER);
  }
  const mutate = (mutation: string, id: string) =>
    query(api, `mutation { ${mutation}(input: { id: "${id}" }) { userErrors { message } } }`, { token: ann.token });
  async function totals(): Promise<Record<string, number>[]> {
    const { data } = await query(api, `{ analytics { ${FIELDS} } workflows { nodes { analytics { ${FIELDS} } } } }`, {
      token: ann.token,
    });
    const [workflow, ...others] = data.workflows.nodes;
    expect(others).toEqual([]);
    return [data.analytics, workflow.analytics];
  }
  const statusOf = async (id: string) => (await api.db.select().from(jobs).where(eq(jobs.id, id)))[0]?.status;
  const fold = () => rollUpTotals(api.db, { limit: 1_000 });

  /**
   * All ways in which a process other than its worker ends a job that may have printed. The attempt
   * of each job is running.
   */
  const ends: Record<string, { status: string; attempt: number; end: (job: Running) => Promise<unknown> }> = {
    'given up after its last attempt': { status: 'FAILED', attempt: ATTEMPTS_MAX, end: look },
    'canceled while it was lost': {
      status: 'CANCELED',
      attempt: 1,
      async end(job) {
        await mutate('cancelJob', job.id);
        await look(job);
      },
    },
    'canceled while it waited for its next attempt': {
      status: 'CANCELED',
      attempt: 1,
      async end(job) {
        await look(job);
        await mutate('cancelJob', job.id);
      },
    },
    'terminated with its workflow while it waited': {
      status: 'CANCELED',
      attempt: 1,
      async end(job) {
        await look(job);
        await mutate('terminateWorkflow', job.workflowId);
      },
    },
    'terminated with its workflow while it was lost': {
      status: 'CANCELED',
      attempt: 1,
      async end(job) {
        await mutate('terminateWorkflow', job.workflowId);
        await look(job);
      },
    },
    'given back by its worker after its cancellation': {
      status: 'CANCELED',
      attempt: 1,
      async end(job) {
        await mutate('cancelJob', job.id);
        await returnJobs(api.db, [{ id: job.id, leaseToken: job.leaseToken }], { counted: true });
      },
    },
  };

  test.each(Object.entries(ends))('P10: count once for a job that was %s', async (_, { status, attempt, end }) => {
    for (const folded of [false, true]) {
      ann = await person(api);
      const job = await running(attempt);
      await store(job.id, 1, 7);
      await end(job);
      expect(await statusOf(job.id)).toBe(status);
      const before = await totals();
      expect(before[0]).toMatchObject({ jobCount: 1 });
      expect(before[0]?.logLineCount).toBeLessThanOrEqual(7);
      if (folded) await fold();
      await store(job.id, 8, 500);
      const settled = await Promise.all([settle(job.id), settle(job.id), settle(job.id)]);
      expect(settled.flat()).toHaveLength(1);
      const after = before.map((sums) => ({ ...sums, logLineCount: 500 }));
      expect(await totals()).toEqual(after);
      await fold();
      expect(await settle(job.id)).toEqual([]);
      expect(await totals()).toEqual(after);
      await fold();
      expect(await totals()).toEqual(after);
      const [row] = await api.db.select().from(jobs).where(eq(jobs.id, job.id));
      expect(row?.logLineCount).toBe(500);
    }
  });

  test('P10: count when the joblogs worker reaches the end-of-log marker on the bus', async () => {
    const job = await running(ATTEMPTS_MAX);
    const chunk = { ...(await numberedChunk(job.id, 1, 500)), attempt: ATTEMPTS_MAX };
    const published = api.bus.publish('job_logs', [{ key: job.id, value: encodeChunks([chunk]) }]);
    await look(job);
    const ended = api.bus.publish('job_logs', [{ key: job.id, value: encodeChunks([endMarker(job.id)]) }]);
    expect((await totals())[0]).toMatchObject({ failedJobCount: 1, logLineCount: 0 });
    const storing = await startJoblogs({ ...api, log: quiet, owner: 'joblogs', sealer: testSealer });
    await Promise.all([published, ended]);
    await expect.poll(totals).toMatchObject([{ logLineCount: 500 }, { logLineCount: 500 }]);
    await storing.close();
  });

  test('P10: an attempt marker behind the end counts the lines stored by then, and the end-of-log marker counts the rest', async () => {
    const job = await running(ATTEMPTS_MAX);
    await look(job);
    await store(job.id, 1, 20);
    await settleMarkers(api.db, [{ kind: 'attempt-marker', sourceId: job.id, epoch: ATTEMPTS_MAX }]);
    expect(await totals()).toMatchObject([{ logLineCount: 20 }, { logLineCount: 20 }]);
    await store(job.id, 21, 30, ATTEMPTS_MAX);
    await settle(job.id);
    expect(await totals()).toMatchObject([{ logLineCount: 30 }, { logLineCount: 30 }]);
  });

  test('P10: settling an end after retention has removed lines subtracts none of them', async () => {
    const job = await running(ATTEMPTS_MAX);
    await store(job.id, 1, 20);
    await look(job);
    await api.db.delete(logChunks).where(eq(logChunks.sourceId, job.id));
    await settle(job.id);
    expect(await totals()).toMatchObject([{ logLineCount: 20 }, { logLineCount: 20 }]);
    const [row] = await api.db.select().from(jobs).where(eq(jobs.id, job.id));
    expect(row).toMatchObject({ logLineCount: 20, logOpen: false });
  });
});
