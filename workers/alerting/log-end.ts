import type { Db } from '../../db/client.ts';
import { chunksOfLogs } from '../../db/logs/read.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import { unpackLines } from '../../domain/logs/packing.ts';

/** How many lines an alert shows. Its text has room for a thousand characters of them. */
const LINES_MAX = 10;
const CHUNKS_MAX = 4;
/** The last chunk alone may have as many. */
const BYTES_MAX = 512 * 1024;

/**
 * The last stored lines of a job, oldest first. They are masked already. Parts of a long line count
 * as lines.
 */
export async function logEnd(db: Db, jobId: string): Promise<string[]> {
  const place = { sourceId: jobId, at: null, count: CHUNKS_MAX };
  const [chunks = []] = await chunksOfLogs(db, [place], { backwards: true, bytesMax: BYTES_MAX });
  const lines = new Map<number, string>();
  for (const { lines: packed, firstNumber, attempt } of chunks) {
    // Chunks may overlap. The newest one comes first.
    for (const { number, text } of parseLines(await unpackLines(packed), firstNumber, attempt))
      if (!lines.has(number)) lines.set(number, text);
    if (lines.size >= LINES_MAX) break;
  }
  const numbers = [...lines.keys()].sort((a, b) => a - b).slice(-LINES_MAX);
  return numbers.map((number) => lines.get(number) ?? '');
}
