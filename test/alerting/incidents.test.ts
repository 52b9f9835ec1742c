import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { alertUnmuted } from '../../db/alerts/incidents.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { workflowAlertChannels, workflows } from '../../db/schema.ts';
import { resumeWorkflow } from '../../db/workflows/pause.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { claim, end, heartbeat, run, schedule, scheduled } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letPass } from '../support/time.ts';
import { channel, deliveriesOf, incidentsOf, storyOf } from './support.ts';

let database: TestDatabase;
let ann: string;
let ops: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(async () => {
  await database.db.execute(
    sql`TRUNCATE workflows, jobs, run_requests, notifications, alert_channels, alert_deliveries, alert_due CASCADE`,
  );
  ops = await channel(database.db, ann);
});
afterAll(() => database.close());

const completed = { status: 'COMPLETED' } as const;
const failure = { status: 'FAILED', failureReason: 'EXIT_CODE', failureMessage: 'It exited with the code 3.' } as const;
const lost = { status: 'FAILED', failureReason: 'SYSTEM' } as const;

/** Lets jobs of the only workflow end like this, one after the other. */
async function runs(id: string, ...outcomes: (typeof completed | typeof failure | typeof lost)[]): Promise<void> {
  for (const outcome of outcomes) {
    await run(database.db, outcome);
    await letPass(database.db, id, 60);
  }
}

const change = (id: string, values: Partial<typeof workflows.$inferInsert>) =>
  database.db.update(workflows).set(values).where(eq(workflows.id, id));

const soon = () => new Date(Date.now() + 3_600_000);
const past = () => new Date(Date.now() - 1_000);

describe('an incident', () => {
  test('opens with the first failure, counts the next ones, and ends with the first success', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, completed, failure, failure, failure);
    const [open, ...more] = await incidentsOf(db, id);
    expect(more).toEqual([]);
    expect(open).toMatchObject({ failures: 3, resolvedAt: null, resolution: null });
    await runs(id, completed, completed);
    const [ended] = await incidentsOf(db, id);
    expect(ended).toMatchObject({ id: open?.id, failures: 3, resolution: 'RECOVERED', jobId: open?.jobId });
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_RECOVERED PENDING']);
    const [failing, recovered] = await deliveriesOf(db, ops);
    expect(failing).toMatchObject({ incidentId: open?.id, jobId: open?.jobId, detail: failure.failureMessage });
    expect(recovered?.incidentId).toBe(open?.id);
  });

  test.each([2, 3, 7])(
    'opens with failure %i in a row where alertAfterFailures says so, and nothing is sent below',
    async (after) => {
      const { db } = database;
      const { id } = await heartbeat(db, ann, { failuresAllowed: 20 });
      await change(id, { alertAfterFailures: after });
      const below = Array.from({ length: after - 1 }, () => failure);
      await runs(id, ...below, completed, ...below);
      expect(await incidentsOf(db, id)).toEqual([]);
      expect(await deliveriesOf(db, ops)).toEqual([]);
      await runs(id, failure, completed);
      expect((await incidentsOf(db, id)).map(({ failures, resolution }) => [failures, resolution])).toEqual([
        [after, 'RECOVERED'],
      ]);
      expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_RECOVERED PENDING']);
    },
  );

  test('is not opened by failures of the platform, and not ended by a cancellation', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, lost, lost, lost);
    expect(await incidentsOf(db, id)).toEqual([]);
    await runs(id, failure);
    const [job] = await claim(db, await schedule(db));
    if (job === undefined) throw new Error('no job');
    await cancelJob(db, { userId: ann, id: job.id });
    await end(db, job, { status: 'CANCELED' });
    expect((await incidentsOf(db, id)).map(({ resolution }) => resolution)).toEqual([null]);
  });

  test('opens again after it has ended, with another id', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, failure, completed, failure, failure, completed);
    const found = await incidentsOf(db, id);
    expect(found.map(({ failures, resolution }) => [failures, resolution])).toEqual([
      [1, 'RECOVERED'],
      [2, 'RECOVERED'],
    ]);
    expect(new Set(found.map((one) => one.id)).size).toBe(2);
  });

  test('stays open while too many failures pause the workflow, and ends with the first success after that', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 2, onTooManyFailures: 'PAUSE' });
    await runs(id, failure, failure);
    await resumeWorkflow(db, { userId: ann, id });
    await schedule(db);
    await letPass(db, id, 60);
    expect((await incidentsOf(db, id)).map(({ resolution }) => resolution)).toEqual([null]);
    await runs(id, completed);
    expect((await incidentsOf(db, id)).map(({ resolution }) => resolution)).toEqual(['RECOVERED']);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_RECOVERED PENDING']);
  });

  test('ends as terminated where the last failure terminates the workflow', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 2 });
    await runs(id, failure, failure);
    expect((await incidentsOf(db, id)).map(({ failures, resolution }) => [failures, resolution])).toEqual([
      [2, 'TERMINATED'],
    ]);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_TERMINATED PENDING']);
  });

  test('begins and ends with one failure where one is too many', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 1 });
    await runs(id, failure);
    expect((await incidentsOf(db, id)).map(({ resolution }) => resolution)).toEqual(['TERMINATED']);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_TERMINATED PENDING']);
  });

  test.each([
    ['terminates', terminateWorkflow],
    ['deletes', deleteWorkflow],
  ] as const)('ends as terminated when its owner %s the workflow, which says so', async (_, terminate) => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, failure);
    await terminate(db, { userId: ann, id });
    await terminate(db, { userId: ann, id });
    expect((await incidentsOf(db, id)).map(({ resolution }) => resolution)).toEqual(['TERMINATED']);
    expect((await deliveriesOf(db, ops)).map(({ event, detail }) => [event, detail])).toEqual([
      ['WORKFLOW_FAILING', failure.failureMessage],
      ['WORKFLOW_TERMINATED', 'Its owner terminated it.'],
    ]);
  });

  test('that is not there makes its owner hear nothing of a termination that they ask for', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann);
    await runs(id, completed);
    await terminateWorkflow(db, { userId: ann, id });
    expect(await deliveriesOf(db, ops)).toEqual([]);
  });
});

describe('the deliveries of an event', () => {
  test('go to the default channels that want it, and to no other user’s, disabled or deleted one', async () => {
    const { db } = database;
    const bob = await testUser(db, 'bob');
    const others = [
      await channel(db, bob),
      await channel(db, ann, { isDefault: false }),
      await channel(db, ann, { state: 'UNCONFIRMED' }),
      await channel(db, ann, { state: 'DISABLED', disabledReason: 'It is gone.' }),
      await channel(db, ann, { deletedAt: new Date() }),
      await channel(db, ann, { events: ['JOB_COMPLETED'] }),
    ];
    const second = await channel(db, ann, { events: ['JOB_FAILED', 'WORKFLOW_FAILING'] });
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, failure);
    for (const other of others) expect(await storyOf(db, other)).toEqual([]);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING']);
    expect((await storyOf(db, second)).sort()).toEqual(['JOB_FAILED PENDING', 'WORKFLOW_FAILING PENDING']);
  });

  test('go to the channels of the workflow alone, if it has its own', async () => {
    const { db } = database;
    const own = await channel(db, ann, { isDefault: false });
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await db.insert(workflowAlertChannels).values({ workflowId: id, channelId: own });
    await change(id, { hasOwnAlertChannels: true });
    await runs(id, failure);
    expect(await storyOf(db, ops)).toEqual([]);
    expect(await storyOf(db, own)).toEqual(['WORKFLOW_FAILING PENDING']);
  });

  test('go nowhere if the workflow wants none', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 1 });
    await change(id, { hasOwnAlertChannels: true });
    await runs(id, failure);
    expect(await deliveriesOf(db, ops)).toEqual([]);
  });

  test('report a recovery to those who heard the beginning, whatever channels the workflow has now', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, failure);
    const late = await channel(db, ann);
    const endsAlone = await channel(db, ann, { events: ['WORKFLOW_RECOVERED'] });
    await db.insert(workflowAlertChannels).values([
      { workflowId: id, channelId: late },
      { workflowId: id, channelId: endsAlone },
    ]);
    await change(id, { hasOwnAlertChannels: true });
    await runs(id, completed);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_RECOVERED PENDING']);
    expect(await storyOf(db, late)).toEqual([]);
    expect(await storyOf(db, endsAlone)).toEqual(['WORKFLOW_RECOVERED PENDING']);
  });

  test('report every COMPLETED job to a channel that wants it, also where nothing fails', async () => {
    const { db } = database;
    const eager = await channel(db, ann, { events: ['JOB_COMPLETED'] });
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, completed, failure, completed, completed);
    expect(await storyOf(db, eager)).toEqual(Array.from({ length: 3 }, () => 'JOB_COMPLETED PENDING'));
  });

  test('report single failures to a channel that wants them, those of the platform too', async () => {
    const { db } = database;
    const eager = await channel(db, ann, { events: ['JOB_FAILED'] });
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, failure, lost, failure);
    expect(await storyOf(db, eager)).toEqual(Array.from({ length: 3 }, () => 'JOB_FAILED PENDING'));
  });
});

describe('a muted workflow', () => {
  test('has its deliveries suppressed, also the recovery of what was never alerted', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await change(id, { mutedUntil: soon() });
    await runs(id, failure, completed);
    expect((await incidentsOf(db, id)).map(({ alertedAt, resolution }) => [alertedAt, resolution])).toEqual([
      [null, 'RECOVERED'],
    ]);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING SUPPRESSED']);
  });

  test('reports the recovery of what was alerted before', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await runs(id, failure);
    await change(id, { mutedUntil: soon() });
    await runs(id, failure, completed);
    expect(await storyOf(db, ops)).toEqual(['WORKFLOW_FAILING PENDING', 'WORKFLOW_RECOVERED PENDING']);
  });

  test('alerts at the end of the mute what is still open, once', async () => {
    const { db } = database;
    const { id } = await heartbeat(db, ann, { failuresAllowed: 10 });
    await change(id, { mutedUntil: soon() });
    await runs(id, failure, failure);
    expect(await alertUnmuted(db, { limit: 10 })).toBe(0);
    await change(id, { mutedUntil: past() });
    expect(await alertUnmuted(db, { limit: 10 })).toBe(1);
    expect(await alertUnmuted(db, { limit: 10 })).toBe(0);
    await runs(id, completed);
    expect(await storyOf(db, ops)).toEqual([
      'WORKFLOW_FAILING SUPPRESSED',
      'WORKFLOW_FAILING PENDING',
      'WORKFLOW_RECOVERED PENDING',
    ]);
  });
});
