import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { wakeWaiting } from '../../db/jobs/dispatch.ts';
import { jobs, workflows } from '../../db/schema.ts';
import { SCHEDULE_PREVIEWS_PER_USER_PER_MINUTE } from '../../domain/limits.ts';
import { align, scheduleOf, schedule as work } from '../scheduling/support.ts';
import { letPass } from '../support/time.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const SCHEDULE = `schedule { __typename
  ... on IntervalSchedule { everyMinutes }
  ... on CronSchedule { expressions resolvedExpressions timeZone startsAt endsAt }
  ... on OneTimeSchedule { at }
  ... on ManualSchedule { manual } }`;
const ERRORS = 'userErrors { code message path }';
const CREATE = `mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) {
  workflow { id interval nextRunAt ${SCHEDULE} upcomingRuns(first: 3) { at localTime shifted } } ${ERRORS} } }`;
const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
  workflow { id interval nextRunAt ${SCHEDULE} } ${ERRORS} } }`;
const PREVIEW = `query ($schedule: ScheduleInput!, $first: Int, $after: DateTime, $workflowId: ID) {
  schedulePreview(schedule: $schedule, first: $first, after: $after, workflowId: $workflowId) {
    runs { at localTime shifted } ${ERRORS} } }`;
const STATE = `query ($id: ID!) { workflow(id: $id) {
  nextRunAt pausedAt pausedUntil pauseReason pauseNote skippedRunCount onTooManyFailures upcomingRuns(first: 2) { at }
  runPolicy { overlap missedRuns startWithinSeconds spreadSeconds lateAfterSeconds expectedMaxSeconds expectedMinSeconds retry { maxRetries delaySeconds factor maxDelaySeconds on } } } }`;
const BASE = { name: 'a', payload: { heartbeat: {} }, maxConsecutiveJobFailuresAllowed: 3 };
const cron = (expression: string, rest: object = {}) => ({ cron: { expressions: [expression], ...rest } });

let api: TestApi;
let ann: Person;
let bob: Person;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api);
  bob = await person(api);
});
afterAll(() => api.close());

const ask = (document: string, variables: object, { token } = ann) => query(api, document, { token, variables });
async function create(input: object) {
  const { data } = await ask(CREATE, { input: { ...BASE, ...input } });
  return data.createWorkflow;
}
async function preview(schedule: object, rest: object = {}) {
  const { data } = await ask(PREVIEW, { schedule, ...rest });
  return data.schedulePreview;
}

describe('a schedule', () => {
  test('is an interval for old clients, in both directions', async () => {
    const old = await create({ interval: 5 });
    expect(old).toMatchObject({
      userErrors: [],
      workflow: { interval: 5, schedule: { __typename: 'IntervalSchedule', everyMinutes: 5 } },
    });
    const { workflow } = await create({ schedule: { everyMinutes: 7 } });
    expect(workflow).toMatchObject({ interval: 7, schedule: { everyMinutes: 7 } });
    const { data } = await ask(UPDATE, { input: { id: workflow.id, interval: 9 } });
    expect(data.updateWorkflow.workflow).toMatchObject({ interval: 9, schedule: { everyMinutes: 9 } });
  });

  test('keeps its expressions and zone as they were given, and says when it runs', async () => {
    const { workflow, userErrors } = await create({
      schedule: cron('30 2 * * mon-fri', { timeZone: 'europe/kyiv', startsAt: '2027-01-01T00:00:00Z' }),
    });
    expect(userErrors).toEqual([]);
    expect(workflow).toMatchObject({
      interval: null,
      nextRunAt: '2027-01-01T00:30:00.000Z',
      schedule: {
        __typename: 'CronSchedule',
        expressions: ['30 2 * * mon-fri'],
        resolvedExpressions: ['30 2 * * 1-5'],
        timeZone: 'europe/kyiv',
        startsAt: '2027-01-01T00:00:00.000Z',
        endsAt: null,
      },
      upcomingRuns: [
        { at: '2027-01-01T00:30:00.000Z', localTime: '2027-01-01T02:30:00+02:00', shifted: false },
        { at: '2027-01-04T00:30:00.000Z' },
        { at: '2027-01-05T00:30:00.000Z' },
      ],
    });
  });

  test('can be one time, or none', async () => {
    const once = await create({ schedule: { at: '2027-05-01T12:00:00+02:00' } });
    expect(once.workflow).toMatchObject({
      nextRunAt: '2027-05-01T10:00:00.000Z',
      schedule: { __typename: 'OneTimeSchedule', at: '2027-05-01T10:00:00.000Z' },
      upcomingRuns: [{ at: '2027-05-01T10:00:00.000Z', localTime: '2027-05-01T10:00:00+00:00' }],
    });
    const manual = await create({ schedule: { manual: true } });
    expect(manual.workflow).toMatchObject({
      nextRunAt: null,
      schedule: { __typename: 'ManualSchedule', manual: true },
      upcomingRuns: [],
    });
  });

  test('gives exactly the slots that its preview and upcomingRuns have said', async () => {
    const { workflow } = await create({ schedule: cron('*/7 * * * *', { timeZone: 'Asia/Kathmandu' }) });
    const said = (await ask('query ($id: ID!) { workflow(id: $id) { upcomingRuns(first: 5) { at } } }', workflow)).data;
    const at = said.workflow.upcomingRuns.map((run: { at: string }) => Date.parse(run.at));
    const { runs } = await preview(cron('*/7 * * * *', { timeZone: 'Asia/Kathmandu' }), { first: 5 });
    expect(runs.map((run: { at: string }) => Date.parse(run.at))).toEqual(at);
    const { db } = api;
    await align(db, workflow.id);
    const moved = at[0] - ((await scheduleOf(db, workflow.id))?.nextRunAt?.getTime() ?? 0);
    let passed = 0;
    for (const [n, slot] of at.entries()) {
      const seconds = n === 0 ? 40 : (slot - at[n - 1]) / 1_000; // the first one comes in 30 s
      await letPass(db, workflow.id, seconds);
      passed += seconds;
      await work(db);
      const made = await db.select().from(jobs).where(eq(jobs.workflowId, workflow.id)).orderBy(jobs.id);
      expect(made.at(-1)?.scheduledAt.getTime()).toBe(slot - moved - passed * 1_000);
      await db.execute(
        sql`UPDATE jobs SET status = 'CANCELED', completed_at = now() WHERE workflow_id = ${workflow.id}`,
      );
    }
  });
});

describe('slots that have passed', () => {
  const NEXT = 'query ($id: ID!) { workflow(id: $id) { nextRunAt upcomingRuns(first: 3) { at } } }';
  const timesOf = async (id: string) => {
    const { nextRunAt, upcomingRuns } = (await ask(NEXT, { id })).data.workflow;
    const at: number[] = upcomingRuns.map((run: { at: string }) => Date.parse(run.at));
    expect(at[0]).toBe(Date.parse(nextRunAt));
    return at;
  };

  test.each<[string, object]>([
    ['an interval', { everyMinutes: 60 }],
    ['cron', cron('0 * * * *')],
  ])('are not shown, but for the last one, which runs when the job of %s ends', async (_, schedule) => {
    const { db } = api;
    const { workflow } = await create({ schedule });
    const { id } = workflow;
    await letPass(db, id, 3_600); // whole hours keep the times of the calendar
    await work(db);
    expect(await db.$count(jobs, eq(jobs.workflowId, id))).toBe(1);
    await letPass(db, id, 10 * 3_600);
    const now = Date.now();
    const [waiting = 0, ...following] = await timesOf(id);
    expect(waiting).toBeGreaterThan(now - 3_600_000 - 5_000);
    expect(waiting).toBeLessThanOrEqual(now);
    expect(following).toEqual([waiting + 3_600_000, waiting + 7_200_000]);
    await work(db);
    expect((await timesOf(id))[0]).toBe(waiting); // it waits for the job
    await db.execute(sql`UPDATE jobs SET status = 'CANCELED', completed_at = now() WHERE workflow_id = ${id}`);
    await wakeWaiting(db, [id]);
    await work(db);
    const made = await db.select().from(jobs).where(eq(jobs.workflowId, id)).orderBy(jobs.id);
    expect(made.map((job) => job.scheduledAt.getTime()).at(-1)).toBe(waiting);
  });

  test('are not shown at all if the run policy drops them', async () => {
    const { db } = api;
    const { workflow } = await create({ schedule: { everyMinutes: 60 }, runPolicy: { missedRuns: 'SKIP' } });
    await letPass(db, workflow.id, 30);
    expect((await timesOf(workflow.id))[0]).toBeLessThan(Date.now());
    await letPass(db, workflow.id, 600);
    const [first = 0] = await timesOf(workflow.id);
    expect(first).toBeGreaterThan(Date.now());
    await work(db);
    expect(await db.$count(jobs, eq(jobs.workflowId, workflow.id))).toBe(0);
    expect((await timesOf(workflow.id))[0]).toBe(first);
  });
});

describe('an H', () => {
  test('decides with the id of the workflow whether a run comes before endsAt', async () => {
    const hour = Math.ceil(Date.now() / 3_600_000) * 3_600_000 + 3_600_000;
    const [startsAt, endsAt] = [hour, hour + 1_800_000].map((ms) => new Date(ms).toISOString());
    const seen = new Set<string>();
    for (let n = 0; n < 60 && seen.size < 2; n += 1) {
      const { workflow, userErrors } = await create({ schedule: cron('H * * * *', { startsAt, endsAt }) });
      if (workflow) expect(workflow.upcomingRuns).toHaveLength(1);
      else expect(userErrors).toMatchObject([{ code: 'INVALID', path: ['schedule', 'cron', 'endsAt'] }]);
      seen.add(workflow ? 'accepted' : 'refused');
    }
    expect([...seen].sort()).toEqual(['accepted', 'refused']);
  });
});

describe('bad input', () => {
  const SOON = new Date(Date.now() + 60_000).toISOString();
  const PAST = '2020-01-01T00:00:00Z';
  test.each<[string, object, string[], RegExp]>([
    ['neither interval nor schedule', {}, ['schedule'], /manual: true/],
    ['both', { interval: 5, schedule: { everyMinutes: 5 } }, ['schedule'], /not both/],
    ['an interval of 0', { schedule: { everyMinutes: 0 } }, ['schedule', 'everyMinutes'], /from 1 to/],
    ['an interval over a year', { schedule: { everyMinutes: 525_601 } }, ['schedule', 'everyMinutes'], /525600/],
    ['no expression', { schedule: { cron: { expressions: [] } } }, ['schedule', 'cron', 'expressions'], /1 to 10/],
    [
      'eleven expressions',
      { schedule: { cron: { expressions: Array.from({ length: 11 }, (_, n) => `${n} * * * *`) } } },
      ['schedule', 'cron', 'expressions'],
      /1 to 10/,
    ],
    [
      'a wrong one among right ones',
      { schedule: { cron: { expressions: ['* * * * *', '60 * * * *'] } } },
      ['schedule', 'cron', 'expressions', '1'],
      /minute/,
    ],
    ['six fields', { schedule: cron('0 0 2 * * *') }, ['schedule', 'cron', 'expressions', '0'], /five fields/],
    ['@reboot', { schedule: cron('@reboot') }, ['schedule', 'cron', 'expressions', '0'], /@daily/],
    ['@every', { schedule: cron('@every 5m') }, ['schedule', 'cron', 'expressions', '0'], /everyMinutes: 5/],
    [
      'a zone in the expression',
      { schedule: cron('TZ=UTC 0 0 * * *') },
      ['schedule', 'cron', 'expressions', '0'],
      /timeZone/,
    ],
    ['a date', { schedule: cron('2027-01-01T00:00:00') }, ['schedule', 'cron', 'expressions', '0'], /\bat\b/],
    [
      'what never happens',
      { schedule: cron('0 0 30 2 *') },
      ['schedule', 'cron', 'expressions', '0'],
      /never happens\b/,
    ],
    [
      'an abbreviation',
      { schedule: cron('@daily', { timeZone: 'EST' }) },
      ['schedule', 'cron', 'timeZone'],
      /Europe\/Berlin/,
    ],
    [
      'an unknown zone',
      { schedule: cron('@daily', { timeZone: 'Mars/X' }) },
      ['schedule', 'cron', 'timeZone'],
      /not a time zone/,
    ],
    ['an empty zone', { schedule: cron('@daily', { timeZone: '' }) }, ['schedule', 'cron', 'timeZone'], /time zone/],
    ['at in the past', { schedule: { at: PAST } }, ['schedule', 'at'], /later than now/],
    [
      'endsAt in the past',
      { schedule: cron('@daily', { endsAt: PAST }) },
      ['schedule', 'cron', 'endsAt'],
      /later than now/,
    ],
    [
      'endsAt before startsAt',
      { schedule: cron('@daily', { startsAt: '2028-01-02T00:00:00Z', endsAt: '2028-01-01T00:00:00Z' }) },
      ['schedule', 'cron', 'endsAt'],
      /later than startsAt/,
    ],
    ['no run before endsAt', { schedule: cron('@yearly', { endsAt: SOON }) }, ['schedule', 'cron', 'endsAt'], /No run/],
    [
      'startsAt behind the last run that there is',
      { schedule: cron('@daily', { startsAt: '9999-12-31T00:00:01Z' }) },
      ['schedule', 'cron', 'startsAt'],
      /No run/,
    ],
    ['manual: false', { schedule: { manual: false } }, ['schedule', 'manual'], /must be true/],
    ...[
      ['startWithinSeconds', 0],
      ['startWithinSeconds', 2_592_001],
      ['spreadSeconds', -1],
      ['spreadSeconds', 86_401],
      ['lateAfterSeconds', 0],
      ['expectedMaxSeconds', 2_592_001],
      ['expectedMinSeconds', 0],
    ].map(([field = '', value]): [string, object, string[], RegExp] => [
      `${field} ${value}`,
      { interval: 1, runPolicy: { [field]: value } },
      ['runPolicy', `${field}`],
      /must be from/,
    ]),
    ...[
      ['maxRetries', -1],
      ['maxRetries', 21],
      ['delaySeconds', -1],
      ['delaySeconds', 86_401],
      ['factor', 0.9],
      ['factor', 10.1],
      ['maxDelaySeconds', 0],
      ['maxDelaySeconds', 604_801],
    ].map(([field = '', value]): [string, object, string[], RegExp] => [
      `${field} ${value}`,
      { interval: 1, runPolicy: { retry: { maxRetries: 1, [field]: value } } },
      ['runPolicy', 'retry', `${field}`],
      /must be from/,
    ]),
    ...(
      [
        ['maxDelaySeconds', { maxDelaySeconds: 29 }, /at least delaySeconds, 30/],
        ['maxDelaySeconds', { delaySeconds: 61, maxDelaySeconds: 60 }, /at least delaySeconds, 61/],
        ['delaySeconds', { delaySeconds: 3_601 }, /at most maxDelaySeconds, by default 3600/],
      ] as const
    ).map(([field, retry, message]): [string, object, string[], RegExp] => [
      `a longest delay below the first one, ${JSON.stringify(retry)},`,
      { interval: 1, runPolicy: { retry: { maxRetries: 1, ...retry } } },
      ['runPolicy', 'retry', field],
      message,
    ]),
    [
      'no reason',
      { interval: 1, runPolicy: { retry: { maxRetries: 1, on: [] } } },
      ['runPolicy', 'retry', 'on'],
      /at least one/,
    ],
  ])('%s is INVALID at its path, in a sentence, and changes nothing', async (_, input, path, message) => {
    const before = await api.db.$count(workflows);
    const { workflow, userErrors } = await create(input);
    expect(workflow).toBeNull();
    expect(userErrors).toEqual([{ code: 'INVALID', path, message: expect.stringMatching(message) }]);
    expect(userErrors[0].message).toMatch(/^["“A-Z].*\.$/s);
    expect(await api.db.$count(workflows)).toBe(before);
  });

  test('two kinds of schedule at once are refused by the type', async () => {
    const answer = await query(api, CREATE, {
      token: ann.token,
      variables: { input: { ...BASE, schedule: { everyMinutes: 5, manual: true } } },
    });
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
  });
});

describe('schedulePreview', () => {
  test('shows what is moved out of a gap, and stores nothing', async () => {
    const { runs, userErrors } = await preview(cron('30 2 * * *', { timeZone: 'Europe/Berlin' }), {
      first: 2,
      after: '2027-03-27T12:00:00Z',
    });
    expect(userErrors).toEqual([]);
    expect(runs).toEqual([
      { at: '2027-03-28T01:00:00.000Z', localTime: '2027-03-28T03:00:00+02:00', shifted: true },
      { at: '2027-03-29T00:30:00.000Z', localTime: '2027-03-29T02:30:00+02:00', shifted: false },
    ]);
  });

  test('has problems as data, with the path of the argument', async () => {
    expect(await preview(cron('61 * * * *'))).toMatchObject({
      runs: [],
      userErrors: [{ code: 'INVALID', path: ['schedule', 'cron', 'expressions', '0'] }],
    });
    expect((await preview({ everyMinutes: 1 }, { first: 100 })).runs).toHaveLength(100);
  });

  test('refuses a number of slots like a list does, and so does upcomingRuns', async () => {
    const { workflow } = await create({ interval: 5 });
    const upcoming = 'query ($id: ID!, $first: Int) { workflow(id: $id) { upcomingRuns(first: $first) { at } } }';
    for (const first of [0, 101, -5]) {
      const schedule = { everyMinutes: 1 };
      expect(codes(await ask(PREVIEW, { schedule, first }))).toEqual(['BAD_REQUEST']);
      expect(codes(await ask(upcoming, { id: workflow.id, first }))).toEqual(['BAD_REQUEST']);
    }
    expect((await ask(upcoming, { id: workflow.id, first: 100 })).data.workflow.upcomingRuns).toHaveLength(100);
    expect((await ask(upcoming, { id: workflow.id, first: null })).data.workflow.upcomingRuns).toHaveLength(10);
  });

  test('with a workflow, an H is what it will be there', async () => {
    const schedule = cron('H H * * *');
    const { workflow } = await create({ schedule });
    const { runs } = await preview(schedule, { workflowId: workflow.id, first: 3 });
    expect(runs).toEqual(workflow.upcomingRuns);
    expect(await preview(schedule, { workflowId: workflow.id }).then((shown) => shown.runs)).toHaveLength(10);
    const { data } = await ask(PREVIEW, { schedule, workflowId: workflow.id }, bob);
    expect(data.schedulePreview).toMatchObject({ runs: [], userErrors: [{ code: 'NOT_FOUND', path: ['workflowId'] }] });
  });

  test('needs a token', async () => {
    expect(codes(await query(api, PREVIEW, { variables: { schedule: { manual: true } } }))).toEqual([
      'UNAUTHENTICATED',
    ]);
  });

  test('has a limit of its own, which other calls do not share', async () => {
    const carol = await person(api);
    const ten = Array.from(
      { length: 10 },
      (_, n) => `p${n}: schedulePreview(schedule: { manual: true }) { runs { at } }`,
    );
    const document = `{ ${ten.join(' ')} }`;
    for (let asked = 0; asked < SCHEDULE_PREVIEWS_PER_USER_PER_MINUTE; asked += ten.length)
      expect(codes(await query(api, document, { token: carol.token }))).toEqual([]);
    expect(codes(await query(api, document, { token: carol.token }))).toContain('RATE_LIMITED');
    expect(codes(await query(api, '{ viewer { id } }', { token: carol.token }))).toEqual([]);
    expect((await preview({ manual: true })).userErrors).toEqual([]);
  });
});

describe('pausing', () => {
  const PAUSE = `mutation ($input: PauseWorkflowInput!) { pauseWorkflow(input: $input) { workflow { id pausedAt pausedUntil nextRunAt } ${ERRORS} } }`;
  const RESUME = `mutation ($input: ResumeWorkflowInput!) { resumeWorkflow(input: $input) { workflow { id pausedAt nextRunAt } ${ERRORS} } }`;
  const stateOf = async (id: string) => (await ask(STATE, { id })).data.workflow;

  test('shows since when, until when and why, and when the workflow goes on', async () => {
    const { workflow } = await create({ schedule: cron('0 * * * *') });
    const { id } = workflow;
    const note = 'The disk is being replaced';
    const { data } = await ask(PAUSE, { input: { id, note } });
    expect(data.pauseWorkflow).toMatchObject({
      userErrors: [],
      workflow: { pausedAt: expect.any(String), nextRunAt: null },
    });
    expect(await stateOf(id)).toMatchObject({ pauseReason: 'REQUESTED', pauseNote: note, upcomingRuns: [] });
    await ask(PAUSE, { input: { id, until: '2027-01-01T00:00:00Z' } });
    expect(await stateOf(id)).toMatchObject({
      pausedUntil: '2027-01-01T00:00:00.000Z',
      pauseNote: null,
      nextRunAt: '2027-01-01T01:00:00.000Z',
      upcomingRuns: [{ at: '2027-01-01T01:00:00.000Z' }, { at: '2027-01-01T02:00:00.000Z' }],
    });
    const resumed = (await ask(RESUME, { input: { id } })).data.resumeWorkflow;
    expect(resumed).toMatchObject({ userErrors: [], workflow: { pausedAt: null, nextRunAt: workflow.nextRunAt } });
    await work(api.db);
    expect(await stateOf(id)).toMatchObject({ pausedAt: null, pauseReason: null, nextRunAt: workflow.nextRunAt });
  });

  test('refuses the past, a note that is too long, and other people’s workflows', async () => {
    const { workflow } = await create({ interval: 5 });
    const { id } = workflow;
    const refusals: [object, object][] = [
      [
        { id, until: '2020-01-01T00:00:00Z' },
        { code: 'INVALID', path: ['until'] },
      ],
      [
        { id, note: '' },
        { code: 'INVALID', path: ['note'] },
      ],
      [
        { id, note: 'x'.repeat(1_001) },
        { code: 'INVALID', path: ['note'] },
      ],
      [{ id: 'x' }, { code: 'NOT_FOUND', path: ['id'] }],
    ];
    for (const [input, error] of refusals)
      expect((await ask(PAUSE, { input })).data.pauseWorkflow).toMatchObject({ workflow: null, userErrors: [error] });
    for (const [document, name] of [
      [PAUSE, 'pauseWorkflow'],
      [RESUME, 'resumeWorkflow'],
    ] as const)
      expect((await ask(document, { input: { id } }, bob)).data[name]).toMatchObject({
        userErrors: [{ code: 'NOT_FOUND' }],
      });
    await ask('mutation ($id: ID!) { terminateWorkflow(input: { id: $id }) { workflow { id } } }', { id });
    expect((await ask(PAUSE, { input: { id } })).data.pauseWorkflow).toMatchObject({
      userErrors: [{ code: 'TERMINATED', path: ['id'] }],
    });
  });
});

test('a form may send a schedule again whose times have passed, and another one may not', async () => {
  const at = new Date(Date.now() + 60_000);
  const { workflow } = await create({ schedule: { at: at.toISOString() } });
  const past = new Date(Date.now() - 60_000).toISOString();
  await api.db
    .update(workflows)
    .set({ schedule: { at: past } })
    .where(eq(workflows.id, workflow.id));
  const update = (schedule: object) => ask(UPDATE, { input: { id: workflow.id, name: 'b', schedule } });
  expect((await update({ at: past })).data.updateWorkflow).toMatchObject({
    userErrors: [],
    workflow: { schedule: { at: past }, nextRunAt: at.toISOString() },
  });
  const other = new Date(Date.now() - 120_000).toISOString();
  expect((await update({ at: other })).data.updateWorkflow).toMatchObject({
    userErrors: [{ path: ['schedule', 'at'] }],
  });
});

test('a run policy is shown with its defaults, and replaced as a whole', async () => {
  const { workflow } = await create({ interval: 5, runPolicy: { overlap: 'SKIP', retry: { maxRetries: 2 } } });
  const state = (await ask(STATE, workflow)).data.workflow;
  expect(state).toMatchObject({ onTooManyFailures: 'TERMINATE', skippedRunCount: 0 });
  expect(state.runPolicy).toEqual({
    overlap: 'SKIP',
    missedRuns: 'RUN_LATEST',
    startWithinSeconds: null,
    spreadSeconds: 0,
    lateAfterSeconds: null,
    expectedMaxSeconds: null,
    expectedMinSeconds: null,
    retry: {
      maxRetries: 2,
      delaySeconds: 30,
      factor: 2,
      maxDelaySeconds: 3_600,
      on: ['EXIT_CODE', 'CHECK_FAILED', 'TIMEOUT', 'OUT_OF_MEMORY'],
    },
  });
  await ask(UPDATE, { input: { id: workflow.id, runPolicy: { missedRuns: 'SKIP' }, onTooManyFailures: 'PAUSE' } });
  const changed = (await ask(STATE, workflow)).data.workflow;
  expect(changed).toMatchObject({
    onTooManyFailures: 'PAUSE',
    runPolicy: { overlap: 'QUEUE', missedRuns: 'SKIP', retry: { maxRetries: 0 } },
  });
  await ask(UPDATE, { input: { id: workflow.id, name: 'b' } });
  expect((await ask(STATE, workflow)).data.workflow).toEqual(changed);
});
