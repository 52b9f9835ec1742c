import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseLines } from '../../domain/logs/decode.ts';
import { createLineCutter, createTextCutter } from '../../workers/shared/log-collector/lines.ts';
import { createPosition } from '../../workers/shared/log-collector/position.ts';

const KIB_16 = 16 * 1024;
const KIB_64 = 64 * 1024;

interface Frame {
  stream: 1 | 2;
  /** Milliseconds after the first frame. */
  at: number;
  text: Buffer;
}

function frame(stream: 1 | 2, text: string | Buffer, at = 0): Frame {
  return { stream, at, text: Buffer.isBuffer(text) ? text : Buffer.from(text) };
}

function bytesOf({ at, text }: Frame): Buffer {
  const stamp = new Date(Date.UTC(2026, 0, 1) + at).toISOString().replace('Z', '000000Z');
  return Buffer.concat([Buffer.from(`${stamp} `), text]);
}

function cut(frames: Frame[]) {
  const chunk: Buffer[] = [];
  const cutter = createLineCutter((flag, bytes, start, end) =>
    chunk.push(Buffer.from([flag]), Buffer.from(bytes.subarray(start, end))),
  );
  for (const one of frames) {
    const bytes = bytesOf(one);
    cutter.onFrame(one.stream, bytes, 0, bytes.length);
  }
  cutter.end();
  return parseLines(Buffer.concat(chunk), 1, 1);
}

function texts(frames: Frame[]) {
  return cut(frames).map(({ stream, text, continues }) => `${stream}${continues ? '+' : ''} ${text}`);
}

test('a frame is a line, including empty ones and those with a carriage return or NUL', () => {
  expect(texts([frame(1, 'a\n'), frame(2, '\n'), frame(1, 'b\r\n'), frame(1, 'c\0d\n')])).toEqual([
    'STDOUT a',
    'STDERR ',
    'STDOUT b\r',
    'STDOUT c\0d',
  ]);
});

test('a last line without a newline is a line', () => {
  expect(texts([frame(1, 'a\n'), frame(1, 'b')])).toEqual(['STDOUT a', 'STDOUT b']);
  expect(texts([frame(1, 'x'.repeat(KIB_16))])).toEqual([`STDOUT ${'x'.repeat(KIB_16)}`]);
});

test('pieces of 16 KiB form one line, even around frames of the other stream, with or without a last newline', () => {
  const piece = 'x'.repeat(KIB_16);
  const expected = ['STDERR e', `STDOUT ${piece}${piece}end`, 'STDOUT after'];
  const begin = [frame(1, piece), frame(2, 'e\n', 1), frame(1, piece)];
  expect(texts([...begin, frame(1, 'end\n'), frame(1, 'after\n', 2)])).toEqual(expected);
  expect(texts([...begin, frame(1, 'end'), frame(1, 'after\n', 2)])).toEqual(expected);
});

test('a line of exactly 16 KiB whose newline comes separately is one line', () => {
  const piece = 'x'.repeat(KIB_16);
  expect(texts([frame(1, piece), frame(1, '\n'), frame(1, 'after\n')])).toEqual([`STDOUT ${piece}`, 'STDOUT after']);
  expect(texts([frame(1, piece), frame(1, ''), frame(1, 'after\n')])).toEqual([`STDOUT ${piece}`, 'STDOUT after']);
});

test('a character that the engine divided between two pieces is joined again', () => {
  const text = Buffer.from(`${'x'.repeat(KIB_16 - 2)}😀tail\n`);
  expect(texts([frame(1, text.subarray(0, KIB_16)), frame(1, text.subarray(KIB_16))])).toEqual([
    `STDOUT ${'x'.repeat(KIB_16 - 2)}😀tail`,
  ]);
});

test('a line over 64 KiB comes in pieces marked as continuing, none divided within a character', () => {
  // Each é has two bytes, so the boundary of 64 KiB lies within one.
  const text = Buffer.from(`y${'é'.repeat(KIB_64)}\n`);
  const frames = Array.from({ length: Math.ceil(text.length / KIB_16) }, (_, n) =>
    frame(1, text.subarray(n * KIB_16, (n + 1) * KIB_16)),
  );
  const lines = cut(frames);
  expect(lines.map(({ continues }) => continues)).toEqual([true, true, false]);
  expect(lines.map(({ text }) => text).join('')).toBe(text.toString().trimEnd());
  expect(Math.max(...lines.map(({ text }) => Buffer.byteLength(text)))).toBeLessThanOrEqual(KIB_64);
});

test('a line of exactly 64 KiB does not continue', () => {
  const piece = 'x'.repeat(KIB_16);
  expect(cut([frame(1, piece), frame(1, piece), frame(1, piece), frame(1, piece), frame(1, '\n')])).toMatchObject([
    { text: piece.repeat(4), continues: false },
  ]);
});

const aLine = fc.record({
  stream: fc.constantFrom<(1 | 2)[]>(1, 2),
  after: fc.oneof(fc.nat(30), fc.nat(5_000)),
  bytes: fc.oneof(fc.nat(20), fc.constantFrom(KIB_16, 2 * KIB_16, KIB_64, KIB_64 + 1, 100_000)),
});

/**
 * Frames as the engine writes them: timestamps that may be out of order by some milliseconds, and
 * interleaved pieces of both streams.
 */
function engineLog(lines: { stream: 1 | 2; after: number; bytes: number }[]): Frame[] {
  let at = 0;
  const queues: Record<1 | 2, Frame[]> = { 1: [], 2: [] };
  for (const [n, { stream, after, bytes }] of lines.entries()) {
    at += after;
    const text = Buffer.concat([Buffer.alloc(bytes, 97 + (n % 26)), Buffer.from('\n')]);
    for (let from = 0; from < text.length; from += KIB_16)
      queues[stream].push(frame(stream, text.subarray(from, from + KIB_16), at));
  }
  const log: Frame[] = [];
  while (queues[1].length + queues[2].length > 0) {
    const [first, second] = [queues[1][0], queues[2][0]];
    const next = second === undefined || (first !== undefined && first.at <= second.at + 20) ? queues[1] : queues[2];
    log.push(...next.splice(0, 1));
  }
  return log;
}

test('a second reading from where the first one stopped gives the same lines as one reading', () => {
  fc.assert(
    fc.property(fc.array(aLine, { maxLength: 60 }), fc.nat(200), (lines, breakAt) => {
      const log = engineLog(lines);
      const read: Frame[] = [];
      const position = createPosition();
      const cutter = createLineCutter(() => undefined);
      for (const one of log.slice(0, breakAt)) {
        const bytes = bytesOf(one);
        position.count(bytes, 0);
        cutter.onFrame(one.stream, bytes, 0, bytes.length);
        read.push(one);
      }
      const { since, skip } = position.resume(cutter.openSince());
      const sinceMs = since === undefined ? 0 : Number(since) * 1000 - Date.UTC(2026, 0, 1);
      read.push(...log.filter(({ at }) => at >= sinceMs - 0.001).slice(skip));
      expect(read).toEqual(log);
    }),
  );
});

/**
 * Output of one stream as the driver `local` keeps it: pieces of 16 KiB, the last one of them
 * without its newline.
 */
function logOf(stream: 1 | 2, output: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let start = 0; start < output.length; ) {
    const newline = output.indexOf(0x0a, start);
    const end = newline === -1 ? output.length : newline;
    let from = start;
    for (; end - from >= KIB_16; from += KIB_16) frames.push(frame(stream, output.subarray(from, from + KIB_16)));
    const isPiece = from > start;
    if (newline !== -1) frames.push(frame(stream, output.subarray(from, isPiece ? end : end + 1)));
    else if (end > from) frames.push(frame(stream, output.subarray(from, end)));
    start = end + 1;
  }
  return frames;
}

/** Lines of a live output, which arrives in parts of these sizes. */
function cutLive(outputs: Record<1 | 2, Buffer>, sizes: number[]) {
  const chunk: Buffer[] = [];
  const cutter = createTextCutter((flag, bytes, start, end) =>
    chunk.push(Buffer.from([flag]), Buffer.from(bytes.subarray(start, end))),
  );
  const at = { 1: 0, 2: 0 };
  for (let n = 0; at[1] < outputs[1].length || at[2] < outputs[2].length; n += 1) {
    const stream = n % 2 === 0 ? 1 : 2;
    const size = sizes[n % sizes.length] ?? 1;
    const part = outputs[stream].subarray(at[stream], at[stream] + size);
    at[stream] += part.length;
    cutter.setTime(new Date(n));
    cutter.onFrame(stream, Buffer.concat([Buffer.from('x'), part, Buffer.from('\n')]), 1, 1 + part.length);
  }
  cutter.end();
  return parseLines(Buffer.concat(chunk), 1, 1);
}

const output = fc
  .array(
    fc.oneof(
      fc.constantFrom('', 'a', '\r', '\0', 'é😀', ' '),
      fc
        .constantFrom(KIB_16 - 1, KIB_16, KIB_16 + 1, 2 * KIB_16, KIB_64, KIB_64 + 1, 3 * KIB_64)
        .map((n) => 'x'.repeat(n)),
      fc.constant(`y${'é'.repeat(KIB_64)}`),
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    ),
    { maxLength: 12 },
  )
  .chain((lines) => fc.boolean().map((ends) => ({ lines, ends })))
  .map(({ lines, ends }) => {
    const text = Buffer.concat(lines.flatMap((line) => [Buffer.from(line), Buffer.from('\n')]));
    return ends ? text : text.subarray(0, -1);
  });

test('live output gives the lines of the log, per stream, however it is divided', () => {
  fc.assert(
    fc.property(output, output, fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1 }), (out, err, sizes) => {
      const live = cutLive({ 1: out, 2: err }, sizes);
      const stored = cut([...logOf(1, out), ...logOf(2, err)]);
      const of = (lines: typeof live, stream: string) =>
        lines.filter((line) => line.stream === stream).map(({ text, continues }) => ({ text, continues }));
      for (const stream of ['STDOUT', 'STDERR']) expect(of(live, stream)).toEqual(of(stored, stream));
    }),
    { numRuns: 60 },
  );
});

test('a live line has the time at which its first part came, as the engine writes it', () => {
  const lines = cutLive({ 1: Buffer.from('abc\n'), 2: Buffer.alloc(0) }, [2]);
  expect(lines).toMatchObject([{ text: 'abc', timestamp: '1970-01-01T00:00:00.000000000Z' }]);
});
