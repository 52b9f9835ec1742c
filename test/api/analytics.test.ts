import { afterAll, beforeAll, expect, test } from 'vitest';
import { rollUpTotals } from '../../db/analytics.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { deleteWorkflow } from '../../db/workflows/terminate.ts';
import { claim, heartbeat, schedule } from '../scheduling/support.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const FIELDS =
  'workflowCount jobCount completedJobCount failedJobCount canceledJobCount logLineCount totalDurationMs p50DurationMs p99DurationMs';
const MINE = `query ($from: DateTime, $to: DateTime) { analytics(from: $from, to: $to) { ${FIELDS} } }`;
const OF = `query ($id: ID!, $from: DateTime, $to: DateTime) { workflow(id: $id) { analytics(from: $from, to: $to) { ${FIELDS} } } }`;
const NOTHING = {
  workflowCount: 0,
  jobCount: 0,
  completedJobCount: 0,
  failedJobCount: 0,
  canceledJobCount: 0,
  logLineCount: 0,
  totalDurationMs: 0,
  p50DurationMs: null,
  p99DurationMs: null,
};
const HOUR_MS = 3_600_000;

let api: TestApi;
let ann: Person;
let bob: Person;
let workflowIds: string[];
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
  bob = await person(api, 'bob');
  const statuses = ['COMPLETED', 'COMPLETED', 'FAILED', 'CANCELED'] as const;
  for (const status of statuses) {
    await heartbeat(api.db, ann.id);
    const [job] = await claim(api.db, await schedule(api.db));
    if (job === undefined) throw new Error('no job');
    const reason = status === 'FAILED' ? { failureReason: 'CHECK_FAILED' as const } : {};
    await endJobs(api.db, [{ ...job, status, ...reason, logLineCount: 3 }]);
  }
  const { data } = await query(api, '{ workflows { nodes { id } } }', { token: ann.token });
  workflowIds = data.workflows.nodes.map(({ id }: { id: string }) => id).reverse();
});
afterAll(() => api.close());

const mine = async (variables: object = {}, { token } = ann) =>
  (await query(api, MINE, { token, variables })).data.analytics;
const of = async (id: string | undefined, variables: object = {}, { token } = ann) =>
  (await query(api, OF, { token, variables: { id, ...variables } })).data.workflow?.analytics;
const at = (ms: number) => new Date(Date.now() + ms).toISOString();

test('the totals of a user and of a workflow are correct at once, and stay so when they are rolled up', async () => {
  const all = { workflowCount: 4, jobCount: 4, completedJobCount: 2, failedJobCount: 1, canceledJobCount: 1 };
  for (let n = 0; n < 2; n++) {
    const totals = await mine();
    expect(totals).toMatchObject({ ...all, logLineCount: 12 });
    const { data } = await query(api, '{ jobs { nodes { durationMs } } }', { token: ann.token });
    const durations: number[] = data.jobs.nodes.map(({ durationMs }: { durationMs: number }) => durationMs);
    expect(totals.totalDurationMs).toBe(durations.reduce((sum, ms) => sum + ms, 0));
    expect(totals.p99DurationMs).toBeGreaterThanOrEqual(Math.max(...durations) * 0.95);
    expect(totals.p99DurationMs).toBeGreaterThanOrEqual(totals.p50DurationMs);
    expect(await of(workflowIds[2])).toMatchObject({
      workflowCount: 1,
      jobCount: 1,
      failedJobCount: 1,
      completedJobCount: 0,
      logLineCount: 3,
    });
    await rollUpTotals(api.db, { limit: 1_000 });
  }
});

test('a range is widened to whole hours, and jobs before or after it are left out', async () => {
  const inside = await mine({ from: at(-1), to: at(1) });
  expect(inside).toEqual(await mine());
  expect(await mine({ from: at(2 * HOUR_MS) })).toEqual(NOTHING);
  expect(await mine({ to: at(-2 * HOUR_MS) })).toEqual(NOTHING);
  expect(await of(workflowIds[0], { from: at(-HOUR_MS), to: at(HOUR_MS) })).toMatchObject({ jobCount: 1 });
  expect(await of(workflowIds[0], { from: at(2 * HOUR_MS) })).toEqual(NOTHING);
  expect(await of(workflowIds[0], { to: at(-2 * HOUR_MS) })).toEqual(NOTHING);
});

test('a range that ends before it begins is refused with a message, and null is no bound', async () => {
  for (const document of [MINE, OF]) {
    const variables = { id: workflowIds[0], from: at(1_000), to: at(0) };
    const answer = await query(api, document, { token: ann.token, variables });
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
    expect(answer.errors?.[0]?.message).toMatch(/must not be after/);
  }
  expect(await mine({ from: null, to: null })).toEqual(await mine());
  expect(codes(await query(api, MINE, { token: ann.token, variables: { from: 'yesterday' } }))).toEqual([
    'BAD_REQUEST',
  ]);
});

test('P6: Bob’s totals contain nothing of Ann’s, he sees no totals of her workflow, and without a token there are none', async () => {
  expect(await mine({}, bob)).toEqual(NOTHING);
  expect(await of(workflowIds[0], {}, bob)).toBeUndefined();
  expect(codes(await query(api, MINE))).toEqual(['UNAUTHENTICATED']);
});

test('a deleted workflow and its jobs still count', async () => {
  const before = await mine();
  await deleteWorkflow(api.db, { userId: ann.id, id: workflowIds[0] ?? '' });
  expect(await mine()).toEqual(before);
  expect(await of(workflowIds[0])).toMatchObject({ workflowCount: 1, jobCount: 1 });
});
