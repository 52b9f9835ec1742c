import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { unlessAborted } from '../../platform/async/abort.ts';
import { retry } from '../../platform/async/retry.ts';
import type { Bus, BusMessage } from '../../platform/bus/bus.ts';
import { publishEffects } from '../../platform/publish.ts';
import type { Parts } from '../shared/parts.ts';
import type { CheckLine } from './check.ts';

export interface Finished {
  job: ClaimedJob;
  linesBefore: number;
  outcome: Pick<Outcome, 'status' | 'failureReason' | 'failureMessage'>;
  lines: CheckLine[];
}

const MESSAGE_BYTES_MAX = 256 * 1024;

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

/** The lines of many jobs in few messages: jobs that share a partition share a message. */
async function print(bus: Bus, set: Finished[]): Promise<void> {
  const chunks = await Promise.all(set.filter(({ lines }) => lines.length > 0).map(toChunk));
  const partitions = await Promise.all(chunks.map(({ sourceId }) => bus.partitionOf('job_logs', sourceId)));
  const open = new Map<number, { chunks: LogChunk[]; bytes: number }>();
  const messages: BusMessage[] = [];
  const send = ({ chunks }: { chunks: LogChunk[] }) => {
    const key = chunks[0]?.sourceId;
    if (key !== undefined) messages.push({ key, value: encodeChunks(chunks) });
  };
  for (const [index, chunk] of chunks.entries()) {
    const partition = partitions[index] ?? 0;
    let message = open.get(partition) ?? { chunks: [], bytes: 0 };
    if (message.bytes + chunk.lines.length > MESSAGE_BYTES_MAX) {
      send(message);
      message = { chunks: [], bytes: 0 };
    }
    message.chunks.push(chunk);
    message.bytes += chunk.lines.length;
    open.set(partition, message);
  }
  for (const message of open.values()) send(message);
  if (messages.length > 0) await bus.publish('job_logs', messages);
}

async function toChunk({ job, linesBefore, lines }: Finished): Promise<LogChunk> {
  const source = 'SYSTEM'; // a check is our own code, and runs no program of the author's
  const text = lines
    .map((line) => formatLine(line.stream, line.timestamp.toISOString(), line.text, { source }))
    .join('');
  return {
    sourceId: job.id,
    attempt: job.attempt,
    firstNumber: linesBefore + 1,
    lastNumber: linesBefore + lines.length,
    lines: await packLines(Buffer.from(text)),
  };
}
