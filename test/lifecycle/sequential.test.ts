import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withinTime } from '../support/time-limit.ts';
import { drain } from './drain.ts';
import { broken } from './invariants.ts';
import { expectedState, judgeScheduling, readState } from './judge.ts';
import { Model } from './model.ts';
import { created, type Operation, operation } from './operations.ts';
import { BOUNDS, type Lifecycle, lifecycle, RUN_MS_MAX, TEST_MS_MAX } from './support.ts';
import type { World } from './world.ts';

let real: Lifecycle;
beforeAll(async () => {
  real = await lifecycle({ connections: 4 });
});
afterAll(() => real.close());

/** After so many seconds a lease may have expired; before, it certainly has not. */
const LEASE_SECONDS_CERTAIN = 25;

async function step(world: World, model: Model, op: Operation, passed: Map<string, number>): Promise<void> {
  const done = await world.do(op);
  const { db } = real;
  if (op.type === 'letPass' && done.id) passed.set(done.id, (passed.get(done.id) ?? 0) + op.seconds);
  if (op.type === 'schedule') {
    const expired = [...passed].filter(([, seconds]) => seconds > LEASE_SECONDS_CERTAIN).map(([id]) => id);
    await judgeScheduling(db, model, new Set(expired));
  } else {
    expect(done.outcome).toBe(model.apply(op, done));
  }
  const [state, wrong] = await Promise.all([readState(db), broken(db)]);
  if (op.type === 'sweepPurges') forgetPurged(model, state);
  expect(state).toEqual(expectedState(model));
  expect(wrong).toEqual([]);
}

/**
 * A purged workflow must be gone entirely, and only if its purge was requested and none of its jobs
 * was active.
 */
function forgetPurged(model: Model, state: Awaited<ReturnType<typeof readState>>): void {
  for (const [id, workflow] of model.workflows) {
    if (state.workflows.has(id) || !workflow.purged) continue;
    const jobs = [...model.jobs].filter(([, job]) => job.workflowId === id);
    expect(jobs.filter(([, job]) => ['PENDING', 'QUEUED', 'RUNNING'].includes(job.status))).toEqual([]);
    for (const [jobId] of jobs) model.jobs.delete(jobId);
    for (const [buildId, build] of model.builds) if (build.workflowId === id) model.builds.delete(buildId);
    model.workflows.delete(id);
  }
}

test(
  'P1, P2, P3, P7: after any sequence of operations, answers and rows are what the model says',
  async () => {
    const run = withinTime(RUN_MS_MAX, async (operations: Operation[]) => {
      const world = await real.begin();
      const model = new Model();
      const passed = new Map<string, number>();
      await step(world, model, created(true, 1), passed);
      await step(world, model, { type: 'claimBuilds' }, passed);
      await step(world, model, { type: 'endBuild', at: 0, status: 'COMPLETED' }, passed);
      for (const op of operations) await step(world, model, op, passed);
      await drain(world);
      expect(await broken(real.db)).toEqual([]);
    });
    await fc.assert(fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 40, size: 'max' }), run), BOUNDS);
  },
  TEST_MS_MAX,
);
