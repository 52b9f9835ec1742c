import { eq } from 'drizzle-orm';
import { v7 } from 'uuid';
import { beforeEach, describe, expect, test } from 'vitest';
import { endJobs } from '../../db/jobs/finish.ts';
import { jobs, logChunks } from '../../db/schema.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { newId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { publishEffects } from '../../platform/publish.ts';
import { packCheckLines } from '../../workers/execution/lines.ts';
import { createLogRetention } from '../../workers/scheduling/log-retention.ts';
import { claim, schedule } from '../scheduling/support.ts';
import { insertJob } from '../support/jobs.ts';
import { quiet } from '../support/workers.ts';
import { ask } from './download-client.ts';
import { createWorkflow, type Person, query, socketOf, type TestApi, taker, withAnnAndBob } from './support.ts';

const TEXTS = ['GET http://service.test/ 200 OK in 3 ms', 'The body has 17 bytes.'];

/** Nothing but the store has these lines: they never go over the bus. */
describe('the lines of a check that are stored with its end', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  let workflowId: string;
  let job: Awaited<ReturnType<typeof claim>>[number];
  withAnnAndBob((made) => {
    ({ api, ann, bob } = made);
  });
  beforeEach(async () => {
    const { workflow } = await createWorkflow(api, ann, { payload: { heartbeat: {} }, interval: 60 });
    workflowId = workflow.id;
    const [claimed] = await claim(api.db, await schedule(api.db));
    if (claimed === undefined) throw new Error('A job runs.');
    job = claimed;
  });

  const linesOf = (id: string) => api.db.$count(logChunks, eq(logChunks.sourceId, id));

  async function end(ending = job): ReturnType<typeof endJobs> {
    const lines = TEXTS.map((text) => ({ stream: 'STDOUT' as const, timestamp: new Date(), text }));
    const lastLines = { firstNumber: 1, lines: await packCheckLines(lines) };
    const ended = await endJobs(api.db, [{ ...ending, status: 'COMPLETED', logLineCount: TEXTS.length, lastLines }]);
    expect(ended.ended).toEqual(new Set([ending.id]));
    return ended;
  }

  /** The texts that a subscriber gets until its stream completes. */
  async function followed(token: string): Promise<string[]> {
    const client = socketOf(api, token);
    const values = client.iterate<{ jobLogs: { lines: { text: string }[] } }>({
      query: 'subscription ($id: ID!) { jobLogs(jobId: $id) { lines { text } } }',
      variables: { id: job.id },
    });
    const all = await taker(values).rest();
    await client.dispose();
    return all.flatMap(({ data }) => data?.jobLogs.lines.map(({ text }) => text) ?? []);
  }

  const download = async () => {
    const reply = await ask(api, `/logs/${job.id}?follow=true`, { token: ann.token });
    return (await reply.whole()).split('\n').slice(0, -1);
  };

  test('reach those who follow and download, by the hint of the end', async () => {
    const all = Promise.all([followed(ann.token), followed(ann.token), download()]);
    const { effects } = await end();
    await publishEffects({ bus: api.bus, cache: api.cache, log: quiet }, effects);
    expect(await all).toEqual([TEXTS, TEXTS, TEXTS]);
    expect(await followed(bob.token)).toEqual([]);
  });

  test('P4: reach them if the worker crashes between the end and its hint', async () => {
    const all = Promise.all([followed(ann.token), download()]);
    await end();
    expect(await all).toEqual([TEXTS, TEXTS]);
  });

  test('are found by a search, and come in pages', async () => {
    await end();
    const page = async (selection: string) => {
      const answer = await query(
        api,
        `query ($id: ID!) { job(id: $id) { logs(${selection}) { nodes { number text } } } }`,
        {
          token: ann.token,
          variables: { id: job.id },
        },
      );
      return answer.data.job.logs.nodes;
    };
    expect(await page('first: 10, search: "17 BYTES"')).toEqual([{ number: 2, text: TEXTS[1] }]);
    expect(await page('last: 1')).toEqual([{ number: 2, text: TEXTS[1] }]);
    expect(await page('first: 1')).toEqual([{ number: 1, text: TEXTS[0] }]);
  });

  test('go with their retention, and the job stays', async () => {
    const old = new Date(Date.now() - 40 * DAY_MS);
    const leaseToken = newId();
    const id = v7({ msecs: old.getTime() });
    await insertJob(api.db, ann.id, { id, kind: 'HEARTBEAT', leaseToken });
    await end({ ...job, id, leaseToken });
    const retention = createLogRetention({ db: api.db, days: 30 });
    await retention.pass(new AbortController().signal);
    expect(await linesOf(id)).toBe(1); // it has ended just now
    await api.db.update(jobs).set({ completedAt: old }).where(eq(jobs.id, id));
    await retention.pass(new AbortController().signal);
    expect(await linesOf(id)).toBe(0);
    expect(await api.db.$count(jobs, eq(jobs.id, id))).toBe(1);
  });

  test('go with a purge of their workflow', async () => {
    await end();
    const { data } = await query(
      api,
      'mutation ($id: ID!) { deleteWorkflow(input: { id: $id, purge: true }) { deletedWorkflowId } }',
      { token: ann.token, variables: { id: workflowId } },
    );
    expect(data.deleteWorkflow.deletedWorkflowId).toBe(workflowId);
    await schedule(api.db); // its schedule goes
    while (await purgeSome(api.db)); // in steps
    expect(await linesOf(job.id)).toBe(0);
  });
});
