import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import { type Ended, endJobs, type Outcome } from '../../../db/jobs/finish.ts';
import { CANCEL_CHANNEL, encodeIds, SCHEDULE_CHANNEL } from '../../../domain/hints.ts';
import { unlessAborted } from '../../../platform/async/abort.ts';
import { retry } from '../../../platform/async/retry.ts';
import { announce, notifiedChanges } from '../../shared/announce.ts';
import type { Parts } from '../../shared/parts.ts';
import type { Removals } from '../engine/removals.ts';
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
 * here stays: it is another worker's. No end waits for a removal. Tried again until it succeeds or `signal` aborts.
 */
export function createFinisher({ db, cache, removals, log }: Parts & { removals: Removals }, signal: AbortSignal) {
  return async (set: Finished[]): Promise<void> => {
    await retry({ log, what: 'Ending container jobs', signal }, async () => {
      const ended = await endJobs(db, set.map(toOutcome));
      const mine = set.filter(({ job }) => ended.ended.has(job.id));
      for (const { containerId } of mine) if (containerId !== undefined) removals.remove(containerId);
      await tell(cache, mine, ended);
    }).catch(unlessAborted(signal)); // then their leases expire, and the next worker on the engine ends them
  };
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
