import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { withinTime } from '../support/time-limit.ts';
import { MARGIN_MS, RUNS_PER_SECOND_MAX, runMs, SEED } from './bounds.ts';
import { byPriority, type Priority, prioritiesOf } from './priorities.ts';
import type { Choose } from './scheduler.ts';
import { type Event, openWorkerRunner, type WorkerRunner } from './worker-runs.ts';

vi.mock('node:timers/promises', () => import('./timers.ts'));
vi.mock('../../platform/process-identity.ts', () => ({ hasEnded: async () => false }));

const RUN_MS = runMs({ long: 12 });

let runner: WorkerRunner;
beforeAll(async () => {
  runner = await openWorkerRunner();
});
afterAll(() => runner.close());

const worker = fc.nat({ max: 1 });
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('pass' as const), seconds: fc.constantFrom(4, 10, 40, 100) }) },
  { weight: 3, arbitrary: fc.constant({ type: 'schedule' as const }) },
  { weight: 3, arbitrary: fc.constant({ type: 'outlast' as const }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('sweep' as const, 'look' as const), worker }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constantFrom('cancel' as const, 'terminate' as const, 'request' as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom('away' as const, 'back' as const, 'restart' as const), worker }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('fault' as const),
      worker,
      call: fc.constantFrom('create', 'start', 'inspect', 'remove', 'list', 'stop'),
      fault: fc.constantFrom('REFUSED' as const, 'UNANSWERED' as const),
    }),
  },
);
const workerRun = fc.record({
  state: fc.constantFrom('QUEUED', 'DUE', 'REQUESTED'),
  isOneEngine: fc.boolean(),
  events: fc.array(event, { maxLength: 10, size: 'max' }),
});
/**
 * Withholds one kind of step of one worker until the last event. All others continue as they can.
 */
function withholding(actor: number, name: string): Choose {
  return (ready) => ready.find((choice) => choice.actor !== actor || choice.point.name !== name)?.key;
}

const pass = (seconds: number): Event => ({ type: 'pass', seconds });

test('a claim whose answer comes after its lease starts nothing beside the next attempt', async () => {
  const events: Event[] = [pass(40), pass(60), { type: 'schedule' }, pass(6), { type: 'schedule' }, pass(1)];
  const choose = withholding(0, 'answer of commit');
  for (const isOneEngine of [true, false]) {
    const { order, wrong } = await runner.run({ state: 'QUEUED', isOneEngine, events }, choose);
    expect(wrong).toEqual([]);
    expect(order.steps.filter((step) => step.endsWith('answer to start'))).toEqual([
      "worker 1: engine's answer to start",
    ]);
  }
});

type WorkerRun = typeof workerRun extends fc.Arbitrary<infer T> ? T : never;

test(
  'P1, P2, P3, P4: two workers whose engines, answers and clocks fail them run no program twice, and end every job once',
  async () => {
    let runs = 0;
    const run = withinTime(RUN_MS, async (drawn: WorkerRun, priorities: Priority[]) => {
      const { order, wrong } = await runner.run(drawn, byPriority(priorities));
      runs += 1;
      expect(wrong.length > 0 ? [...order.steps, ...wrong].join('\n') : '').toBe('');
    });
    const numRuns = (RUN_MS / 1_000) * RUNS_PER_SECOND_MAX;
    await fc.assert(fc.asyncProperty(workerRun, prioritiesOf(3), run), { numRuns, ...SEED });
    console.info(`${runs} runs of two workers.`);
    expect(runs).toBeGreaterThan(0);
  },
  RUN_MS + MARGIN_MS,
);
