import type { Logger } from 'pino';
import { settledWithin } from '../../../platform/async/deadline.ts';
import { type Backoff, createBackoff } from '../../../platform/async/retry.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import { createDemultiplexer, type OnFrame, type StreamType } from '../../../platform/docker/demultiplexer.ts';
import { type Docker, logBroken } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import type { ChunkWriter } from './chunk-writer.ts';
import { createLineCutter } from './lines.ts';
import { createPosition, secondsOf } from './position.ts';

/**
 * What the collector knows when it has read a container's log to the end. The state is undefined
 * when the container is gone, and the rest of its log with it.
 */
export interface CollectedLog {
  state: ContainerState | undefined;
  /**
   * When the engine was last away, unless the container has outlived that outage. A container that
   * ended in the outage may have been ended by it.
   */
  away: Away | undefined;
  /**
   * Whether the engine restarted in the meantime. Lines that it had taken and not written to disk
   * are lost.
   */
  startedAnew: boolean;
  /** Whether the engine did not give the log to its end, though the container has ended. */
  isCutShort: boolean;
}

/** From the last sign of life to the next one, in milliseconds of this process's clock. */
export interface Away {
  from: number;
  to: number;
}

/** The part of a ChunkWriter that the collector writes to. */
type LineWriter = Pick<ChunkWriter, 'onLine' | 'room'>;

const END_WAIT_MS = 1_000;
/**
 * How long to retry when the engine answers that a request for our container is wrong or forbidden.
 */
const REFUSED_RETRY_MS = 60_000;

/**
 * Reads the whole log of a started container into `writer`, and follows it to its end. It waits for
 * an engine that goes away. Rejects with the signal's reason when that aborts, and with the
 * writer's error when the writer fails.
 *
 * A followed log may end without its last lines: engine 20.10 loses them in 2 to 8 of 100
 * containers that print 20,000 lines and exit. A reading that began after the exit was whole in 360
 * of 360. So the collector compares the last frame with the engine's own last one. Where they
 * differ, it reads the log once more, from a little before that place.
 */
export async function collectLog({
  docker,
  containerId,
  writer,
  log,
  signal,
  retryMs = REFUSED_RETRY_MS,
}: {
  docker: Docker;
  containerId: string;
  writer: LineWriter;
  log: Logger;
  signal: AbortSignal;
  /** How long to retry when the engine is up and does not give the log. */
  retryMs?: number;
}): Promise<CollectedLog> {
  const reader = createReader(docker, containerId, writer, signal);
  const backoff = createBackoff({ log, what: 'Reading the log of a container', maxMs: 2_000 });
  let endedBefore = false; // whether the container ended before this reading: then it is whole
  let away: Away | undefined;
  let isAway = false;
  let startedAnew = false;
  let refusedAt: number | undefined;
  const collected = (state: ContainerState | undefined, { isCutShort = false } = {}): CollectedLog => {
    reader.end();
    return { state, away, startedAnew, isCutShort };
  };

  for (;;) {
    signal.throwIfAborted();
    try {
      let outlived = false; // seen to run after the outage: what ends it later is not the outage
      if (isAway) {
        startedAnew = (await reader.isOtherEngine()) || startedAnew;
        outlived = (await docker.inspectContainer(containerId))?.status === 'running';
      }
      await reader.read(() => {
        if (isAway) away = outlived || away === undefined ? undefined : { from: away.from, to: Date.now() };
        isAway = false;
      });
      const state = await settled(docker, containerId, signal);
      backoff.reset();
      refusedAt = undefined;
      if (state === undefined) return collected(undefined);
      if (state.status !== 'running') {
        if (endedBefore || (await reader.isWhole())) return collected(state);
        endedBefore = true;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (isEngineError(error, 'NOT_FOUND')) return collected(undefined);
      if (!isEngineError(error)) throw error;
      // A conflict means that the container is being removed: the next request finds it gone. Other
      // refusals may pass, such as those of a gateway that starts.
      refusedAt ??= performance.now();
      if (performance.now() - refusedAt > retryMs) {
        const state = await seen(docker, containerId);
        // The engine can no longer give its log.
        if (state?.status === 'ended') return collected(state, { isCutShort: true });
        if (state === undefined)
          refusedAt = undefined; // an engine that is away refuses nothing
        else if (!isEngineError(error, 'UNREACHABLE', 'BUSY', 'CONFLICT')) throw error;
      }
      if (error.kind === 'UNREACHABLE' && !isAway) {
        isAway = true;
        away = { from: reader.lastContact(), to: Number.POSITIVE_INFINITY };
      }
      await pause(backoff, error, signal);
    }
  }
}

/** The container's state, or undefined when the engine does not give it. */
async function seen(docker: Docker, id: string): Promise<ContainerState | undefined> {
  try {
    return await docker.inspectContainer(id);
  } catch (error) {
    if (isEngineError(error)) return undefined;
    throw error;
  }
}

async function pause(backoff: Backoff, error: unknown, signal: AbortSignal): Promise<void> {
  await backoff.wait(error, signal);
  signal.throwIfAborted();
}

/**
 * The container's state after its log ended. The engine may need a moment to report the end of the
 * container, or may have ended the log too early.
 */
async function settled(docker: Docker, id: string, signal: AbortSignal): Promise<ContainerState | undefined> {
  await docker.waitContainer(id, { timeoutMs: END_WAIT_MS, signal });
  return docker.inspectContainer(id);
}

interface Reader {
  /**
   * Continues where the last reading ended, until the engine ends the log. It calls `onOpen` when
   * the engine has answered.
   */
  read(onOpen: () => void): Promise<void>;
  /** Whether the last frame that was read is the last one of the log. */
  isWhole(): Promise<boolean>;
  end(): void;
  /** When the engine gave its last sign of life, in milliseconds. */
  lastContact(): number;
  /**
   * Whether the engine restarted since it gave the last frame or, before the first frame, since the
   * container started.
   */
  isOtherEngine(): Promise<boolean>;
}

interface Frame {
  stream: StreamType;
  bytes: Buffer;
  start: number;
  end: number;
}

/**
 * A silent log is normal, but a network may drop a connection without notice. After this long
 * without bytes, the reader asks for the container's state.
 */
const QUIET_MS = 30_000;
const PIECE_BYTES_MIN = 16 * 1024;
const SPACE = 0x20;

function createReader(docker: Docker, containerId: string, writer: LineWriter, signal: AbortSignal): Reader {
  const position = createPosition();
  const cutter = createLineCutter(writer.onLine);
  let lastContact = Date.now();
  // Changed in place, so that a frame allocates no object.
  const last: Frame = { stream: 1, bytes: Buffer.alloc(0), start: 0, end: 0 };

  async function frames(
    options: { follow: boolean; since?: string; tail?: number },
    onFrame: OnFrame,
    onOpen: () => void = () => undefined,
  ): Promise<void> {
    const demultiplexer = createDemultiplexer(onFrame);
    const stream = await docker.openLog(containerId, { ...options, signal });
    lastContact = Date.now();
    onOpen();
    const parts = stream[Symbol.asyncIterator]();
    try {
      for (;;) {
        const part = await next(parts);
        if (part === undefined) return;
        lastContact = Date.now();
        demultiplexer.write(part);
        const room = writer.room();
        // Nothing is read while this waits: the engine waits, or its log grows.
        if (room !== undefined) await room;
      }
    } finally {
      stream.destroy();
    }
  }

  /**
   * The next bytes, or undefined at the end. When a broken connection hides the end, the state of
   * the container shows it.
   */
  async function next(parts: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
    const part = parts.next().catch((error: unknown) => {
      throw logBroken(docker, error);
    });
    while (!(await settledWithin(part, QUIET_MS))) {
      const state = await docker.inspectContainer(containerId);
      if (state?.status !== 'running') return undefined;
      lastContact = Date.now();
    }
    const { done, value } = await part;
    return done ? undefined : value;
  }

  async function startStamp(): Promise<string | undefined> {
    return (await docker.inspectContainer(containerId))?.startedAt?.toISOString();
  }

  return {
    async read(onOpen) {
      const { since, skip } = position.resume(cutter.openSince());
      let toSkip = skip;
      const onFrame: OnFrame = (stream, bytes, start, end) => {
        if (toSkip > 0) {
          toSkip -= 1;
          return;
        }
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

    end: () => cutter.end(),
    lastContact: () => lastContact,

    async isOtherEngine() {
      const { bytes, start, end } = last;
      const stamp = end > 0 ? bytes.toString('latin1', start, bytes.indexOf(SPACE, start)) : await startStamp();
      return stamp !== undefined && !(await docker.hasRunSince(secondsOf(stamp), { signal }));
    },
  };
}
