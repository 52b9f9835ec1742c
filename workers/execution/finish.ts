import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { unlessAborted } from '../../platform/async/abort.ts';
import { retry } from '../../platform/async/retry.ts';
import { publishEffects } from '../../platform/publish.ts';
import type { Parts } from '../shared/parts.ts';
import type { CheckLine } from './check.ts';
import { packCheckLines } from './lines.ts';

export interface Finished {
  job: ClaimedJob;
  linesBefore: number;
  outcome: Pick<Outcome, 'status' | 'failureReason' | 'failureMessage' | 'isFinal'>;
  lines: CheckLine[];
  /** How many of `lines` are on the bus already. */
  sent: number;
}

/**
 * Ends a set of jobs. One statement stores the lines that are not on the bus yet and ends all of
 * them, so an ended job has its whole log; then the effects are published. It retries until it
 * succeeds. Meanwhile the worker keeps the leases, and new work waits for their capacity.
 *
 * The lines of a quick check are never on the bus: subscribers learn of the end from the hint that
 * follows it, or from their next look, and read the lines from the store.
 */
export function createFinisher({ db, bus, cache, log }: Parts, signal: AbortSignal) {
  return async (set: Finished[]): Promise<void> => {
    for (const outcomes of statements(await toOutcomes(set)))
      await retry({ log, what: 'Ending heartbeats', signal, atLeastOnce: true }, async () => {
        const { effects } = await endJobs(db, outcomes);
        await publishEffects({ bus, cache, log }, effects);
      }).catch(unlessAborted(signal)); // their leases expire, and another worker runs them
  };
}

/** The lines in one statement, packed. Nearly always a whole set has less. */
const LINES_BYTES_MAX = 4 * 1024 * 1024;

function* statements(outcomes: Outcome[]): Generator<Outcome[]> {
  let part: Outcome[] = [];
  let bytes = 0;
  for (const outcome of outcomes) {
    const own = outcome.lastLines?.lines.length ?? 0;
    if (part.length > 0 && bytes + own > LINES_BYTES_MAX) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(outcome);
    bytes += own;
  }
  if (part.length > 0) yield part;
}

async function toOutcomes(set: Finished[]): Promise<Outcome[]> {
  const unsent = set.map(({ lines, sent }) => (sent === 0 ? lines : lines.slice(sent)));
  // Jobs of one set share the result of one check of the platform.
  const packed = new Map<CheckLine[], Buffer>();
  await Promise.all([...new Set(unsent)].map(async (lines) => packed.set(lines, await packCheckLines(lines))));
  return set.map(({ job, linesBefore, outcome, lines, sent }, index): Outcome => {
    const last = unsent[index] ?? [];
    const text = last.length === 0 ? undefined : packed.get(last);
    return {
      id: job.id,
      workflowId: job.workflowId,
      leaseToken: job.leaseToken,
      status: outcome.status,
      failureReason: outcome.failureReason,
      failureMessage: outcome.failureMessage,
      isFinal: outcome.isFinal,
      logLineCount: linesBefore + lines.length,
      lastLines: text && { firstNumber: linesBefore + sent + 1, lines: text },
    };
  });
}
