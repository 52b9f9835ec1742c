import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import type { Bus, BusMessage } from '../../platform/bus/bus.ts';
import type { CheckLine } from './check.ts';

const MESSAGE_BYTES_MAX = 256 * 1024;

/** The lines of a check as they are stored. */
export function packCheckLines(lines: CheckLine[]): Promise<Buffer> {
  const source = 'SYSTEM'; // a check is our own code, and runs no program of the author's
  const text = lines
    .map((line) => formatLine(line.stream, line.timestamp.toISOString(), line.text, { source }))
    .join('');
  return packLines(Buffer.from(text));
}

/** The lines of a check that follow `linesBefore` others. */
export async function toChunk(job: ClaimedJob, linesBefore: number, lines: CheckLine[]): Promise<LogChunk> {
  return {
    sourceId: job.id,
    attempt: job.attempt,
    firstNumber: linesBefore + 1,
    lastNumber: linesBefore + lines.length,
    lines: await packCheckLines(lines),
  };
}

/**
 * Publishes the lines of many jobs in few messages: jobs that share a partition share a message.
 */
export async function publishChunks(bus: Bus, chunks: LogChunk[]): Promise<void> {
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
