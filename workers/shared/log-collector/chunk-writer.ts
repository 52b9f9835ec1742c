import { JOB_LOG_BYTES_MAX } from '../../../domain/limits.ts';
import type { LogChunk } from '../../../domain/logs/chunk.ts';
import {
  LineBuffer,
  lastLineOf,
  type OnLine,
  printedText,
  timestampAt,
  writeLine,
} from '../../../domain/logs/encode.ts';
import type { LogSource, LogStream } from '../../../domain/logs/line.ts';
import { completeFlag, continuesIn, streamOf } from '../../../domain/logs/line-flags.ts';
import { packLines } from '../../../domain/logs/packing.ts';
import type { StoredLog } from './stored-log.ts';

/**
 * Collects lines into chunks and publishes the chunks one after the other, in order. It sends a
 * chunk when the chunk is full, or a few milliseconds after its first line. While one chunk is on
 * its way, the next one grows: the slower the bus, the larger the chunks.
 */
export interface ChunkWriter {
  /** Copies the line. A caller that writes many lines awaits `room` in between. */
  onLine: OnLine;
  /**
   * Writes a line with the present time. The line is Chronoverse's own, unless another source is
   * given.
   */
  say(text: string, options?: { stream?: LogStream; source?: LogSource }): void;
  /**
   * Undefined while there is room. Otherwise it resolves when there is room, and rejects when a
   * chunk could not be published for good.
   */
  room(): Promise<void> | undefined;
  /** Resolves when all lines are published. Write nothing meanwhile. */
  end(): Promise<void>;
  /**
   * From now on the container's log is written from its beginning. Lines that are stored are left
   * out; the first one that is not follows the last stored number.
   */
  resume(stored: StoredLog): void;
  /** The number of the last line that was written. */
  readonly lastNumber: number;
  /** The beginning of the last line's text. */
  lastText(): string;
}

export interface ChunkSource {
  sourceId: string;
  attempt: number;
  /** Undefined for the attempt (domain/logs/chunk.ts). */
  epoch?: number;
  /** How many lines there are before the first one. */
  linesBefore: number;
  /**
   * The most bytes of lines to keep of one attempt, counted as they stand in chunks. Stored lines
   * count too, so that every worker cuts a log at the same place. A line of Chronoverse's own
   * says that the log was cut, and the writer drops the rest.
   */
  bytesMax?: number | undefined;
  /**
   * Resolves when the chunk is safe. It receives one chunk at a time, and retries until that is
   * pointless.
   */
  publish: (chunk: LogChunk) => Promise<void>;
}

const FLUSH_MS_MIN = 10; // a line takes about 20 ms through bus and database to its subscriber
const FLUSH_MS_MAX = 50;
const BUSY_BYTES = 32 * 1024; // a chunk that reaches this within a flush is better made larger
/** How many full chunks may wait. Beyond this the collector stops reading from the engine. */
const WAITING_CHUNKS_MAX = 1;
const LAST_TEXT_BYTES_MAX = 512;

interface Waiting {
  firstNumber: number;
  lastNumber: number;
  text: Buffer;
}

export function createChunkWriter(source: ChunkSource): ChunkWriter {
  const { sourceId, attempt, epoch = attempt } = source;
  const bytesMax = source.bytesMax ?? JOB_LOG_BYTES_MAX;
  const waiting: Waiting[] = [];
  const lines = new LineBuffer();
  let number = source.linesBefore;
  let firstNumber = 0; // of the buffer's lines
  let taken = 0; // bytes of lines, stored ones included
  let isCutOff = false;
  let stored: StoredLog | undefined;
  // The streams whose last line continues, each as the flag of its complete line.
  const continued = new Set<number>();
  let flushMs = FLUSH_MS_MIN;
  let timer: NodeJS.Timeout | undefined;
  let dueAt = 0;
  let sending: Promise<void> | undefined;
  let failure: { error: unknown } | undefined;
  let lastLine = Buffer.alloc(0);

  function append(flag: number, bytes: Buffer, start: number, end: number): void {
    if (isCutOff) return;
    const isStored = stored?.takes(flag, bytes, start, end) ?? false;
    if (!isStored) taken += 1 + end - start;
    if (!isStored && taken > bytesMax) {
      isCutOff = true;
      sayCutOff(timestampAt(bytes, start)); // the timestamp of the line that is left out
      return;
    }
    if (continuesIn(flag)) continued.add(completeFlag(flag));
    else if (continued.size > 0) continued.delete(flag);
    if (!isStored) put(flag, bytes, start, end);
  }

  function sayCutOff(timestamp: string): void {
    // Closes the open lines first: otherwise our line would seem to continue one of them.
    for (const flag of continued) writeLine(put, streamOf(flag), timestamp, '');
    writeLine(put, 'STDERR', timestamp, `${CUT_OFF} ${keptText(bytesMax)}`, { source: 'SYSTEM' });
  }

  function put(flag: number, bytes: Buffer, start: number, end: number): void {
    if (!lines.fits(1 + end - start)) {
      cut();
      send();
    }
    if (lines.length === 0) begin();
    lines.add(flag, bytes, start, end);
    number += 1;
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
    if (sending !== undefined) return; // its end arms the timer again
    flushMs = lines.length >= BUSY_BYTES ? Math.min(FLUSH_MS_MAX, flushMs * 2) : FLUSH_MS_MIN;
    cut();
    send();
  }

  /** Turns the buffer's lines into a chunk that waits. */
  function cut(): void {
    if (lines.length === 0) return;
    const text = lines.take();
    lastLine = Buffer.from(lastLineOf(text, LAST_TEXT_BYTES_MAX));
    waiting.push({ firstNumber, lastNumber: number, text });
  }

  function send(): void {
    if (sending !== undefined || failure !== undefined || waiting.length === 0) return;
    sending = sendWaiting()
      .catch((error: unknown) => {
        failure = { error };
      })
      .finally(() => {
        sending = undefined;
        if (lines.length > 0 && failure === undefined) arm();
      });
  }

  async function sendWaiting(): Promise<void> {
    for (let chunk = waiting[0]; chunk !== undefined; chunk = waiting[0]) {
      const { firstNumber, lastNumber } = chunk;
      await source.publish({ sourceId, attempt, epoch, firstNumber, lastNumber, lines: await packLines(chunk.text) });
      waiting.shift();
    }
  }

  async function drain(most: number): Promise<void> {
    while (waiting.length > most || (most === 0 && lines.length > 0)) {
      if (failure !== undefined) throw failure.error;
      if (most === 0) cut();
      send();
      await sending;
    }
    if (failure !== undefined) throw failure.error;
  }

  return {
    onLine: append,
    say(text, { stream = 'STDOUT', source = 'SYSTEM' } = {}) {
      if (stored?.said.has(text)) return; // by the worker before
      writeLine(append, stream, new Date().toISOString(), text, { source });
    },
    room: () => (failure === undefined && waiting.length <= WAITING_CHUNKS_MAX ? undefined : drain(WAITING_CHUNKS_MAX)),
    end: async () => {
      clearTimeout(timer);
      timer = undefined;
      await drain(0);
    },
    resume(log) {
      stored = log;
      number = Math.max(number, log.lastNumber);
      taken = log.bytes;
      isCutOff = [...log.said].some((text) => text.startsWith(CUT_OFF));
      continued.clear();
    },
    get lastNumber() {
      return number;
    },
    lastText: () => printedText(lines.length > 0 ? lines.lastLine(LAST_TEXT_BYTES_MAX) : lastLine),
  };
}

const CUT_OFF = 'The log was cut here:';

function keptText(bytesMax: number): string {
  const bytes = bytesMax.toLocaleString('en');
  return `${bytes} bytes of it are kept at most. What printed it goes on, and nothing more of that is kept.`;
}
