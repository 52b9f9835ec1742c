import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { unlessAborted } from '../../platform/async/abort.ts';
import { retry } from '../../platform/async/retry.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { publishEffects } from '../../platform/publish.ts';
import type { Parts } from '../shared/parts.ts';
import type { CheckLine } from './check.ts';
import { publishChunks, toChunk } from './lines.ts';

export interface Finished {
  job: ClaimedJob;
  linesBefore: number;
  outcome: Pick<Outcome, 'status' | 'failureReason' | 'failureMessage'>;
  lines: CheckLine[];
  /** How many of `lines` are on the bus already. */
  sent: number;
}

/**
 * Ends a set of jobs. Their lines go onto the bus first, so an ended job has its whole log. Then
 * one statement ends all of them, and the effects are published. It retries until it succeeds.
 * Meanwhile the worker keeps the leases, and new work waits for their capacity.
 */
export function createFinisher({ db, bus, cache, log }: Parts, signal: AbortSignal) {
  return async (set: Finished[]): Promise<void> => {
    let printed = false;
    await retry({ log, what: 'Ending heartbeats', signal, atLeastOnce: true }, async () => {
      if (!printed) await print(bus, set);
      printed = true;
      const { effects } = await endJobs(db, set.map(toOutcome));
      await publishEffects({ bus, cache, log }, effects);
    }).catch(unlessAborted(signal)); // their leases expire, and another worker runs them
  };
}

function toOutcome({ job, linesBefore, outcome, lines }: Finished): Outcome {
  return {
    ...outcome,
    id: job.id,
    workflowId: job.workflowId,
    leaseToken: job.leaseToken,
    logLineCount: linesBefore + lines.length,
  };
}

async function print(bus: Bus, set: Finished[]): Promise<void> {
  const unsent = set.filter(({ lines, sent }) => lines.length > sent);
  await publishChunks(
    bus,
    await Promise.all(
      unsent.map(({ job, linesBefore, lines, sent }) => toChunk(job, linesBefore + sent, lines.slice(sent))),
    ),
  );
}
