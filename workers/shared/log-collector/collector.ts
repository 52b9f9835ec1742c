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
 * How a container stands when its log has been read to the end: undefined when it is gone, and the
 * rest of its log with it.
 */
export interface CollectedLog {
  state: ContainerState | undefined;
  /**
   * When the engine was away last, unless the container has outlived that: what ended then may have
   * been ended by it.
   */
  away: Away | undefined;
  /**
   * Whether the engine was started anew meanwhile: lines that it had taken and not written down are
   * lost.
   */
  startedAnew: boolean;
  /** Whether the engine did not give the log to its end, though the container has ended. */
  isCutShort: boolean;
}

/** By this process's clock, in milliseconds: from the last sign of life to the first one. */
export interface Away {
  from: number;
  to: number;
}

/** Of a ChunkWriter what a log is read into. */
type LineWriter = Pick<ChunkWriter, 'onLine' | 'room'>;

const END_WAIT_MS = 1_000;
/**
 * For an engine that answers a request for a container of ours as if it were wrong, or forbidden.
 */
const REFUSED_RETRY_MS = 60_000;

/**
 * Reads the whole log of a started container into `writer`, following it to its end; an engine that
 * goes away is waited for. Rejects with the signal's reason when it aborts, and with what the
 * writer fails with.
 *
 * A log that is followed may end without its last lines: engine 20.10 loses them in 2 to 8 of 100
 * containers that print 20,000 lines and exit, while a reading that begins after the exit was whole
 * in 360 of 360. So the last frame is compared with the engine's own last one, and where they
 * differ, the log is read once more from a little before that place.
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
  /** How long to retry when the engine is there and does not give the log. */
  retryMs?: number;
}): Promise<CollectedLog> {
  const reader = createReader(docker, containerId, writer, signal);
  const backoff = createBackoff({ log, what: 'Reading the log of a container', maxMs: 2_000 });
  let endedBefore = false; // the container, before the reading began: then that reading is whole
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
      let outlived = false; // what ends after it was seen to run again was not ended by that outage
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
      // A conflict: the container is being removed, and will be gone when it is asked for again.
      // Others say no for a moment, a gateway that starts, say.
      refusedAt ??= performance.now();
      if (performance.now() - refusedAt > retryMs) {
        const state = await seen(docker, containerId);
        // Its log can be read no more.
        if (state?.status === 'ended') return collected(state, { isCutShort: true });
        if (state === undefined)
          refusedAt = undefined; // nothing is refused by an engine that is away
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

/** Its state; undefined where the engine does not tell it. */
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
 * Its state after the log ended: the engine may take a moment to say that it has ended, or have
 * ended the log too early.
 */
async function settled(docker: Docker, id: string, signal: AbortSignal): Promise<ContainerState | undefined> {
  await docker.waitContainer(id, { timeoutMs: END_WAIT_MS, signal });
  return docker.inspectContainer(id);
}

interface Reader {
  /**
   * Reads on from where the last reading ended, until the engine ends the log. `onOpen`: the engine
   * has answered.
   */
  read(onOpen: () => void): Promise<void>;
  /** Whether the last frame that was read is the log's last one. */
  isWhole(): Promise<boolean>;
  end(): void;
  /** When the engine gave its last sign of life, in milliseconds. */
  lastContact(): number;
  /**
   * Whether the engine has been started anew since it gave the last frame; where there was none,
   * since the container was started.
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
 * A silent log is nothing unusual, but a network may swallow a connection without a word: so long
 * until the container is asked for.
 */
const QUIET_MS = 30_000;
const PIECE_BYTES_MIN = 16 * 1024;
const SPACE = 0x20;

function createReader(docker: Docker, containerId: string, writer: LineWriter, signal: AbortSignal): Reader {
  const position = createPosition();
  const cutter = createLineCutter(writer.onLine);
  let lastContact = Date.now();
  // Changed in place: no object per frame.
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
        // Meanwhile nothing is read: the engine waits, or its log grows.
        if (room !== undefined) await room;
      }
    } finally {
      stream.destroy();
    }
  }

  /**
   * The next bytes. Undefined at the end, also when the connection hides it and the container has
   * ended.
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
      if (last.end - last.start >= PIECE_BYTES_MIN) return false; // pieces of one line may be alike
      let same = last.end === 0; // when the log is empty, nothing comes to be compared
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
