import { type ClaimedJob, claimJobs } from '../../../db/jobs/claim.ts';
import { type Returned, releaseJobs, returnJobs } from '../../../db/jobs/leases.ts';
import { peekTurn, takeTurn } from '../../../db/jobs/turns.ts';
import { lastLogNumber } from '../../../db/logs/read.ts';
import { noteVolumeUse } from '../../../db/volumes.ts';
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
import type { Attempt } from './container.ts';
import { createFinisher, type Finished } from './finish.ts';
import { type RunEnd, runContainer } from './run.ts';
import type { RunParts } from './run-context.ts';

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
}

const SET_SIZE_MAX = 1_000;

/** The CONTAINER jobs that this process runs. */
export function createContainerJobs(
  parts: Parts &
    Omit<RunParts, 'noteVolumeUse' | 'lastLogNumber'> & {
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
  const finish = createFinisher(parts, halt.signal);
  const runParts: RunParts = {
    ...parts,
    noteVolumeUse: (use) => noteVolumeUse(db, use),
    lastLogNumber: (jobId) => lastLogNumber(db, jobId),
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
    const used = of('REFUSED', 'LOST_ATTEMPT');
    await releaseJobs(db, jobsOf(of('LEFT')));
    await afterReturn(await returnJobs(db, jobsOf(of('NOT_STARTED'))), of('NOT_STARTED'));
    await afterReturn(await returnJobs(db, jobsOf(used), { counted: true }), used);
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

  function launch(job: ClaimedJob, release: () => void, found?: string): void {
    const leave = new AbortController();
    const cancel = new AbortController();
    leases.hold(job, (reason) => (reason === 'LOST' ? leave : cancel).abort());
    if (job.cancelRequested) cancel.abort();
    const isFresh = () => leases.isFresh(job);
    const publish = createPublisher({ bus, log, isFresh, signal: leave.signal });
    const linesBefore = () => settledLinesBefore({ db, log, publish, signal: leave.signal }, job);
    const control = { leave: leave.signal, cancel: cancel.signal, isFresh, publish, linesBefore };
    const run = { job, leave, settled: Promise.resolve() };
    running.add(run);
    if (isClosing) leave.abort();
    run.settled = runContainer(runParts, job, control, found)
      .then((end) => settle(job, end))
      .then(() => {
        running.delete(run);
        leases.drop(job);
        release();
      });
  }

  /** Resolves when the end of a run has been handled. Never rejects. */
  async function settle(job: ClaimedJob, end: RunEnd): Promise<void> {
    if (end.type === 'ENDED') return new Promise((done) => ending.add({ ...end, job, done }));
    // Before the lease is given up: otherwise a renewal would take it back.
    if (end.type === 'LEFT') leases.drop(job);
    if (end.type === 'LOST_ATTEMPT')
      log.warn({ jobId: job.id, attempt: job.attempt }, 'A container was lost with its engine, or removed from it.');
    return new Promise((done) => releasing.add({ job, end, done }));
  }

  /** Takes one turn. Returns whether there may be another one to take now. */
  async function takeNext(): Promise<boolean> {
    if (
      capacity.free === 0 ||
      (await peekTurn(db, 'CONTAINER', capacity.full())) === undefined ||
      !(await docker.isUp())
    )
      return false;
    let engineId: string;
    try {
      engineId = await docker.engineId();
    } catch (error) {
      if (isEngineError(error)) return false; // the engine has just gone away
      throw error;
    }
    const taken = await takeTurn(db, 'CONTAINER', capacity.full(), (tx, ids) =>
      claimJobs(tx, ids, { owner, engineId }),
    );
    if (taken === undefined) return false;
    for (const job of taken.claimed) {
      capacity.take(job.userId);
      launch(job, () => capacity.release([job.userId]));
    }
    await publishEffects(parts, taken.effects);
    return true;
  }

  return {
    look: poller.poll,
    adopt: (job, containerId) => launch(job, () => undefined, containerId),
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
