import { sql } from 'drizzle-orm';
import { extendCalendars } from '../../db/calendars.ts';
import { enterTurns } from '../../db/jobs/turns.ts';
import { ADOPTION_SECONDS, LEASE_SECONDS } from '../../domain/limits.ts';
import { schedulingPass } from '../../workers/scheduling/pass.ts';
import { testUser } from '../support/database.ts';
import { letAllPass } from '../support/time.ts';
import { type Clock, startClock } from './clock.ts';
import { openConnections, sideOf } from './connections.ts';
import { openCopies } from './copies.ts';
import { FakeEngine, type Fault, Truth } from './engine.ts';
import { judge, writeDown } from './judge.ts';
import type { Point } from './points.ts';
import { realNowMs, sleep } from './real-time.ts';
import type { Choose, Order } from './scheduler.ts';
import type { State, Subject } from './states.ts';
import { type Answers, VERBS } from './verbs.ts';
import { isQuiet, type JobWorker, startJobWorker } from './workers.ts';

/** Events around two workers, besides their own steps. */
export type Event =
  | { type: 'pass'; seconds: number }
  | { type: 'schedule' | 'cancel' | 'terminate' | 'request' }
  /** Passes so much time that a lost attempt is given up and the next one waits for a worker. */
  | { type: 'outlast' }
  /** `restart` stops a worker, which passes its jobs on, and starts another in its place. */
  | { type: 'sweep' | 'look' | 'away' | 'back' | 'restart'; worker: number }
  | { type: 'fault'; worker: number; call: string; fault: Fault };

export interface WorkerRun {
  state: State;
  /** Whether both workers use the same engine. */
  isOneEngine: boolean;
  events: Event[];
}

export interface WorkerRunner {
  /**
   * Runs from the state. `choose` picks the steps up to the last event; then everything continues
   * without faults to its end.
   */
  run(run: WorkerRun, choose: Choose): Promise<{ order: Order; wrong: string[] }>;
  close(): Promise<void>;
}

interface RunContext {
  subject: Subject;
  /** The current workers. */
  workers: JobWorker[];
  clock: Clock;
  answers: Answers;
  /**
   * How many seconds the database's clock has advanced by itself since the last call; 0 if hardly
   * any. The workers' clock follows.
   */
  lagSeconds(): number;
  /** Starts a worker in the place of the current one. */
  start(actor: number): void;
}

const WORKERS = 2;
const WORLD = WORKERS;
const PROGRAM_MS = 5_000;
/** Longer than three attempts take, each with its lease, the time for adoption and its back-off. */
const ROUNDS_MAX = 60;
const ROUND_SECONDS = 10;
/** The lease and the time for adoption, then the back-off. */
const OUTLAST_SECONDS = [LEASE_SECONDS + ADOPTION_SECONDS + 10, 30];
const CLOSE_MS_MAX = 10_000;

export async function openWorkerRunner(): Promise<WorkerRunner> {
  const connections = await openConnections(WORKERS + 1, { perActor: 4, hasLateAnswers: true });
  const { db, scheduler } = connections;
  const side = sideOf(connections, WORLD);
  await writeDown(db);
  const copies = await openCopies(db, await testUser(db, 'ann'));

  async function perform(event: Event, context: RunContext): Promise<void> {
    const { subject, workers, clock, start, answers, lagSeconds } = context;
    const worker = 'worker' in event ? workers[event.worker] : undefined;
    switch (event.type) {
      case 'pass':
        await letAllPass(side, event.seconds);
        await clock.pass(event.seconds + lagSeconds());
        return;
      case 'schedule': {
        const { effects, exhausted } = await schedulingPass({
          db: side,
          limit: 100,
          watchedSeconds: () => Number.POSITIVE_INFINITY,
        });
        await extendCalendars(side, exhausted);
        await enterTurns(
          side,
          'CONTAINER',
          effects.dispatched.map(({ id }) => id),
        );
        for (const each of workers) each.look();
        return;
      }
      case 'outlast':
        for (const seconds of OUTLAST_SECONDS) {
          await perform({ type: 'pass', seconds }, context);
          await perform({ type: 'schedule' }, context);
        }
        return;
      case 'cancel':
      case 'terminate':
      case 'request':
        await VERBS[event.type][1](side, subject, answers);
        return;
      case 'sweep':
        return worker?.sweep();
      case 'look':
        return worker?.look();
      case 'restart':
        void worker?.close();
        start(event.worker);
        return;
      case 'away':
      case 'back':
        if (worker !== undefined) worker.engine.isAway = event.type === 'away';
        return;
      case 'fault':
        worker?.faults.set(event.call, event.fault);
        return;
    }
  }

  return {
    async run({ state, isOneEngine, events }, choose) {
      const subject = await copies.begin(state);
      const clock = startClock();
      const truth = new Truth();
      const statusOf = (jobId: string) =>
        scheduler.fly(WORLD, pointOf('status'), async () => {
          const [row] = await db.execute<{ status: string }>(sql`SELECT status FROM jobs WHERE id = ${jobId}`);
          return row?.status ?? 'gone';
        });
      const made = (id: string) => new FakeEngine(id, truth, { runMs: PROGRAM_MS, statusOf });
      const first = made('engine 1');
      const engines = isOneEngine ? [first] : [first, made('engine 2')];
      const workers: JobWorker[] = [];
      const started: JobWorker[] = [];
      const start = (actor: number) => {
        const worker = startJobWorker(connections, actor, engines[actor] ?? first);
        started.push(worker);
        workers[actor] = worker;
        worker.look();
      };
      const answers: Answers = { ended: [], canceled: [], requested: [] };
      const context: RunContext = { subject, workers, clock, start, answers, lagSeconds: lagging() };
      let isFree = false;

      const happen = (event: Event) => scheduler.step(WORLD, pointOf(nameOf(event)), () => perform(event, context));
      const isOver = async () => {
        const [row] = await db.execute<{ left: number }>(
          sql`SELECT count(*)::integer AS left FROM jobs WHERE completed_at IS NULL`,
        );
        return row?.left === 0 && isQuiet(truth, engines);
      };
      const world = async () => {
        for (const event of events) await happen(event);
        isFree = true;
        for (const engine of engines) engine.isAway = false;
        for (const { faults } of workers) faults.clear();
        for (let round = 0; round < ROUNDS_MAX; round += 1) {
          await happen({ type: 'pass', seconds: ROUND_SECONDS });
          await happen({ type: 'schedule' });
          for (const worker of workers.keys()) await happen({ type: 'sweep', worker });
          if (await scheduler.fly(WORLD, pointOf('looking whether all is over'), isOver)) return;
        }
        truth.wrong.push('it does not come to an end');
      };
      const actors = [0, 1].map((actor) => ({
        name: `worker ${actor}`,
        run: async () => start(actor),
      }));
      const run = () =>
        scheduler.run([...actors, { name: 'world', run: world }], (ready, last) =>
          isFree ? (ready.find(({ actor }) => actor !== WORLD) ?? ready[0])?.key : choose(ready, last),
        );
      const order = await run()
        .finally(() => closeAll(started, clock))
        .finally(() => clock.stop());
      const wrong = [...truth.wrong, ...order.errors.map(({ actor, error }) => `${actor} failed: ${String(error)}`)];
      // A requested run may use up its attempts.
      const kept = { ...answers, requested: [] };
      wrong.push(...(await judge(db, kept)));
      return { order, wrong };
    },
    close: () => connections.close(),
  };
}

function pointOf(name: string): Point {
  return { name, reads: new Set(), writes: new Set(['everything']) };
}

function nameOf(event: Event): string {
  const { type, ...rest } = event;
  return [type, ...Object.values(rest)].join(' ');
}

const LAG_SECONDS_MIN = 1;

function lagging(): () => number {
  let since = realNowMs();
  return () => {
    const seconds = (realNowMs() - since) / 1_000;
    if (seconds < LAG_SECONDS_MIN) return 0;
    since += seconds * 1_000;
    return seconds;
  };
}

/** Closes the workers. They wait partly for time, so the clock must advance. */
async function closeAll(workers: JobWorker[], clock: Clock): Promise<void> {
  let isClosed = false;
  const closing = Promise.all(workers.map((worker) => worker.close())).then(() => {
    isClosed = true;
  });
  const since = realNowMs();
  while (!isClosed && realNowMs() - since < CLOSE_MS_MAX) {
    await clock.pass(1);
    await sleep(1);
  }
  await closing;
}
