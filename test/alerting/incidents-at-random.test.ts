import { eq, sql } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { alertUnmuted } from '../../db/alerts/incidents.ts';
import type { Db } from '../../db/client.ts';
import { workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { broken } from '../lifecycle/invariants.ts';
import { claim, end, heartbeat, schedule } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letPass } from '../support/time.ts';
import { channel, incidentsOf, storyOf } from './support.ts';

let database: TestDatabase;
let ann: string;
let ops: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  ops = await channel(database.db, ann);
});
afterAll(() => database.close());

const SEQUENCES = 25;

type Step = 'complete' | 'fail' | 'lose' | 'cancel' | 'mute' | 'unmute' | 'terminate';
const step = fc.constantFrom<Step>(
  ...(['complete', 'complete', 'fail', 'fail', 'fail', 'lose', 'cancel', 'mute', 'unmute', 'terminate'] as const),
);

/** What must be known of one workflow, by the words of the specification alone. */
class Model {
  failures = 0;
  isMuted = false;
  isTerminated = false;
  open: { failures: number; isAlerted: boolean } | undefined;
  readonly incidents: string[] = [];
  readonly story: string[] = [];
  readonly #allowed: number;
  readonly #after: number;

  constructor(allowed: number, after: number) {
    this.#allowed = allowed;
    this.#after = after;
  }

  apply(step: Step): void {
    if (step === 'mute') this.isMuted = true;
    if (step === 'unmute') this.unmute();
    if (this.isTerminated) return;
    if (step === 'complete') this.complete();
    if (step === 'fail') this.fail();
    if (step === 'terminate') {
      const wasAlerted = this.open?.isAlerted === true;
      this.isTerminated = true;
      this.resolve('TERMINATED');
      if (wasAlerted) this.story.push('WORKFLOW_TERMINATED PENDING');
    }
  }

  private complete(): void {
    this.failures = 0;
    // One whose beginning was suppressed has nothing to end.
    if (this.open?.isAlerted) this.story.push('WORKFLOW_RECOVERED PENDING');
    this.resolve('RECOVERED');
  }

  private fail(): void {
    this.failures += 1;
    if (this.open) this.open.failures += 1;
    else if (this.failures >= this.#after) {
      this.open = { failures: this.failures, isAlerted: !this.isMuted };
      this.story.push(`WORKFLOW_FAILING ${this.isMuted ? 'SUPPRESSED' : 'PENDING'}`);
    }
    if (this.failures < this.#allowed) return;
    this.isTerminated = true;
    const isSent = this.open?.isAlerted === true || !this.isMuted;
    this.story.push(`WORKFLOW_TERMINATED ${isSent ? 'PENDING' : 'SUPPRESSED'}`);
    this.resolve('TERMINATED');
  }

  private unmute(): void {
    this.isMuted = false;
    if (this.open === undefined || this.open.isAlerted) return;
    this.open.isAlerted = true;
    this.story.push('WORKFLOW_FAILING PENDING');
  }

  private resolve(resolution: string): void {
    if (this.open) this.incidents.push(`${resolution} after ${this.open.failures}`);
    this.open = undefined;
  }
}

async function apply(db: Db, id: string, step: Step): Promise<void> {
  const mute = (mutedUntil: Date | null) => db.update(workflows).set({ mutedUntil }).where(eq(workflows.id, id));
  if (step === 'mute') await mute(new Date(Date.now() + 3_600_000));
  else if (step === 'unmute') {
    await mute(null);
    await alertUnmuted(db, { limit: 100 });
  } else if (step === 'terminate') await terminateWorkflow(db, { userId: ann, id });
  else {
    const [job] = await claim(db, await schedule(db));
    if (job === undefined) return; // it is terminated
    if (step === 'complete') await end(db, job, { status: 'COMPLETED' });
    else if (step === 'cancel') await end(db, job, { status: 'CANCELED' });
    else await end(db, job, { status: 'FAILED', failureReason: step === 'lose' ? 'SYSTEM' : 'EXIT_CODE' });
    await letPass(db, id, 60);
  }
}

test('after any sequence of ends, mutes and terminations, incidents and deliveries are what the model says', async () => {
  const { db } = database;
  const sequence = fc.record({
    allowed: fc.integer({ min: 1, max: 5 }),
    after: fc.integer({ min: 1, max: 4 }),
    steps: fc.array(step, { minLength: 4, maxLength: 25, size: 'max' }),
  });
  const run = async ({ allowed, after, steps }: { allowed: number; after: number; steps: Step[] }) => {
    await db.execute(sql`DELETE FROM jobs`);
    await db.execute(sql`DELETE FROM workflows`);
    await db.execute(sql`DELETE FROM alert_deliveries`);
    await db.execute(sql`DELETE FROM alert_due`);
    const { id } = await heartbeat(db, ann, { failuresAllowed: allowed });
    await db.update(workflows).set({ alertAfterFailures: after }).where(eq(workflows.id, id));
    const model = new Model(allowed, after);
    for (const one of steps) {
      await apply(db, id, one);
      model.apply(one);
      expect(await storyOf(db, ops)).toEqual(model.story);
    }
    const incidents = await incidentsOf(db, id);
    const ended = incidents.filter(({ resolvedAt }) => resolvedAt !== null);
    expect(ended.map(({ resolution, failures }) => `${resolution} after ${failures}`)).toEqual(model.incidents);
    expect(incidents.filter(({ resolvedAt }) => resolvedAt === null).map(({ failures }) => failures)).toEqual(
      model.open ? [model.open.failures] : [],
    );
    const named = /incident|delivery/;
    // The channel of this test does not want to hear of single jobs, nor of what was muted.
    const allowedHere = /exactly once/;
    expect((await broken(db)).filter(({ name }) => named.test(name) && !allowedHere.test(name))).toEqual([]);
  };
  await fc.assert(fc.asyncProperty(sequence, run), { numRuns: SEQUENCES, includeErrorInReport: true });
});
