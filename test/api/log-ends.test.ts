import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { jobs, logChunks } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { encodeChunks } from '../../domain/logs/chunk.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { schedulingPass } from '../../workers/scheduling/pass.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { numberedChunk, numberedText } from '../support/lines.ts';
import { letPass } from '../support/time.ts';
import { quiet, testSealer } from '../support/workers.ts';
import { ask } from './download-client.ts';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const FOR_EVER = { watchedSeconds: () => Number.POSITIVE_INFINITY };

/**
 * Lines are on the bus, and some of them are not stored yet, when a process other than the worker
 * writes the end.
 */
describe('a log whose job or build was ended by another process than its worker', () => {
  let api: TestApi;
  let ann: Person;
  let client: ReturnType<typeof socketOf>;
  let storing: Worker | undefined;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    client = socketOf(api, ann.token);
  });
  afterEach(async () => {
    await storing?.close();
    storing = undefined;
  });
  afterAll(async () => {
    await client.dispose();
    await api.close();
  });

  async function startStoring(): Promise<void> {
    storing = await startJoblogs({ ...api, log: quiet, owner: 'joblogs', sealer: testSealer });
  }

  /** A running job, in its last attempt by default. */
  async function running(attempt = ATTEMPTS_MAX): Promise<{ workflowId: string; id: string }> {
    const { workflow } = await createWorkflow(api.db, {
      userId: ann.id,
      name: 'ends',
      payload: { kind: 'HEARTBEAT' },
      schedule: { everyMinutes: 60 },
      maxConsecutiveJobFailuresAllowed: 3,
    });
    const { effects } = await schedulingPass({ db: api.db, limit: 100, watchedSeconds: () => 0 });
    const { claimed } = await claimJobs(
      api.db,
      effects.dispatched.map(({ id }) => id),
      { owner: 'lost' },
    );
    const id = claimed.find(({ workflowId }) => workflowId === workflow.id)?.id ?? '';
    await api.db.update(jobs).set({ attempt }).where(eq(jobs.id, id));
    return { workflowId: workflow.id, id };
  }

  /** Publishes what the worker prints. A joblogs worker stores it, if one runs. */
  async function print(id: string, first: number, last: number): Promise<void> {
    const chunk = { ...(await numberedChunk(id, first, last)), attempt: ATTEMPTS_MAX };
    const stored = api.bus.publish('job_logs', [{ key: id, value: encodeChunks([chunk]) }]);
    // Without a joblogs worker this waits until the bus is closed.
    stored.catch(() => undefined);
    if (storing) await stored;
  }

  async function giveUp({ workflowId }: { workflowId: string }): Promise<readonly string[]> {
    await letPass(api.db, workflowId, 3_600);
    return (await reconcileSchedules(api.db, [workflowId], FOR_EVER)).effects.logEnds;
  }

  /** All that a subscriber over a WebSocket and one over `?follow` receive up to the end. */
  function follow(id: string, field: 'jobLogs(jobId' | 'buildLogs(buildId' = 'jobLogs(jobId'): Promise<string[]> {
    const subscription = `subscription { ${field}: "${id}") { text } }`;
    const overSocket = taker(client.iterate<Record<string, { text: string }>>({ query: subscription })).rest();
    const download = ask(api, `/logs/${id}?follow`, { token: ann.token });
    return Promise.all([
      overSocket.then((answers) =>
        answers.flatMap(({ data }) => Object.values(data ?? {}).map(({ text }) => text)).join(''),
      ),
      download.then((reply) => reply.whole()),
    ]);
  }

  /** The row as a follower sees it. */
  async function row(id: string): Promise<{ status: string; logLineCount: number }> {
    const { data } = await query(api, `{ job(id: "${id}") { status logLineCount } }`, { token: ann.token });
    return data.job;
  }

  test('P4: is complete for a subscriber that joins at any instant, completes with the last line, and counts each line', async () => {
    const job = await running();
    const { id } = job;
    const joined: Promise<string[]>[] = [];
    const join = () => void joined.push(follow(id));
    join();
    await print(id, 1, 50);
    join();
    await print(id, 51, 60);
    join();
    const [endedLogs] = await Promise.all([giveUp(job), join()]);
    expect(endedLogs).toEqual([id]);
    join();
    expect(await row(id)).toMatchObject({ status: 'FAILED' });
    // During this round trip, a log that ends too early would end.
    await query(api, '{ viewer { id } }', { token: ann.token });
    join();
    await Promise.all([startStoring(), join()]);
    join();
    for (const texts of await Promise.all(joined)) expect(texts).toEqual([numberedText(1, 60), numberedText(1, 60)]);
    expect(await row(id)).toEqual({ status: 'FAILED', logLineCount: 60 });
    expect(await follow(id)).toEqual([numberedText(1, 60), numberedText(1, 60)]);
  });

  test('P4: accepts no more lines of a frozen worker behind its end', async () => {
    await startStoring();
    const job = await running();
    await print(job.id, 1, 10);
    await giveUp(job);
    await follow(job.id);
    await print(job.id, 11, 20);
    expect(await follow(job.id)).toEqual([numberedText(1, 10), numberedText(1, 10)]);
    const stored = await api.db.select().from(logChunks).where(eq(logChunks.sourceId, job.id));
    expect(stored.map(({ lastNumber }) => lastNumber)).toEqual([10]);
  });

  test('P4: is complete if the attempt was given up first and then the job was canceled or its workflow terminated', async () => {
    const mutations = {
      cancelJob: ({ id }: { id: string }) => id,
      terminateWorkflow: ({ workflowId }: { workflowId: string }) => workflowId,
      deleteWorkflow: ({ workflowId }: { workflowId: string }) => workflowId,
    };
    for (const [mutation, idOf] of Object.entries(mutations)) {
      const job = await running(1);
      await giveUp(job);
      expect(await row(job.id)).toMatchObject({ status: 'PENDING' });
      await print(job.id, 1, 30); // these lines come late
      const document = `mutation { ${mutation}(input: { id: "${idOf(job)}" }) { userErrors { message } } }`;
      await query(api, document, { token: ann.token });
      expect(await row(job.id)).toMatchObject({ status: 'CANCELED' });
      await startStoring();
      // The log is closed with or without a subscriber.
      await expect.poll(() => row(job.id)).toMatchObject({ logLineCount: 30 });
      expect(await follow(job.id)).toEqual([numberedText(1, 30), numberedText(1, 30)]);
      await storing?.close();
      storing = undefined;
    }
  });

  test('P4: of a build that was canceled while it printed is complete too', async () => {
    const { workflow, buildId = '' } = await createWorkflow(api.db, {
      userId: ann.id,
      name: 'ends',
      payload: { kind: 'CONTAINER', image: 'alpine' },
      schedule: { everyMinutes: 60 },
      maxConsecutiveJobFailuresAllowed: 3,
    });
    await claimBuilds(api.db, [buildId], { owner: 'lost' });
    const early = follow(buildId, 'buildLogs(buildId');
    await print(buildId, 1, 20);
    const terminate = `mutation { terminateWorkflow(input: { id: "${workflow.id}" }) { userErrors { message } } }`;
    await query(api, terminate, { token: ann.token });
    const late = follow(buildId, 'buildLogs(buildId');
    await startStoring();
    for (const texts of [await early, await late]) expect(texts).toEqual([numberedText(1, 20), numberedText(1, 20)]);
  });
});
