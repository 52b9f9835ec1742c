import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import { type Backoff, createBackoff, retry } from '../../../platform/async/retry.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import { EngineLogError } from '../../../platform/docker/demultiplexer.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { createLiveReader, type LiveReader } from './live.ts';
import { secondsOf } from './position.ts';
import { createReader, type LineWriter, type Reader } from './reader.ts';

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
  /** Whether all of it came live, and none from what the engine keeps. */
  isLive: boolean;
  /** Whether this process stood still at the end, so that the engine may have dropped lines. */
  isLate: boolean;
}

/** What a container prints, from before its start on. */
export interface Live {
  output: IncomingMessage;
  /**
   * The writer for the container's log, when that has to be read from its beginning after all: it
   * leaves out what is written already. Resolves when that is stored, or with undefined when the
   * container is gone, and its log with it.
   */
  resume: () => Promise<LineWriter | undefined>;
}

/** From the last sign of life to the next one, in milliseconds of this process's clock. */
export interface Away {
  from: number;
  to: number;
}

const END_WAIT_MS = 1_000;
/**
 * How long to retry when the engine answers that a request for our container is wrong or forbidden.
 */
const REFUSED_RETRY_MS = 60_000;
/**
 * How often to read a log again in which the engine reports an error at the same place. A part that
 * it cannot read stays unreadable: a write that was cut off by a full disk, for example.
 */
const UNREADABLE_TIMES_MAX = 3;

interface Collecting {
  docker: Docker;
  containerId: string;
  writer: LineWriter;
  log: Logger;
  signal: AbortSignal;
  /** How long to retry when the engine is up and does not give the log. */
  retryMs?: number;
  /**
   * Called when the engine cannot read its log further. The lines behind that place follow, as far
   * as the engine gives them.
   */
  onDamage?: () => void;
}

/**
 * Collects what a started container prints, to its end. It waits for an engine that goes away.
 * Rejects with the signal's reason when that aborts, and with the writer's error when the writer
 * fails.
 *
 * Live output costs the engine a fifth of following its log. But what it gives is read once: where
 * the connection breaks, or the reader was too slow, the log is read from its beginning, without
 * the lines that are stored (stored-log.ts).
 */
export async function collectLog({
  live,
  ...collecting
}: Collecting & { live?: Live | undefined }): Promise<CollectedLog> {
  const { docker, containerId, writer, signal } = collecting;
  if (live === undefined) return readLog(collecting, createReader(docker, { containerId, writer, signal }));
  const found = await readLive(collecting, live);
  const whole = { away: undefined, startedAnew: false, isCutShort: false, isLive: true, isLate: false };
  const isLate = (state: ContainerState | undefined) =>
    state?.finishedAt !== undefined && found.mayLack(state.finishedAt);
  if (found.type === 'WHOLE') return { ...whole, state: found.state, isLate: isLate(found.state) };
  const resumed = await live.resume();
  if (resumed === undefined) {
    found.end();
    return { ...whole, state: undefined };
  }
  const { seenAt, awayFrom } = found;
  const reader = createReader(docker, { containerId, writer: resumed, seenAt, signal });
  const collected = await readLog({ ...collecting, writer: resumed }, reader, awayFrom);
  return { ...collected, isLate: isLate(collected.state) };
}

type LiveEnd = Pick<LiveReader, 'mayLack'> &
  /** The container has ended, or is gone. */
  (
    | { type: 'WHOLE'; state: ContainerState | undefined }
    /**
     * `awayFrom` is the engine's last sign of life, in milliseconds, if it went away. `end` completes
     * the lines that are not complete.
     */
    | { type: 'LEFT'; seenAt: Date; awayFrom?: number; end: () => void }
  );

/**
 * Reads live output to its end. The engine ends it with the container, and so does the end of an
 * engine. So the engine must have run since.
 */
async function readLive({ docker, containerId, writer, log, signal }: Collecting, { output }: Live): Promise<LiveEnd> {
  const reader = createLiveReader(docker, { containerId, output, writer, signal });
  const { mayLack } = reader;
  const left = (awayFrom?: number): LiveEnd => {
    log.debug({ containerId, awayFrom }, 'The live output of a container was left; its log is read.');
    return { type: 'LEFT', seenAt, mayLack, end: reader.end, ...(awayFrom === undefined ? {} : { awayFrom }) };
  };
  let seenAt = new Date();
  try {
    const isAtEnd = await reader.read();
    signal.throwIfAborted();
    seenAt = new Date();
    if (!isAtEnd) return left();
    const state = await settled(docker, containerId, signal);
    if (state?.status === 'running') return left();
    if (state !== undefined && !(await hasRunSince(docker, seenAt, signal))) return left(reader.lastContact());
    if (state !== undefined && !(await reader.isWhole())) return left();
    reader.end();
    return { type: 'WHOLE', state, mayLack };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof EngineLogError) return left();
    if (!isEngineError(error)) throw error;
    return left(isEngineError(error, 'UNREACHABLE') ? reader.lastContact() : undefined);
  }
}

/** Whether the engine has run without a break since `time`, by this process's clock. */
async function hasRunSince(docker: Docker, time: Date, signal: AbortSignal): Promise<boolean> {
  if (await docker.hasRunSince(secondsOf(time.toISOString()), { signal })) return true;
  const byItsClock = new Date(time.getTime() + (await docker.clockOffsetMs()));
  return docker.hasRunSince(secondsOf(byItsClock.toISOString()), { signal });
}

/**
 * Reads the whole log of a started container, and follows it to its end.
 *
 * A followed log may end without its last lines: engine 20.10 loses them in 2 to 8 of 100
 * containers that print 20,000 lines and exit. A reading that began after the exit was whole in 360
 * of 360. So the collector compares the last frame with the engine's own last one. Where they
 * differ, it reads the log once more, from a little before that place.
 */
async function readLog(
  { docker, containerId, log, signal, retryMs = REFUSED_RETRY_MS, onDamage = () => undefined }: Collecting,
  reader: Reader,
  awayFrom?: number,
): Promise<CollectedLog> {
  const backoff = createBackoff({ log, what: 'Reading the log of a container', maxMs: 2_000 });
  let endedBefore = false; // whether the container ended before this reading: then it is whole
  let away: Away | undefined = awayFrom === undefined ? undefined : { from: awayFrom, to: Number.POSITIVE_INFINITY };
  let isAway = away !== undefined;
  let startedAnew = false;
  let refusedAt: number | undefined;
  let refusedAfterEnd = false; // whether the engine has refused the log and then reported the end
  let unreadable = 0; // readings in a row that ended in an error of the engine's
  const collected = (state: ContainerState | undefined, { isCutShort = false } = {}): CollectedLog => {
    reader.end();
    return { state, away, startedAnew, isCutShort, isLive: false, isLate: false };
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
      refusedAfterEnd = false;
      unreadable = 0;
      if (state === undefined) return collected(undefined);
      if (state.status !== 'running') {
        // Set before `isWhole`, which a damaged log may answer with the death of its engine.
        const isRead = endedBefore;
        endedBefore = true;
        if (isRead || (await reader.isWhole())) return collected(state);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof EngineLogError) {
        unreadable = reader.hasAdvanced() ? 1 : unreadable + 1;
        if (unreadable < UNREADABLE_TIMES_MAX) {
          await pause(backoff, error, signal);
          continue;
        }
        log.warn({ err: error, containerId }, 'The Docker engine cannot read a part of a log.');
        reader.end();
        onDamage();
        const state = await ended(docker, containerId, log, signal);
        if (state !== undefined) await reader.readBehindDamage(log, retryMs);
        return collected(state);
      }
      if (isEngineError(error, 'NOT_FOUND')) return collected(undefined);
      if (!isEngineError(error)) throw error;
      // A conflict means that the container is being removed: the next request finds it gone. Other
      // refusals may pass, such as those of a gateway that starts.
      refusedAt ??= performance.now();
      if (performance.now() - refusedAt > retryMs) {
        const state = await seen(docker, containerId);
        if (state?.status === 'ended') {
          // The engine can no longer give its log. One that recovers may have refused the log a
          // moment before it reported the end, so it is asked once more.
          if (refusedAfterEnd) return collected(state, { isCutShort: true });
          refusedAfterEnd = true;
        } else if (state === undefined) {
          refusedAt = undefined; // an engine that is away refuses nothing
        } else if (!isEngineError(error, 'UNREACHABLE', 'BUSY', 'CONFLICT')) throw error;
      }
      if (error.kind === 'UNREACHABLE' && !isAway) {
        isAway = true;
        away = { from: reader.lastContact(), to: Number.POSITIVE_INFINITY };
      }
      await pause(backoff, error, signal);
    }
  }
}

/** The state of the container once it has ended, or undefined when it is gone. */
async function ended(
  docker: Docker,
  id: string,
  log: Logger,
  signal: AbortSignal,
): Promise<ContainerState | undefined> {
  return retry({ log, what: 'Waiting for the end of a container', maxMs: 2_000, signal }, async () => {
    for (;;) {
      signal.throwIfAborted();
      const state = await settled(docker, id, signal);
      if (state?.status !== 'running') return state;
    }
  });
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
