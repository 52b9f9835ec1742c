import type { Db } from '../../../db/client.ts';
import { type ClaimedJob, claimJobs } from '../../../db/jobs/claim.ts';
import { queueReturned, type Returned, releaseJobs, returnJobs } from '../../../db/jobs/leases.ts';
import { enterTurns, type PassedBy, passTurn, peekTurn, peekTurnFor, takeTurn } from '../../../db/jobs/turns.ts';
import { chunksAfter, lastLogNumber } from '../../../db/logs/read.ts';
import { noteVolumeUse, placesOfVolumes, placeVolumes } from '../../../db/volumes.ts';
import { unlessAborted } from '../../../platform/async/abort.ts';
import { createBatcher } from '../../../platform/async/batcher.ts';
import { defaultDeadline, settledBefore } from '../../../platform/async/deadline.ts';
import { retry } from '../../../platform/async/retry.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { publishEffects } from '../../../platform/publish.ts';
import { createCapacity } from '../../shared/capacity.ts';
import { keepLeases } from '../../shared/leases.ts';
import { settledLinesBefore } from '../../shared/lines-before.ts';
import { createPublisher } from '../../shared/log-publisher.ts';
import type { Parts } from '../../shared/parts.ts';
import { createPoller } from '../../shared/poller.ts';
import type { Pass } from '../engine/other-engines.ts';
import { reachedEngine } from '../engine/reached-engine.ts';
import type { Attempt } from './container.ts';
import { createFinisher, type Finished } from './finish.ts';
import { createJobPlacement } from './placement.ts';
import { type RunEnd, runContainer } from './run.ts';
import type { RunControl, RunParts } from './run-context.ts';

export interface ContainerJobs {
  /** Call it when a turn may wait. It takes turns while there is capacity. */
  look(): void;
  /**
   * Holds a job that was just taken over, and follows its container. The container runs already, so
   * the job takes no capacity.
   */
  adopt(job: ClaimedJob, containerId: string): void;
  holds(attempt: Attempt): boolean;
  onCancelHint(message: string): void;
  /**
   * Passes on every running container, until the deadline. The next worker on the engine adopts it.
   */
  close(deadline?: AbortSignal): Promise<void>;
}

/** A job that this worker gives up without ending it. */
interface NotEnded {
  job: ClaimedJob;
  end: Exclude<RunEnd, { type: 'ENDED' }>;
  placed: Placed | undefined;
}

/** The engine that a job was claimed for, and the turn that it had. */
interface Placed {
  storeId: string;
  round: string;
  passedBy: PassedBy;
}

const SET_SIZE_MAX = 1_000;
const CHUNKS_PER_READ = 8;

/** The CONTAINER jobs that this process runs. */
export function createContainerJobs(
  parts: Parts &
    Omit<RunParts, 'noteVolumeUse' | 'placeVolumes' | 'placesOfVolumes' | 'lastLogNumber' | 'chunksAfter'> & {
      capacity: number;
      perUserMax?: number | undefined;
    },
): ContainerJobs {
  const { db, bus, docker, log, owner } = parts;
  const poller = createPoller({ log, what: 'Taking turns of container jobs', take: takeNext });
  const capacity = createCapacity({ size: parts.capacity, perUserMax: parts.perUserMax, onRelease: poller.poll });
  const leases = keepLeases({ db, log });
  const halt = new AbortController();
  let isClosing = false;
  /**
   * One run per lease, not per job: a run whose lease was lost may still be leaving when the next
   * run of its job begins.
   */
  const running = new Set<{ job: ClaimedJob; leave: AbortController; settled: Promise<void> }>();
  const placement = createJobPlacement(parts);
  const finish = createFinisher(parts, halt.signal);
  const runParts: RunParts = {
    ...parts,
    noteVolumeUse: (use) => noteVolumeUse(db, use),
    placesOfVolumes: (use) => placesOfVolumes(db, use),
    placeVolumes: (use) => placeVolumes(db, use),
    lastLogNumber: (jobId) => lastLogNumber(db, jobId),
    chunksAfter: (jobId, after) => chunksAfter(db, jobId, after, CHUNKS_PER_READ),
  };

  const ending = createBatcher<Finished & { done: () => void }>({
    sizeMax: SET_SIZE_MAX,
    inFlightMax: 2,
    async write(set) {
      await finish(set);
      for (const { done } of set) done();
    },
  });
  const releasing = createBatcher<NotEnded & { done: () => void }>({
    sizeMax: SET_SIZE_MAX,
    inFlightMax: 2,
    async write(set) {
      const { signal } = halt;
      const retries = { log, what: 'Handing on container jobs', signal, atLeastOnce: true };
      // When it aborts, their leases expire.
      await retry(retries, () => releaseAll(set)).catch(unlessAborted(signal));
      for (const { done } of set) done();
    },
  });

  async function releaseAll(set: NotEnded[]): Promise<void> {
    const of = (...types: NotEnded['end']['type'][]) => set.filter(({ end }) => types.includes(end.type));
    const jobsOf = (gone: NotEnded[]) => gone.map(({ job }) => job);
    await releaseJobs(db, jobsOf(of('LEFT')));
    const notStarted = of('NOT_STARTED', 'ELSEWHERE');
    const returned = await returnJobs(db, jobsOf(notStarted));
    await afterReturn(returned, notStarted);
    for (const { job, end, placed } of set)
      if (end.type === 'ELSEWHERE' && returned.pending.includes(job.id))
        await leaveToOthers(job, placed, end.pass).catch((error: unknown) =>
          log.warn(
            { err: error, jobId: job.id },
            'A job that another engine can run got no turn; the sweep gives it one.',
          ),
        );
    const refused = of('REFUSED');
    await afterReturn(await returnJobs(db, jobsOf(refused), { counted: true }), refused);
    const lost = of('LOST_ATTEMPT');
    await afterReturn(await returnJobs(db, jobsOf(lost), { counted: true, ran: true }), lost);
  }

  /**
   * Removes containers only after their attempts are given up: no container is removed that a lease
   * still owns.
   */
  async function afterReturn({ pending, canceled, effects }: Returned, set: NotEnded[]): Promise<void> {
    const returned = new Set([...pending, ...canceled]);
    const mine = set.filter(({ job }) => returned.has(job.id));
    for (const { end } of mine)
      if (end.type === 'LOST_ATTEMPT' && end.containerId !== undefined) parts.removals.remove(end.containerId);
    await publishEffects(parts, effects);
  }

  /** Gives a returned job a turn that says that this engine has passed it by. */
  async function leaveToOthers(job: ClaimedJob, placed: Placed | undefined, pass: Pass): Promise<void> {
    placement.noteRefused(job.id);
    const passed = placed && { ...placed, ...pass, by: placed.storeId };
    await enterTurns(db, 'CONTAINER', await queueReturned(db, job.id), passed);
  }

  function launch(
    job: ClaimedJob,
    release: () => void,
    { found, placed }: { found?: string; placed?: Placed } = {},
  ): void {
    const leave = new AbortController();
    const cancel = new AbortController();
    leases.hold(job, (reason) => (reason === 'LOST' ? leave : cancel).abort());
    if (job.cancelRequested) cancel.abort();
    const isFresh = () => leases.isFresh(job);
    const publish = createPublisher({ bus, log, isFresh, signal: leave.signal });
    const linesBefore = () => settledLinesBefore({ db, log, publish, signal: leave.signal }, job);
    const passFor: RunControl['passFor'] = async (need) =>
      need && placed && (await placement.passAfterClaim(placed.storeId, placed.passedBy, need));
    const control = { leave: leave.signal, cancel: cancel.signal, isFresh, publish, passFor, linesBefore };
    const run = { job, leave, settled: Promise.resolve() };
    running.add(run);
    if (isClosing) leave.abort();
    run.settled = runContainer(runParts, job, control, found)
      .then((end) => settle(job, end, placed))
      .then(() => {
        running.delete(run);
        leases.drop(job);
        release();
      });
  }

  /** Resolves when the end of a run has been handled. Never rejects. */
  async function settle(job: ClaimedJob, end: RunEnd, placed: Placed | undefined): Promise<void> {
    if (end.type === 'ENDED') return new Promise((done) => ending.add({ ...end, job, done }));
    // Before the lease is given up: otherwise a renewal would take it back.
    if (end.type === 'LEFT') leases.drop(job);
    if (end.type === 'LOST_ATTEMPT')
      log.warn({ jobId: job.id, attempt: job.attempt }, 'A container was lost with its engine, or removed from it.');
    return new Promise((done) => releasing.add({ job, end, placed, done }));
  }

  /** Takes one turn. Returns whether there may be another one to take now. */
  async function takeNext(): Promise<boolean> {
    const fullUsers = capacity.full();
    if (capacity.free === 0 || (await peekTurn(db, 'CONTAINER', fullUsers)) === undefined) return false;
    const engine = await reachedEngine(docker);
    if (engine === undefined) return false;
    const { engineId, storeId } = engine;
    const isAlone = await placement.isAlone(storeId);
    const only = isAlone ? undefined : await nextFor(storeId, fullUsers);
    if (only === 'PASSED') return true;
    if (only === undefined && !isAlone) return false;
    const claim = (tx: Db, ids: string[]) => claimJobs(tx, ids, { owner, engineId });
    const taken = await takeTurn(db, 'CONTAINER', fullUsers, claim, { engineId: storeId, only });
    if (taken === undefined) return !isAlone; // another worker has it: there may be a next one
    for (const job of taken.claimed) {
      capacity.take(job.userId);
      launch(job, () => capacity.release([job.userId]), {
        placed: { storeId, round: taken.round, passedBy: taken.passedBy },
      });
    }
    await publishEffects(parts, taken.effects);
    return true;
  }

  /** The id of the next turn, if this engine should take it. Undefined if none waits. */
  async function nextFor(storeId: string, fullUsers: string[]): Promise<string | 'PASSED' | undefined> {
    const turn = await peekTurnFor(db, 'CONTAINER', fullUsers, storeId);
    if (turn === undefined) return undefined;
    const pass = await placement.passOf(turn, storeId).catch((error: unknown) => {
      // The claim meets the same fault, and says so. Otherwise this turn would hold up all others.
      if (isEngineError(error) && !error.isAway) return undefined;
      throw error;
    });
    if (pass === undefined) return turn.id;
    await passTurn(db, turn, { by: storeId, ...pass });
    return 'PASSED';
  }

  return {
    look: poller.poll,
    adopt: (job, found) => launch(job, () => undefined, { found }),
    holds: ({ id, attempt }) => [...running].some(({ job }) => job.id === id && job.attempt === attempt),
    onCancelHint: leases.onCancelHint,

    async close(deadline = defaultDeadline()) {
      await settledBefore(poller.close(), deadline);
      isClosing = true;
      for (const { leave } of running) leave.abort();
      // One after another: a sweep under way may still adopt a container. Its run joins the set
      // while this loop runs, and leaves at once.
      for (const { settled } of running) if (!(await settledBefore(settled, deadline))) break;
      halt.abort();
      await settledBefore(leases.close(), deadline);
    },
  };
}
