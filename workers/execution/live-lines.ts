import type { Logger } from 'pino';
import type { ClaimedJob } from '../../db/jobs/claim.ts';
import type { LeaseKey } from '../../db/lease.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import type { CheckLine } from './check.ts';
import { publishChunks, toChunk } from './lines.ts';

/** A check that runs, and what is known of its lines. */
export interface RunningCheck {
  job: ClaimedJob;
  /** Grows while the check runs. */
  lines: CheckLine[];
  /** The lines of earlier attempts. Undefined until their number is settled. */
  linesBefore: number | undefined;
  /** How many of `lines` are safe on the bus. The end sends the others. */
  sent: number;
  /** Whether the bus may have lines of this attempt. True before the first of them is published. */
  mayHavePrinted: boolean;
  /** Whether a pass has met it. */
  isSlow: boolean;
}

/** A check that ends within one to two of these sends its lines with its end, and costs no more. */
const PASS_EVERY_MS = 100;

/**
 * Publishes the lines of slow checks while they run. One timer serves all checks, and one pass
 * sends the new lines of all of them in few messages: a timer or a message for each check would
 * cost more than a quick check itself.
 *
 * A pass does not know whether lines are on the bus when publishing fails, or while it goes on. The
 * next pass, or the end, then publishes them again in a chunk that begins at the same line and ends
 * at the same or a later one. The store keeps the longer chunk, and readers skip lines that they
 * have read. After the lease nothing is published: the next attempt's marker follows these lines.
 */
export function startLiveLines({
  bus,
  log,
  running,
  isFresh,
}: {
  bus: Bus;
  log: Logger;
  running: Iterable<RunningCheck>;
  isFresh: (lease: LeaseKey) => boolean;
}): () => Promise<void> {
  const options = { log, what: 'Publishing lines of running checks', everyMs: PASS_EVERY_MS, waitsFirst: true };
  return startRepeating(options, async () => {
    const due: { check: RunningCheck; linesBefore: number; upTo: number }[] = [];
    for (const check of running) {
      const { isSlow, linesBefore, lines, sent } = check;
      if (isSlow && linesBefore !== undefined && lines.length > sent)
        due.push({ check, linesBefore, upTo: lines.length });
      check.isSlow = true;
    }
    if (due.length === 0) return;
    const packed = await Promise.all(
      due.map(async (one) => {
        const { check, linesBefore, upTo } = one;
        const lines = check.lines.slice(check.sent, upTo);
        return { ...one, chunk: await toChunk(check.job, linesBefore + check.sent, lines) };
      }),
    );
    const fresh = packed.filter(({ check }) => isFresh(check.job));
    for (const { check } of fresh) check.mayHavePrinted = true;
    await publishChunks(
      bus,
      fresh.map(({ chunk }) => chunk),
    );
    for (const { check, upTo } of fresh) check.sent = upTo;
  });
}
