import type { IncomingMessage } from 'node:http';
import { settledWithin } from '../../../platform/async/deadline.ts';
import { createDemultiplexer, type OnFrame, STDERR, STDOUT } from '../../../platform/docker/demultiplexer.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { createTextCutter } from './lines.ts';
import { partsOf } from './parts.ts';
import type { LineWriter } from './reader.ts';

/** What a container prints, as it prints it. */
export interface LiveReader {
  /**
   * Reads until the engine ends the output, and resolves with `true`. Resolves with `false` when
   * the writer takes nothing for STALL_MS: the container would wait. Rejects with an EngineError.
   */
  read(): Promise<boolean>;
  /**
   * Whether the output ends as the container's log does. The container must have ended. A
   * connection that breaks may look like the end of the output.
   */
  isWhole(): Promise<boolean>;
  /**
   * Whether the engine may have dropped what the container printed last, for its log too: it had
   * more for this reader than it keeps, and this process had stood still (SIGSTOP, for example)
   * since before the container ended, for longer than the engine waits.
   */
  mayLack(finishedAt: Date): boolean;
  /** The lines that are not complete are complete. Call it when nothing can follow. */
  end(): void;
  /** When the engine gave its last sign of life, in milliseconds. */
  lastContact(): number;
}

/**
 * The engine keeps 1 MB per stream for a reader that is slow, and then the container's next write
 * waits. So a reader that stands still leaves, and reads the engine's log later. Engines wait for 2
 * seconds for what a container printed last, so this must be less.
 */
const STALL_MS = 500;
/** Less than what the engine waits: it begins to wait a moment after the end. */
const PATIENCE_MS = 1_500;
const KEPT_BYTES = 1_000_000;
const SPACE = 0x20;
const NEWLINE = 0x0a;
/** The engine's log has no longer frame. */
const FRAME_TEXT_BYTES_MAX = 16 * 1024 + 1;

export function createLiveReader(
  docker: Docker,
  {
    containerId,
    output,
    writer,
    signal,
  }: { containerId: string; output: IncomingMessage; writer: LineWriter; signal: AbortSignal },
): LiveReader {
  const cutter = createTextCutter(writer.onLine);
  const ends = { [STDOUT]: createEnd(), [STDERR]: createEnd() };
  let partAt = Date.now();
  let readOnAt = partAt; // after the last time without a part
  let waiting = { [STDOUT]: 0, [STDERR]: 0 }; // bytes since then
  const demultiplexer = createDemultiplexer((stream, bytes, start, end) => {
    waiting[stream] += end - start;
    ends[stream].add(bytes, start, end);
    cutter.onFrame(stream, bytes, start, end);
  });
  let lastContact = Date.now();
  const onContact = () => {
    lastContact = Date.now();
  };

  return {
    async read() {
      for await (const part of partsOf(docker, containerId, output, onContact)) {
        if (lastContact - partAt > PATIENCE_MS) {
          readOnAt = lastContact;
          waiting = { [STDOUT]: 0, [STDERR]: 0 };
        }
        partAt = lastContact;
        cutter.setTime(new Date(lastContact));
        demultiplexer.write(part);
        const room = writer.room();
        if (room !== undefined && !(await settledWithin(room, STALL_MS))) {
          room.catch(() => undefined); // the next write meets the same error
          return false;
        }
      }
      return true;
    },
    async isWhole() {
      let isEmpty = true;
      let isSame = false;
      const onFrame: OnFrame = (stream, bytes, start, end) => {
        isEmpty = false;
        isSame = ends[stream].is(bytes.subarray(bytes.indexOf(SPACE, start) + 1, end));
      };
      const last = createDemultiplexer(onFrame);
      const stream = await docker.openLog(containerId, { follow: false, tail: 1, signal });
      for await (const part of partsOf(docker, containerId, stream, onContact)) last.write(part);
      return isSame || (isEmpty && ends[STDOUT].isEmpty() && ends[STDERR].isEmpty());
    },
    // The engine is on this machine, and so its clock is this one.
    mayLack: (finishedAt) =>
      readOnAt - finishedAt.getTime() > PATIENCE_MS && Math.max(waiting[STDOUT], waiting[STDERR]) >= KEPT_BYTES,
    end: () => cutter.end(),
    lastContact: () => lastContact,
  };
}

/** The last bytes of a stream. */
function createEnd() {
  const kept = Buffer.allocUnsafe(4 * FRAME_TEXT_BYTES_MAX);
  let length = 0;

  return {
    add(bytes: Buffer, start: number, end: number): void {
      const from = Math.max(start, end - FRAME_TEXT_BYTES_MAX);
      if (length + end - from > kept.length) {
        kept.copyWithin(0, length - FRAME_TEXT_BYTES_MAX, length);
        length = FRAME_TEXT_BYTES_MAX;
      }
      length += bytes.copy(kept, length, from, end);
    },
    isEmpty: () => length === 0,
    /** Whether this text is its last line. The log may lack the last newline. */
    is(text: Buffer): boolean {
      const own = withoutNewline(kept.subarray(0, length));
      const other = withoutNewline(text);
      const at = own.length - other.length;
      if (length === 0 || at < 0 || !own.subarray(at).equals(other)) return false;
      // The last piece of a long line looks like a part of a line: the log is read then.
      return at === 0 || own[at - 1] === NEWLINE || other.length === FRAME_TEXT_BYTES_MAX - 1;
    },
  };
}

function withoutNewline(bytes: Buffer): Buffer {
  return bytes.at(-1) === NEWLINE ? bytes.subarray(0, -1) : bytes;
}
