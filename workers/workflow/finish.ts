import { type Ended, endJobs, type Outcome } from '../../db/endings.ts';
import type { ClaimedJob } from '../../db/leases.ts';
import { CANCEL_CHANNEL, encodeIds, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { createBackoff } from '../../platform/backoff.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { announce, notifiedChanges } from '../announce.ts';
import type { Parts } from '../parts.ts';
import type { RunOutcome } from './outcome.ts';

export interface Finished {
  job: ClaimedJob;
  outcome: RunOutcome;
  logLineCount: number;
  containerId: string | undefined;
}

/**
 * Ends a set of jobs by one statement, then removes their containers. In this order, because the end of a job whose container is gone could
 * not be told any more; a container that is left by a crash in between is removed by the sweep. A container whose job was not ended
 * here stays: it is another worker's. Tried again until it succeeds or `signal` aborts.
 */
export function createFinisher({ db, cache, docker, log }: Parts & { docker: Docker }, signal: AbortSignal) {
  return async (set: Finished[]): Promise<void> => {
    const backoff = createBackoff({ log, what: 'Ending container jobs' });
    while (true) {
      try {
        const ended = await endJobs(db, set.map(toOutcome));
        backoff.reset();
        const mine = set.filter(({ job }) => ended.ended.has(job.id));
        await Promise.all([
          tell(cache, mine, ended),
          ...mine.flatMap(({ containerId }) => (containerId === undefined ? [] : [remove(containerId)])),
        ]);
        return;
      } catch (error) {
        await backoff.wait(error, signal);
        if (signal.aborted) return; // their leases expire, and whoever adopts the ended containers ends them
      }
    }
  };

  async function remove(containerId: string): Promise<void> {
    try {
      await docker.removeContainer(containerId, { force: true });
    } catch (error) {
      log.warn(
        { err: error, containerId },
        'A container of an ended job could not be removed; the sweep does it later.',
      );
    }
  }
}

function toOutcome({ job, outcome, logLineCount }: Finished): Outcome {
  return { ...outcome, id: job.id, workflowId: job.workflowId, leaseToken: job.leaseToken, logLineCount };
}

async function tell(
  cache: Parts['cache'],
  ended: Finished[],
  { countedWorkflowIds, canceledBuilds, notified, woken }: Ended,
): Promise<void> {
  const counted = new Set(countedWorkflowIds);
  await announce(cache, [
    ...ended.map(({ job }) => ({
      userId: job.userId,
      jobs: [job.id],
      workflows: counted.has(job.workflowId) ? [job.workflowId] : [],
      builds: canceledBuilds.filter(({ workflowId }) => workflowId === job.workflowId).map(({ id }) => id),
    })),
    ...notifiedChanges(notified),
  ]);
  if (canceledBuilds.length > 0)
    await cache.publish(CANCEL_CHANNEL, encodeIds(canceledBuilds.map((build) => build.id)));
  if (woken) await cache.publish(SCHEDULE_CHANNEL, '');
}
