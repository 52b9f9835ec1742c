import { parseLines, plainText } from '../../domain/logs/decode.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { logCursor } from './cursor.ts';
import type { Batch, Slice } from './follower.ts';

/** A batch as a subscriber is given it: what is not asked for is not made. */
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

/** The lines of one stream alone, or undefined where there are none. The cursor is behind those that are left out. */
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
