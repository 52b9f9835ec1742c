import { eq, sql } from 'drizzle-orm';
import { describe, expect, test } from 'vitest';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { idempotencyKeys, jobs, workflows } from '../../db/schema.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { newId } from '../../domain/ids.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { schedule } from '../scheduling/support.ts';
import { until } from '../support/time.ts';
import { quiet, testSealer } from '../support/workers.ts';
import { createWorkflow, type Person, query, socketOf, type TestApi, taker, withAnnAndBob } from './support.ts';

const DELETE = `mutation ($input: DeleteWorkflowInput!) { deleteWorkflow(input: $input) {
  deletedWorkflowId workflow { id } userErrors { code path } } }`;
const SEEN = `query ($workflow: ID!, $job: ID!, $build: ID!) {
  workflow(id: $workflow) { id } a: node(id: $workflow) { id } job(id: $job) { id } b: node(id: $job) { id } c: node(id: $build) { id }
  deleted: workflows(filter: { deleted: true }) { nodes { id } } workflows { nodes { id } }
  jobs { nodes { id } } ofWorkflow: jobs(filter: { workflowId: $workflow }) { nodes { id } } }`;
const NOTHING = {
  workflow: null,
  a: null,
  job: null,
  b: null,
  c: null,
  deleted: { nodes: [] },
  workflows: { nodes: [] },
  jobs: { nodes: [] },
  ofWorkflow: { nodes: [] },
};

describe('a purge', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  withAnnAndBob((made) => {
    ({ api, ann, bob } = made);
  });

  const ask = async (document: string, variables: object, { token } = ann) =>
    (await query(api, document, { token, variables })).data;
  const remove = async (input: object, as = ann) => (await ask(DELETE, { input }, as)).deleteWorkflow;
  const create = async (payload: object): Promise<{ id: string; build: { id: string } | null }> => {
    const input = { payload, interval: 60, maxConsecutiveJobFailuresAllowed: 3 };
    return (await createWorkflow(api, ann, input, 'id build { id }')).workflow;
  };
  const purgeAll = async () => {
    for (let steps = 0; steps < 100; steps += 1) if (!(await purgeSome(api.db))) return;
    throw new Error('The purge does not come to an end.');
  };
  const chunk = (sourceId: string, number: number) => ({
    sourceId,
    attempt: 1,
    firstNumber: number,
    lastNumber: number,
    lines: Buffer.from('x'),
  });
  /** The number of rows of all tables that belong to the workflow. */
  const left = async (workflowId: string, sourceIds: string[]) => {
    const [row] = await api.db.execute<{ total: number }>(sql`
      SELECT (SELECT count(*) FROM workflows WHERE id = ${workflowId}) + (SELECT count(*) FROM payloads WHERE workflow_id = ${workflowId})
        + (SELECT count(*) FROM builds WHERE workflow_id = ${workflowId}) + (SELECT count(*) FROM jobs WHERE workflow_id = ${workflowId})
        + (SELECT count(*) FROM schedules WHERE workflow_id = ${workflowId})
        + (SELECT count(*) FROM run_requests WHERE workflow_id = ${workflowId})
        + (SELECT count(*) FROM log_chunks WHERE source_id = ANY(${`{${sourceIds.join()}}`}::uuid[])) AS total`);
    return Number(row?.total);
  };

  test('hides everything at once, stops what runs, and finally leaves nothing', async () => {
    const { id } = await create({ heartbeat: {} });
    const [jobId = ''] = await schedule(api.db);
    const [job] = (await claimJobs(api.db, [jobId], { owner: 'test' })).claimed;
    if (!job) throw new Error('no job');
    // A job that waits.
    await ask('mutation ($id: ID!) { runWorkflow(input: { id: $id }) { job { id } } }', { id });
    await insertChunks(api.db, [chunk(jobId, 1)]);

    expect(await remove({ id, purge: true })).toEqual({ deletedWorkflowId: id, workflow: null, userErrors: [] });
    expect(await ask(SEEN, { workflow: id, job: jobId, build: jobId })).toEqual(NOTHING);
    const notFound = [{ code: 'NOT_FOUND', path: ['id'] }];
    for (const [name, of] of Object.entries({
      updateWorkflow: id,
      runWorkflow: id,
      terminateWorkflow: id,
      deleteWorkflow: id,
      cancelJob: jobId,
    })) {
      const document = `mutation ($id: ID!) { ${name}(input: { id: $id }) { userErrors { code path } } }`;
      expect([name, (await ask(document, { id: of }))[name]]).toEqual([name, { userErrors: notFound }]);
    }

    await schedule(api.db);
    await purgeAll();
    expect(await left(id, [jobId])).toBeGreaterThan(0); // the job still runs
    await endJobs(api.db, [{ ...job, status: 'CANCELED', logLineCount: 2 }]);
    await schedule(api.db);
    await purgeAll();
    await insertChunks(api.db, [chunk(jobId, 2)]); // a late line
    expect(await left(id, [jobId])).toBe(0);
  });

  test('removes builds and a large history step by step, even of a workflow deleted before', async () => {
    const { id, build } = await create({ container: { image: 'alpine:3' } });
    const other = await create({ container: { image: 'alpine:3' } });
    const buildId = build?.id ?? '';
    const ids = Array.from({ length: 2_500 }, newId);
    await api.db.insert(jobs).values(
      ids.map((jobId, n) => ({
        id: jobId,
        workflowId: id,
        userId: ann.id,
        kind: 'CONTAINER' as const,
        trigger: 'AUTOMATIC' as const,
        status: 'CANCELED' as const,
        generation: 1,
        scheduledAt: new Date(n * 60_000),
        completedAt: new Date(),
      })),
    );
    await insertChunks(api.db, [chunk(buildId, 1), chunk(other.build?.id ?? '', 1), ...ids.map((of) => chunk(of, 1))]);
    expect((await remove({ id })).workflow).toEqual({ id });
    const [first = ''] = ids;
    expect(await ask('query ($id: ID!) { job(id: $id) { id } }', { id: first })).toEqual({ job: { id: first } });

    expect(await remove({ id, purge: true })).toMatchObject({ deletedWorkflowId: id, userErrors: [] });
    expect(await ask(SEEN, { workflow: id, job: first, build: buildId })).toMatchObject({ workflow: null, c: null });
    let steps = 0;
    while (await purgeSome(api.db)) steps += 1;
    expect(steps).toBeGreaterThan(3);
    expect(await left(id, [buildId, ...ids])).toBe(0);
    // The workflow, its payload, its build and the build's line.
    expect(await left(other.id, [other.build?.id ?? ''])).toBe(4);
    expect(await remove({ id: other.id, purge: true })).toMatchObject({ userErrors: [] });
    await Promise.all([purgeAll(), purgeAll(), purgeAll()]); // several concurrent sweeps
    expect(await left(other.id, [])).toBe(0);
  });

  test('ends subscriptions to the workflow and its jobs', async () => {
    const { id } = await create({ heartbeat: {} });
    const [jobId = ''] = await schedule(api.db);
    const client = socketOf(api, ann.token);
    const follow = (document: string) => taker(client.iterate({ query: document }));
    const workflow = follow(`subscription { workflowUpdated(workflowId: "${id}") { id } }`);
    const job = follow(`subscription { jobUpdated(jobId: "${jobId}") { status workflow { id } } }`);
    const lines = follow(`subscription { jobLogs(jobId: "${jobId}") { text } }`);
    await Promise.all([workflow.take(), job.take()]);
    const ends = Promise.all([workflow, job, lines].map((stream) => stream.rest()));
    await remove({ id, purge: true });
    expect(await ends).toEqual([[], [], []]);
    await client.dispose();
  });

  test('is carried out by the scheduling worker, which also removes expired idempotency keys', async () => {
    const { id } = await create({ heartbeat: {} });
    await remove({ id, purge: true });
    await schedule(api.db); // removes its schedule
    const expired = { userId: ann.id, mutation: 'runWorkflow', key: 'old', inputHash: Buffer.from('x') };
    await api.db.insert(idempotencyKeys).values({ ...expired, createdAt: new Date(Date.now() - 25 * 3_600_000) });
    const worker = await startScheduling({
      db: api.db,
      bus: api.bus,
      cache: api.cache,
      log: quiet,
      owner: 'test',
      sealer: testSealer,
    });
    await until('nothing is left', async () => (await left(id, [])) === 0);
    expect(await api.db.$count(idempotencyKeys)).toBe(0);
    await worker.close();
  });

  test('P6: cannot be requested by Bob', async () => {
    const { id } = await create({ heartbeat: {} });
    expect(await remove({ id, purge: true }, bob)).toEqual({
      deletedWorkflowId: null,
      workflow: null,
      userErrors: [{ code: 'NOT_FOUND', path: ['id'] }],
    });
    const [row] = await api.db.select().from(workflows).where(eq(workflows.id, id));
    expect(row).toMatchObject({ deletedAt: null, purgeRequestedAt: null });
  });
});
