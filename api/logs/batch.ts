import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import { parseLines, plainText } from '../../domain/logs/decode.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { logCursor } from './cursor.ts';
import type { SharedChunk } from './store.ts';

/** The lines of a chunk from `from` on. */
export interface Slice {
  chunk: SharedChunk;
  from: number;
}

/** Lines that follow each other without a gap. */
export interface Batch {
  slices: Slice[];
  firstNumber: number;
  lastNumber: number;
}

const TEXT_BYTES_MAX = CHUNK_BYTES_MAX;
export const SLICES_MAX = 256;

/** Batches of a bounded size from line `next` on, to the first gap. Chunks may overlap. */
export function* batchesOf(chunks: SharedChunk[], next: number): Generator<Batch, void, undefined> {
  let slices: Slice[] = [];
  let bytes = 0;
  let firstNumber = next;
  let number = next;
  for (const chunk of chunks) {
    if (chunk.lastNumber < number) continue;
    if (chunk.firstNumber > number) break;
    if (slices.length > 0 && (bytes + chunk.textBytes > TEXT_BYTES_MAX || slices.length >= SLICES_MAX)) {
      yield { slices, firstNumber, lastNumber: number - 1 };
      slices = [];
      bytes = 0;
      firstNumber = number;
    }
    slices.push({ chunk, from: number });
    bytes += chunk.textBytes;
    number = chunk.lastNumber + 1;
  }
  if (slices.length > 0) yield { slices, firstNumber, lastNumber: number - 1 };
}

/** The lines of a batch from `next` on, which it holds. */
export function cutBatch({ slices, lastNumber }: Batch, next: number): Batch {
  const left = slices.filter(({ chunk }) => chunk.lastNumber >= next);
  const cut = left.map(({ chunk, from }) => ({ chunk, from: Math.max(from, next) }));
  return { slices: cut, firstNumber: next, lastNumber };
}

/** A batch as a subscriber gets it. Only the fields that the client selects are made. */
export interface LogBatchShape {
  firstNumber: number;
  lastNumber: number;
  cursor: string;
  lines(): Promise<LogLine[]>;
  text(): Promise<string>;
}

export function wholeBatch(sourceId: string, { slices, firstNumber, lastNumber }: Batch): LogBatchShape {
  return {
    firstNumber,
    lastNumber,
    cursor: logCursor(sourceId, lastNumber),
    lines: async () => (await Promise.all(slices.map(linesOf))).flat(),
    text: async () => (await Promise.all(slices.map(textOf))).join(''),
  };
}

/**
 * The lines of one stream, or undefined if the batch has none of it. The cursor lies behind the
 * lines that are left out.
 */
export async function batchOfStream(
  sourceId: string,
  { slices, lastNumber }: Batch,
  stream: LogLine['stream'],
): Promise<LogBatchShape | undefined> {
  const all = (await Promise.all(slices.map(linesOf))).flat();
  const lines = all.filter((line) => line.stream === stream);
  const [first, last] = [lines[0], lines.at(-1)];
  if (!first || !last) return undefined;
  return {
    firstNumber: first.number,
    lastNumber: last.number,
    cursor: logCursor(sourceId, lastNumber),
    lines: async () => lines,
    text: async () => lines.map((line) => (line.continues ? line.text : `${line.text}\n`)).join(''),
  };
}

async function linesOf({ chunk, from }: Slice): Promise<LogLine[]> {
  const lines = parseLines(await chunk.lines(), chunk.firstNumber, chunk.attempt);
  return from === chunk.firstNumber ? lines : lines.slice(from - chunk.firstNumber);
}

async function textOf({ chunk, from }: Slice): Promise<string> {
  return plainText(await chunk.lines(), from - chunk.firstNumber);
}
