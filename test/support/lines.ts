import { eq } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { logChunks } from '../../db/schema.ts';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { packLines, unpackLines } from '../../domain/logs/packing.ts';
import type { Bus } from '../../platform/bus/bus.ts';

/**
 * A chunk with the lines "line 1 é", "line 2 é" and so on. Lines with even numbers are on STDERR.
 */
export async function numberedChunk(sourceId: string, firstNumber: number, lastNumber: number): Promise<LogChunk> {
  const lines = Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) =>
    formatLine(
      (firstNumber + n) % 2 ? 'STDOUT' : 'STDERR',
      '2026-01-01T00:00:00.000000001Z',
      `line ${firstNumber + n} é`,
    ),
  );
  return { sourceId, attempt: 1, firstNumber, lastNumber, lines: await packLines(Buffer.from(lines.join(''))) };
}

/** The text of the lines of numberedChunk. */
export function numberedText(firstNumber: number, lastNumber: number): string {
  return Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) => `line ${firstNumber + n} é\n`).join('');
}

/** Publishes and stores chunks, as the log collector and the joblogs worker do. */
export async function print({ db, bus }: { db: Db; bus: Bus }, ...chunks: LogChunk[]): Promise<void> {
  for (const chunk of chunks) {
    await bus.publish('job_logs', [{ key: chunk.sourceId, value: encodeChunks([chunk]) }]);
    await insertChunks(db, [chunk]);
  }
}

/**
 * The stored lines of a job or build as a reader sees them. Chunks may overlap; each line is read
 * once.
 */
export async function readLines(db: Db, sourceId: string): Promise<LogLine[]> {
  const chunks = await db
    .select()
    .from(logChunks)
    .where(eq(logChunks.sourceId, sourceId))
    .orderBy(logChunks.firstNumber);
  const lines: LogLine[] = [];
  for (const chunk of chunks) {
    const all = parseLines(await unpackLines(chunk.lines), chunk.firstNumber, chunk.attempt);
    for (const line of all) if (line.number > (lines.at(-1)?.number ?? 0)) lines.push(line);
  }
  return lines;
}
