import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { releaseBuilds } from '../../db/builds/leases.ts';
import { cancelBuilds } from '../../db/ends/cancel-builds.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { builds, workflows } from '../../db/schema.ts';
import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow, lockWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { claim, end, schedule } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';

/** Errors that random sequences have found, each as its shortest case. */

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

async function container() {
  const { workflow, buildId = '' } = await createWorkflow(database.db, {
    userId: ann,
    name: 'test',
    payload: { kind: 'CONTAINER', image: 'image:1' },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  });
  return { id: workflow.id, buildId };
}

/** A workflow whose first build is COMPLETED. */
async function builtContainer(): Promise<string> {
  const { db } = database;
  const { id, buildId } = await container();
  const [build] = (await claimBuilds(db, [buildId], { owner: 'test' })).claimed;
  if (!build) throw new Error('no build');
  await endBuild(db, { ...build, logLineCount: 0, status: 'COMPLETED', imageId: 'sha256:1' });
  return id;
}

async function read(id: string) {
  const [workflow] = await database.db.select().from(workflows).where(eq(workflows.id, id));
  const all = await database.db.select().from(builds).where(eq(builds.workflowId, id)).orderBy(builds.generation);
  return { workflow, builds: all };
}

test('a workflow that fails once too often while its next generation is built leaves no build behind', async () => {
  const { db } = database;
  const id = await builtContainer();
  const [job] = await claim(db, await schedule(db));
  if (!job) throw new Error('no job');
  const updated = await updateWorkflow(db, { userId: ann, id, payload: { kind: 'CONTAINER', image: 'image:2' } });
  if (updated.outcome !== 'UPDATED') throw new Error('not updated');
  const { effects } = await end(db, job, { status: 'FAILED', failureReason: 'EXIT_CODE' });
  expect(effects.stopping.buildIds).toEqual([updated.buildId]);
  expect(effects.changed).toContainEqual({ userId: ann, builds: [updated.buildId], workflows: [id] });
  const after = await read(id);
  expect(after.workflow).toMatchObject({ terminationReason: 'FAILURES', buildStatus: 'CANCELED' });
  expect(after.builds.map(({ status }) => status)).toEqual(['COMPLETED', 'CANCELED']);
});

test('a requested job does not wait forever when the build of the next generation fails', async () => {
  const { db } = database;
  const id = await builtContainer();
  const requested = await runWorkflow(db, { userId: ann, id });
  const updated = await updateWorkflow(db, { userId: ann, id, payload: { kind: 'CONTAINER', image: 'image:2' } });
  if (requested.outcome !== 'REQUESTED' || updated.outcome !== 'UPDATED') throw new Error('not asked for');
  const [next] = (await claimBuilds(db, [updated.buildId ?? ''], { owner: 'test' })).claimed;
  if (!next) throw new Error('no build');
  await endBuild(db, { ...next, logLineCount: 0, status: 'FAILED', error: 'No such image.' });
  expect(await jobsOf(db, id)).toMatchObject([{ id: requested.job.id, status: 'CANCELED' }]);
});

test('a job with a requested cancellation does not run again when its worker returns it unstarted', async () => {
  const { db } = database;
  const id = await builtContainer();
  const [job] = await claim(db, await schedule(db));
  if (!job) throw new Error('no job');
  expect((await cancelJob(db, { userId: ann, id: job.id })).outcome).toBe('STOPPING');
  await returnJobs(db, [job]);
  expect(await jobsOf(db, id)).toMatchObject([{ status: 'CANCELED', leaseToken: null, uncountedAttempts: 1 }]);
  expect(await schedule(db)).toEqual([]);
});

test('a build that its worker returns is also shown as QUEUED in its workflow', async () => {
  const { db } = database;
  const { id, buildId } = await container();
  const { claimed } = await claimBuilds(db, [buildId], { owner: 'test' });
  expect((await read(id)).workflow?.buildStatus).toBe('STARTED');
  await releaseBuilds(db, claimed);
  expect((await read(id)).workflow?.buildStatus).toBe('QUEUED');
});

test('a claim of a build while its workflow ends waits for the end, and does not claim it', async () => {
  const { db } = database;
  const { id, buildId } = await container();
  const claiming = await db.transaction(async (tx) => {
    await lockWorkflow(tx, { userId: ann, id });
    const claims = claimBuilds(db, [buildId], { owner: 'test' });
    await expect.poll(() => waiting()).toBe(true);
    // This would deadlock if the claim locked the build before the workflow.
    await cancelBuilds(tx, [id]);
    return { claims };
  });
  expect((await claiming.claims).claimed).toEqual([]);
});

test('calls that wait while the workflow with a running job is purged do not find it', async () => {
  const { db } = database;
  const id = await builtContainer();
  const [job] = await claim(db, await schedule(db));
  if (!job) throw new Error('no job');
  const key = { userId: ann, id };
  const { calls } = await db.transaction(async (tx) => {
    await deleteWorkflow(tx, { ...key, purge: true });
    const calls = [
      cancelJob(db, { userId: ann, id: job.id }).then(({ outcome }) => outcome),
      runWorkflow(db, key).then(({ outcome }) => outcome),
      updateWorkflow(db, { ...key, name: 'other' }).then(({ outcome }) => outcome),
      rebuildWorkflow(db, key).then(({ outcome }) => outcome),
      terminateWorkflow(db, key).then((terminated) => terminated ?? 'NOT_FOUND'),
      deleteWorkflow(db, key).then((deleted) => deleted ?? 'NOT_FOUND'),
    ];
    await expect.poll(() => waiting(calls.length)).toBe(true);
    return { calls };
  });
  expect(await Promise.all(calls)).toEqual(calls.map(() => 'NOT_FOUND'));
});

/** Whether so many sessions wait for a lock. */
async function waiting(count = 1): Promise<boolean> {
  const rows = await database.db.execute(
    `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows.length >= count;
}
