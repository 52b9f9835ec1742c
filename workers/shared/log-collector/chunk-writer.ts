import { CHUNK_BYTES_MAX, JOB_LOG_BYTES_MAX } from '../../../domain/limits.ts';
import { formatLine, type LogChunk, packLines } from '../../../domain/logs/chunk.ts';
import {
  completeFlag,
  continuesIn,
  type LogSource,
  type LogStream,
  streamOf,
} from '../../../domain/logs/line-flags.ts';
import type { OnLine } from './lines.ts';

/**
 * Collects lines into chunks and hands these on one after the other, in order. A chunk goes when it is full, or a few milliseconds
 * after its first line; while one is on its way the next one grows, so that chunks become larger as the bus becomes slower.
 */
export interface ChunkWriter {
  /** Copies the line. Whoever writes many asks `room` in between. */
  onLine: OnLine;
  /** Writes a line as of now: of Chronoverse itself, unless another source is given. */
  say(text: string, options?: { stream?: LogStream; source?: LogSource }): void;
  /** Undefined while there is room; else resolves when there is. Rejects when a chunk could not be handed on for good. */
  room(): Promise<void> | undefined;
  /** Resolves when all lines are handed on. Nothing may be written afterwards. */
  end(): Promise<void>;
  /** The number of the last line that was written. */
  readonly lastNumber: number;
  /** The last line's text, as much of it as tells a person something. */
  lastText(): string;
}

export interface ChunkSource {
  sourceId: string;
  attempt: number;
  /** Lines before the first one: those of earlier attempts. */
  linesBefore: number;
  /** Lines up to this number are stored already: they are counted, and not sent again. */
  storedNumber?: number;
  /**
   * The most bytes of lines, as they stand in chunks, that are taken of one attempt, with those that are stored already: whoever reads the
   * same log again cuts it at the same line. Then a line of the platform's own says so, and what comes behind it is thrown away.
   */
  bytesMax?: number | undefined;
  /** Resolves when the chunk is safe. It is called for one chunk at a time, and tries until there is no point in it any more. */
  publish: (chunk: LogChunk) => Promise<void>;
}

const FLUSH_MS_MIN = 10; // with the bus and the database a line is at its subscriber in about 20
const FLUSH_MS_MAX = 50;
const BUSY_BYTES = 32 * 1024; // a chunk that grows to this within a flush is better made larger
const FIRST_BUFFER_BYTES = 4 * 1024; // most jobs print little
/** Full chunks that wait. Beyond it the reader stops reading the engine. */
const WAITING_CHUNKS_MAX = 1;
const LAST_TEXT_BYTES_MAX = 512;
const LF = '\n';
const SPACE = 0x20;

interface Waiting {
  firstNumber: number;
  lastNumber: number;
  text: Buffer;
}

export function createChunkWriter(source: ChunkSource): ChunkWriter {
  const stored = source.storedNumber ?? 0;
  const bytesMax = source.bytesMax ?? JOB_LOG_BYTES_MAX;
  const waiting: Waiting[] = [];
  let buffer = Buffer.allocUnsafe(FIRST_BUFFER_BYTES);
  let length = 0;
  let number = source.linesBefore;
  let firstNumber = 0; // of the buffer's lines
  let taken = 0; // bytes of lines, those that are stored already too
  let isCutOff = false;
  const continued = new Set<number>(); // streams whose last line goes on in their next one, by the flag of a complete line
  let flushMs = FLUSH_MS_MIN;
  let timer: NodeJS.Timeout | undefined;
  let dueAt = 0;
  let sending: Promise<void> | undefined;
  let failure: { error: unknown } | undefined;
  let lastText = Buffer.alloc(0);

  function append(flag: number, bytes: Buffer, start: number, end: number): void {
    if (isCutOff) return;
    taken += 1 + end - start;
    if (taken > bytesMax) {
      cutOff(bytes, start);
      return;
    }
    if (continuesIn(flag)) continued.add(completeFlag(flag));
    else if (continued.size > 0) continued.delete(flag);
    put(flag, bytes, start, end);
  }

  function cutOff(bytes: Buffer, start: number): void {
    isCutOff = true;
    const timestamp = bytes.toString('latin1', start, bytes.indexOf(SPACE, start)); // of the line that is left out
    const ends = [...continued].map((flag) => formatLine(streamOf(flag), timestamp, '')); // or our line would be taken for what they go on in
    for (const text of [...ends, formatLine('STDERR', timestamp, cutOffText(bytesMax), { source: 'SYSTEM' })]) {
      const line = Buffer.from(text);
      put(line[0] ?? 0, line, 1, line.length);
    }
  }

  function put(flag: number, bytes: Buffer, start: number, end: number): void {
    if (number < stored) {
      number += 1;
      return;
    }
    const needed = 1 + end - start;
    if (length + needed > buffer.length) grow(needed);
    if (length === 0) begin();
    buffer[length] = flag;
    bytes.copy(buffer, length + 1, start, end);
    length += needed;
    number += 1;
  }

  function grow(needed: number): void {
    if (length + needed > CHUNK_BYTES_MAX && length > 0) {
      cut();
      send();
    }
    if (length + needed <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, Math.min(CHUNK_BYTES_MAX, 2 * Math.max(buffer.length, needed))));
    buffer.copy(larger, 0, 0, length);
    buffer = larger;
  }

  function begin(): void {
    firstNumber = number + 1;
    dueAt = performance.now() + flushMs;
    if (sending === undefined) arm();
  }

  function arm(): void {
    timer ??= setTimeout(
      () => {
        timer = undefined;
        flush();
      },
      Math.max(0, dueAt - performance.now()),
    );
  }

  function flush(): void {
    if (sending !== undefined) return; // what it ends with looks again
    flushMs = length >= BUSY_BYTES ? Math.min(FLUSH_MS_MAX, flushMs * 2) : FLUSH_MS_MIN;
    cut();
    send();
  }

  /** The buffer's lines become a chunk that waits. */
  function cut(): void {
    if (length === 0) return;
    const text = buffer.subarray(0, length);
    const from = text.lastIndexOf(LF, -2) + 1;
    lastText = Buffer.from(text.subarray(from, Math.min(length, from + LAST_TEXT_BYTES_MAX)));
    waiting.push({ firstNumber, lastNumber: number, text });
    buffer = Buffer.allocUnsafe(length < FIRST_BUFFER_BYTES ? FIRST_BUFFER_BYTES : buffer.length);
    length = 0;
  }

  function send(): void {
    if (sending !== undefined || failure !== undefined || waiting.length === 0) return;
    sending = sendWaiting()
      .catch((error: unknown) => {
        failure = { error };
      })
      .finally(() => {
        sending = undefined;
        if (length > 0 && failure === undefined) arm();
      });
  }

  async function sendWaiting(): Promise<void> {
    for (let chunk = waiting[0]; chunk !== undefined; chunk = waiting[0]) {
      const { sourceId, attempt } = source;
      const { firstNumber, lastNumber } = chunk;
      await source.publish({ sourceId, attempt, firstNumber, lastNumber, lines: await packLines(chunk.text) });
      waiting.shift();
    }
  }

  async function drain(most: number): Promise<void> {
    while (waiting.length > most || (most === 0 && length > 0)) {
      if (failure !== undefined) throw failure.error;
      if (most === 0) cut();
      send();
      await sending;
    }
    if (failure !== undefined) throw failure.error;
  }

  return {
    onLine: append,
    say: (text, { stream = 'STDOUT', source = 'SYSTEM' } = {}) => {
      const line = Buffer.from(formatLine(stream, new Date().toISOString(), text.replaceAll(LF, ' '), { source }));
      append(line[0] ?? 0, line, 1, line.length);
    },
    room: () => (failure === undefined && waiting.length <= WAITING_CHUNKS_MAX ? undefined : drain(WAITING_CHUNKS_MAX)),
    end: async () => {
      clearTimeout(timer);
      timer = undefined;
      await drain(0);
    },
    get lastNumber() {
      return Math.max(number, stored); // a log may be cut before what is stored, when the maximum was made smaller meanwhile
    },
    lastText: () => {
      const text = length > 0 ? buffer.subarray(0, length) : lastText;
      const from = text.lastIndexOf(LF, -2) + 1;
      return text
        .toString('utf8', text.indexOf(' ', from) + 1, Math.min(text.length, from + LAST_TEXT_BYTES_MAX))
        .trimEnd();
    },
  };
}

function cutOffText(bytesMax: number): string {
  const bytes = bytesMax.toLocaleString('en');
  return `The log was cut here: ${bytes} bytes of it are kept at most. What printed it goes on, and nothing more of that is kept.`;
}
