import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../../db/jobs/finish.ts';
import { unlessAborted } from '../../../platform/async/abort.ts';
import { retry } from '../../../platform/async/retry.ts';
import { publishEffects } from '../../../platform/publish.ts';
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
 * Ends a set of jobs by one statement, then removes their containers. The order matters: without
 * its container, no worker could find out how a job ended. If a crash in between leaves a
 * container, the sweep removes it. A container whose job did not end here stays: it belongs to
 * another worker. No end waits for a removal. The function retries until it succeeds or `signal`
 * aborts.
 */
export function createFinisher({ db, bus, cache, removals, log }: Parts & { removals: Removals }, signal: AbortSignal) {
  return async (set: Finished[]): Promise<void> => {
    await retry({ log, what: 'Ending container jobs', signal, atLeastOnce: true }, async () => {
      const { ended, effects } = await endJobs(db, set.map(toOutcome));
      for (const { job, containerId } of set)
        if (containerId !== undefined && ended.has(job.id)) removals.remove(containerId);
      await publishEffects({ bus, cache, log }, effects);
      // After an abort the leases expire, and the next worker on the engine ends the jobs.
    }).catch(unlessAborted(signal));
  };
}

function toOutcome({ job, outcome, logLineCount }: Finished): Outcome {
  return { ...outcome, id: job.id, workflowId: job.workflowId, leaseToken: job.leaseToken, logLineCount };
}
