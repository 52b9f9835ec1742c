import type { Logger } from 'pino';
import { retry } from '../../../platform/async/retry.ts';
import {
  createDemultiplexer,
  EngineLogError,
  type OnFrame,
  type StreamType,
} from '../../../platform/docker/demultiplexer.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import type { ChunkWriter } from './chunk-writer.ts';
import { createLineCutter } from './lines.ts';
import { partsOf } from './parts.ts';
import { createPosition, secondsOf } from './position.ts';

/** The part of a ChunkWriter that the collector writes to. */
export type LineWriter = Pick<ChunkWriter, 'onLine' | 'room'>;

/** Reads the log of one container into a writer, in as many readings as it takes. */
export interface Reader {
  /**
   * Continues where the last reading ended, until the engine ends the log. It calls `onOpen` when
   * the engine has answered.
   */
  read(onOpen: () => void): Promise<void>;
  /** Whether the last frame that was read is the last one of the log. */
  isWhole(): Promise<boolean>;
  /** Whether the last reading gave a frame that no reading before it had given. */
  hasAdvanced(): boolean;
  /**
   * Reads the end of a log in whose middle the engine cannot read: as many of its last frames as it
   * gives. The log must be complete.
   *
   * An engine may die of such a question: 20.10 looks for the n last frames from the end of its
   * `local` log, takes the bytes at the damage for lengths, and may then read from nothing. So the
   * numbers grow from 1, and an engine that went away is not asked for more than it gave before.
   * An engine that refuses for longer than `retryMs` is not asked further: what it gave is kept.
   */
  readBehindDamage(log: Logger, retryMs: number): Promise<void>;
  end(): void;
  /** When the engine gave its last sign of life, in milliseconds. */
  lastContact(): number;
  /**
   * Whether the engine restarted since it gave the last frame or, before the first frame, since
   * `seenAt` or the start of the container.
   */
  isOtherEngine(): Promise<boolean>;
}

interface Frame {
  stream: StreamType;
  bytes: Buffer;
  start: number;
  end: number;
}

/** Beyond this many frames behind a damage, the older ones are left out. */
const FRAMES_BEHIND_MAX = 2 ** 26;
/** How often an engine may go away while it gives the frames behind a damage. */
const DEATHS_MAX = 2;
const PIECE_BYTES_MIN = 16 * 1024;
const SPACE = 0x20;

export function createReader(
  docker: Docker,
  {
    containerId,
    writer,
    seenAt,
    signal,
  }: {
    containerId: string;
    writer: LineWriter;
    /** When the engine was last seen to run with this container, by its own clock. */
    seenAt?: Date | undefined;
    signal: AbortSignal;
  },
): Reader {
  const position = createPosition();
  const cutter = createLineCutter(writer.onLine);
  let lastContact = Date.now();
  let advanced = false;
  // Changed in place, so that a frame allocates no object.
  const last: Frame = { stream: 1, bytes: Buffer.alloc(0), start: 0, end: 0 };

  const onContact = () => {
    lastContact = Date.now();
  };

  async function frames(
    options: { follow: boolean; since?: string; tail?: number },
    onFrame: OnFrame,
    onOpen: () => void = () => undefined,
  ): Promise<void> {
    const demultiplexer = createDemultiplexer(onFrame);
    const stream = await docker.openLog(containerId, { ...options, signal });
    onContact();
    onOpen();
    for await (const part of partsOf(docker, containerId, stream, onContact)) {
      demultiplexer.write(part);
      const room = writer.room();
      // Nothing is read while this waits: the engine waits, or its log grows.
      if (room !== undefined) await room;
    }
  }

  async function startStamp(): Promise<string | undefined> {
    return (seenAt ?? (await docker.inspectContainer(containerId))?.startedAt)?.toISOString();
  }

  return {
    async read(onOpen) {
      const { since, skip } = position.resume(cutter.openSince());
      let toSkip = skip;
      advanced = false;
      const onFrame: OnFrame = (stream, bytes, start, end) => {
        if (toSkip > 0) {
          toSkip -= 1;
          return;
        }
        advanced = true;
        position.count(bytes, start);
        last.stream = stream;
        last.bytes = bytes;
        last.start = start;
        last.end = end;
        cutter.onFrame(stream, bytes, start, end);
      };
      await frames({ follow: true, since }, onFrame, onOpen);
    },

    async isWhole() {
      if (last.end - last.start >= PIECE_BYTES_MIN) return false; // pieces of one line may be equal
      let same = last.end === 0; // an empty log gives no frame to compare
      await frames({ follow: false, tail: 1 }, (stream, bytes, start, end) => {
        same = stream === last.stream && bytes.compare(last.bytes, last.start, last.end, start, end) === 0;
      });
      return same;
    },

    hasAdvanced: () => advanced,

    async readBehindDamage(log, retryMs) {
      const stamp = last.bytes.toString('latin1', last.start, last.bytes.indexOf(SPACE, last.start));
      let wentAway = false;
      /** Whether the engine gives this many last frames, all of them behind the damage. */
      async function gives(tail: number): Promise<boolean> {
        signal.throwIfAborted();
        if (wentAway) return false;
        let isBehind = true;
        try {
          await frames({ follow: false, tail }, (_, bytes, start) => {
            isBehind &&= bytes.toString('latin1', start, bytes.indexOf(SPACE, start)) > stamp;
          });
          return isBehind;
        } catch (error) {
          wentAway = isEngineError(error, 'UNREACHABLE');
          if (wentAway || error instanceof EngineLogError) return false;
          throw error;
        }
      }
      let deaths = 0;
      const retries = {
        log,
        what: 'Reading the end of a damaged log',
        maxMs: 2_000,
        signal,
        timeoutMs(error: unknown) {
          if (!isEngineError(error) || error.kind === 'NOT_FOUND' || deaths >= DEATHS_MAX) return 0;
          return error.kind === 'UNREACHABLE' ? Number.POSITIVE_INFINITY : retryMs;
        },
      };
      try {
        let [most, tooMany] = [0, 1];
        while (tooMany < FRAMES_BEHIND_MAX && (await retry(retries, () => gives(tooMany)))) {
          most = tooMany;
          tooMany *= 2;
        }
        while (tooMany - most > 1 && !wentAway) {
          const middle = Math.floor((most + tooMany) / 2);
          if (await retry(retries, () => gives(middle))) most = middle;
          else tooMany = middle;
        }
        if (most === 0) return;
        let taken = 0; // over all tries
        await retry(retries, async () => {
          let toSkip = taken;
          await docker.inspectContainer(containerId); // an engine that is away has not died of this
          try {
            await frames({ follow: false, tail: most }, (...frame) => {
              if (toSkip-- > 0) return;
              taken += 1;
              cutter.onFrame(...frame);
            });
          } catch (error) {
            if (isEngineError(error, 'UNREACHABLE')) deaths += 1;
            throw error;
          }
        });
      } catch (error) {
        signal.throwIfAborted();
        if (!isEngineError(error) && !(error instanceof EngineLogError)) throw error;
        log.warn({ err: error, containerId }, 'The Docker engine does not give the end of a damaged log.');
      }
    },

    end: () => cutter.end(),
    lastContact: () => lastContact,

    async isOtherEngine() {
      const { bytes, start, end } = last;
      const stamp = end > 0 ? bytes.toString('latin1', start, bytes.indexOf(SPACE, start)) : await startStamp();
      return stamp !== undefined && !(await docker.hasRunSince(secondsOf(stamp), { signal }));
    },
  };
}
