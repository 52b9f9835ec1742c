import { describe, expect, test } from 'vitest';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import { formatLine, type LineOptions, writeLine } from '../../domain/logs/encode.ts';
import { packLines, unpackLines } from '../../domain/logs/packing.ts';
import { createChunkWriter } from '../../workers/shared/log-collector/chunk-writer.ts';
import { readStoredLog } from '../../workers/shared/log-collector/stored-log.ts';

const LIVE = '2026-01-01T00:00:00.001000000Z';
const FILE = '2026-01-01T00:00:00.000123456Z';

/** `out 1`, or `err 1` for a line on the standard error. */
type Line = string;

function formatted(line: Line, stamp: string, options?: LineOptions): string {
  return formatLine(line.startsWith('err') ? 'STDERR' : 'STDOUT', stamp, line, options);
}

function chunk(firstNumber: number, lines: Line[], attempt = 1, options?: LineOptions): LogChunk {
  const text = lines.map((line) => formatted(line, LIVE, options)).join('');
  const lastNumber = firstNumber + lines.length - 1;
  return { sourceId: 'a', attempt, firstNumber, lastNumber, lines: Buffer.from(text) };
}

function storeOf(chunks: LogChunk[], perRead = 2) {
  return async (after: number) => chunks.filter(({ lastNumber }) => lastNumber > after).slice(0, perRead);
}

/** What a worker publishes that finds `chunks` in the store and `log` at the engine. */
async function rest(chunks: LogChunk[], log: Line[], say: string[] = []) {
  const published: LogChunk[] = [];
  const writer = createChunkWriter({
    sourceId: 'a',
    attempt: 1,
    epoch: 2,
    linesBefore: 0,
    publish: async (one) => {
      published.push(one);
    },
  });
  writer.resume(await readStoredLog(1, storeOf(chunks)));
  for (const line of log) writeLine(writer.onLine, line.startsWith('err') ? 'STDERR' : 'STDOUT', FILE, line);
  for (const text of say) writer.say(text);
  await writer.end();
  const lines: string[] = [];
  for (const { epoch, firstNumber, lines: packed } of published) {
    expect(epoch).toBe(2);
    for (const line of parseLines(await unpackLines(packed), firstNumber, 1)) lines.push(`${line.number} ${line.text}`);
  }
  return { lines, last: writer.lastNumber };
}

const numbered = (name: 'out' | 'err', from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `${name} ${from + index}`);

describe('a worker that reads a log of which lines are stored', () => {
  test('continues each stream where the store ends, though the log has another order', async () => {
    const stored = [chunk(1, ['out 1', 'out 2', 'err 1']), chunk(4, ['out 3', 'err 2'])];
    const log = ['out 1', 'err 1', 'err 2', 'err 3', 'out 2', 'out 3', 'out 4', 'err 4'];
    expect(await rest(stored, log)).toEqual({ lines: ['6 err 3', '7 out 4', '8 err 4'], last: 8 });
  });

  test('counts lines that are alike, and empty ones', async () => {
    expect(await rest([chunk(1, ['', '', 'out', 'out'])], ['', '', 'out', 'out', 'out', ''])).toEqual({
      lines: ['5 out', '6 '],
      last: 6,
    });
  });

  test('reads chunks that overlap, and leaves out those of other attempts', async () => {
    const before = chunk(1, ['out 7', 'out 8'], 0);
    const stored = [before, chunk(3, ['out 1', 'out 2']), chunk(4, ['out 2', 'out 3', 'out 4'])];
    expect(await rest(stored, numbered('out', 1, 5))).toEqual({ lines: ['7 out 5'], last: 7 });
  });

  test('unpacks chunks, and skips a log of more lines than one reading gives', async () => {
    const stored: LogChunk[] = [];
    for (let n = 0; n < 20; n += 1) {
      const one = chunk(n * 1_000 + 1, numbered('out', n * 1_000 + 1, n * 1_000 + 1_000));
      stored.push({ ...one, lines: await packLines(one.lines) });
    }
    expect(await rest(stored, numbered('out', 1, 20_001))).toEqual({ lines: ['20001 out 20001'], last: 20_001 });
  });

  test('misses nothing behind a place where the log lacks lines that came live: its engine was killed', async () => {
    const stored = [chunk(1, [...numbered('out', 1, 9), 'err 1'])];
    const log = [...numbered('out', 1, 6), ...numbered('out', 10, 12), 'err 1', 'err 2'];
    expect(await rest(stored, log)).toEqual({ lines: ['11 out 10', '12 out 11', '13 out 12', '14 err 2'], last: 14 });
  });

  test('repeats nothing behind a place where the log lacks lines in its middle: its disk was full', async () => {
    const log = [...numbered('out', 1, 3), ...numbered('out', 7, 11)];
    expect(await rest([chunk(1, numbered('out', 1, 9))], log)).toEqual({ lines: ['10 out 10', '11 out 11'], last: 11 });
  });

  test('says once what Chronoverse has to say, and a program that prints the same is no such line', async () => {
    const said = chunk(3, ['It is said.'], 1, { source: 'SYSTEM' });
    const stored = [chunk(1, ['out 1', 'It is not said.']), said];
    expect(await rest(stored, ['out 1', 'It is not said.'], ['It is said.', 'It is not said.'])).toEqual({
      lines: ['4 It is not said.'],
      last: 4,
    });
  });

  test('begins with the first line if nothing is stored', async () => {
    expect(await rest([], ['out 1'])).toEqual({ lines: ['1 out 1'], last: 1 });
  });
});
