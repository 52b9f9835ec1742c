import type { Logger } from 'pino';
import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import { STOP_GRACE_SECONDS } from '../../../domain/limits.ts';
import { createMask } from '../../../domain/masking/mask.ts';
import { unlessAborted } from '../../../platform/async/abort.ts';
import { callAfter } from '../../../platform/async/long-timer.ts';
import { retry, waitAfter } from '../../../platform/async/retry.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { attemptAfterFailure } from '../../shared/attempt-after-failure.ts';
import { createChunkWriter } from '../../shared/log-collector/chunk-writer.ts';
import { type Away, collectLog } from '../../shared/log-collector/collector.ts';
import { maskLines } from '../../shared/log-collector/mask-lines.ts';
import { readStoredLog } from '../../shared/log-collector/stored-log.ts';
import type { Period } from '../engine/disk.ts';
import type { Pass } from '../engine/other-engines.ts';
import { hasEngineRunOn } from './engine-end.ts';
import {
  CHILD_KILLED,
  codeOfSignal,
  failed,
  isOutOfMemory,
  outcomeOf,
  type RunOutcome,
  type StoppedBy,
} from './outcome.ts';
import { ENGINE_BACKOFF_MS, prepareContainer } from './prepare.ts';
import type { RunControl, RunParts, Started } from './run-context.ts';

export type RunEnd =
  /** The caller writes the outcome, then removes the container, if there is one. */
  | { type: 'ENDED'; outcome: RunOutcome; logLineCount: number; containerId: string | undefined }
  /** No program was started: the attempt does not count. */
  | { type: 'NOT_STARTED' }
  /** The same, because another engine has what the job needs and this one has not. */
  | { type: 'ELSEWHERE'; pass: Pass }
  /** No program was started, because the engine refused to: the attempt counts. */
  | { type: 'REFUSED' }
  /** The container is there no more, or its engine ended it: the attempt is lost, and counts. */
  | { type: 'LOST_ATTEMPT'; containerId: string | undefined }
  /** The worker leaves the run, or cannot know what the container does. The worker that takes the job over follows it. */
  | { type: 'LEFT' };

/**
 * One attempt of a job, from its claim (or from its container, when adopted) to its end. Never
 * rejects.
 *
 * Fencing: the database refuses a write under a lost lease. The engine knows no leases. So only the
 * worker that created a container starts it. A worker that takes a job over removes, without force,
 * a container that was never started, and makes its own. Nothing is started, stopped or printed
 * unless the lease is fresh by this process's clocks. A container is removed only by the worker
 * that wrote its job's end, or by the sweep once the job has ended or is at another attempt.
 *
 *   worker A, then frozen      what happens
 *   claim, create C1           B takes over, removes C1, creates C1'. A's start: not found
 *   claim, create C1, start    B follows C1. A wakes: not fresh, its renewal says LOST, it leaves
 *   C1 has ended, before end   B ends the job, removes C1. A's end is refused: A removes nothing
 *   start C1 while B removes   B gets CONFLICT and follows, or A gets NOT_FOUND
 *   claim, before create       no container: the sweep over jobs ends the attempt. A creates none
 */
export async function runContainer(
  parts: RunParts,
  job: ClaimedJob,
  control: RunControl,
  /** The id of the container, for a job that was taken over. */
  found?: string,
): Promise<RunEnd> {
  let containerId = found;
  try {
    const prepared = await prepareContainer(parts, job, control, found);
    if (prepared.type === 'STARTED') {
      containerId = prepared.containerId;
      return await follow(parts, job, control, prepared);
    }
    if (prepared.type === 'NEVER') return { ...prepared, type: 'ENDED', logLineCount: await control.linesBefore() };
    // A canceled job ends by being returned.
    const isLast = job.isLastAttempt && !control.cancel.aborted;
    if (prepared.type !== 'REFUSED') return prepared;
    if (!isLast) return { type: 'REFUSED' };
    const outcome = failed('SYSTEM', `The Docker engine refused its container in each attempt. ${prepared.words}`);
    return { type: 'ENDED', outcome, logLineCount: await control.linesBefore(), containerId: undefined };
  } catch (error) {
    if (control.leave.aborted) return { type: 'LEFT' };
    parts.log.error({ err: error, jobId: job.id }, 'A run failed in a way that was not foreseen.');
    return unforeseen(parts, job, control, containerId);
  }
}

/** The container is removed with the job's end, so no program runs beside the next job. */
async function unforeseen(
  { log, lastLogNumber }: RunParts,
  job: ClaimedJob,
  { leave }: RunControl,
  containerId: string | undefined,
): Promise<RunEnd> {
  try {
    const logLineCount = await retry({ log, what: ASKING_LINE, signal: leave }, () => lastLogNumber(job.id));
    const outcome = failed('SYSTEM', 'The platform could not follow its container to the end.');
    return { type: 'ENDED', outcome, logLineCount, containerId };
  } catch (error) {
    if (!leave.aborted) throw error;
    return { type: 'LEFT' };
  }
}

async function follow(
  { docker, disk, log, lastLogNumber, chunksAfter, maxLogBytes }: RunParts,
  job: ClaimedJob,
  control: RunControl,
  { containerId, template, startedAt, adopted, endedUnseen, output }: Started,
): Promise<RunEnd> {
  const graceSeconds = template.stop_grace_seconds ?? STOP_GRACE_SECONDS;
  const stopper = createStopper(docker, { containerId, graceSeconds }, control, log);
  const ranMs = adopted
    ? retry({ log, what: ASKING_AGE, signal: control.leave }, () => ageMs(docker, startedAt))
    : Promise.resolve(0);
  const clearTimeLimit = limitTime(template.timeout_seconds * 1_000, ranMs, () => stopper.stop('TIMEOUT'));
  const onCancel = () => stopper.stop('CANCEL');
  control.cancel.addEventListener('abort', onCancel);
  if (control.cancel.aborted) onCancel();
  try {
    const linesBefore = await control.linesBefore();
    const writer = createChunkWriter({
      sourceId: job.id,
      attempt: job.attempt,
      epoch: job.epoch,
      linesBefore,
      bytesMax: maxLogBytes,
      publish: control.publish,
    });
    const retries = { log, what: ASKING_LINE, signal: control.leave };
    const readStored = async () =>
      writer.resume(await readStoredLog(job.attempt, (after) => retry(retries, () => chunksAfter(job.id, after))));
    /**
     * What this worker has published comes to the store, however long that takes. Nothing waits for
     * it if the container has gone.
     */
    const resume = async () => {
      await writer.end();
      const isStored = async () =>
        writer.lastNumber === linesBefore || (await lastLogNumber(job.id)) >= writer.lastNumber;
      for (let asked = 1; !(await retry(retries, isStored)); asked += 1) {
        if (await isGone(docker, containerId)) return undefined;
        await waitAfter(asked, { ...STORED_WAIT_MS, signal: control.leave });
      }
      await readStored();
      return maskLines(writer, mask);
    };
    if (adopted) await readStored();
    // Every worker that follows this container says it, unless it is said.
    if (job.failureBefore !== undefined) writer.say(attemptAfterFailure(job), { stream: 'STDERR' });
    if (job.lostAttempt !== undefined) writer.say(attemptLost(job.lostAttempt), { stream: 'STDERR' });
    const mask = createMask(template.secrets);
    const masked = maskLines(writer, mask);
    let damagedAfter: number | undefined;
    const onDamage = () => {
      damagedAfter = writer.lastNumber;
    };
    const live = output && { output, resume };
    const collected = await collectLog({
      docker,
      containerId,
      writer: masked,
      log,
      signal: control.leave,
      onDamage,
      live,
    });
    const { state, away } = collected;
    if (state === undefined && (await isElsewhere(docker, job, log, control.leave))) return { type: 'LEFT' };
    const lastText = writer.lastText();
    if (state === undefined) writer.say(CONTAINER_GONE, { stream: 'STDERR' });
    else if (collected.isCutShort) writer.say(LOG_CUT_SHORT, { stream: 'STDERR' });
    else if (collected.startedAnew) writer.say(ENGINE_STARTED_ANEW, { stream: 'STDERR' });
    if (collected.isLate) writer.say(WORKER_STOOD_STILL, { stream: 'STDERR' });
    if (damagedAfter !== undefined) writer.say(logDamaged(damagedAfter), { stream: 'STDERR' });
    const full = collected.isLive ? undefined : disk.fullSince(startedAt);
    if (full !== undefined) writer.say(diskFull(full), { stream: 'STDERR' });
    if (state?.oomKilled && !isOutOfMemory(state)) writer.say(CHILD_KILLED, { stream: 'STDERR' });
    await writer.end();
    const timeoutMs = template.timeout_seconds * 1_000;
    const stoppedBy =
      (await stopper.settled()) ??
      (adopted && state !== undefined ? stoppedBefore(state, { timeoutMs, cancel: control.cancel }) : undefined);
    const logLineCount = writer.lastNumber;
    if (state === undefined) return lost(job, control, { containerId: undefined, logLineCount });
    if (stoppedBy === undefined && (await isEndedByEngine(docker, state, { away, endedUnseen }, control.leave)))
      return lost(job, control, { containerId, logLineCount });
    if (state.error !== '') log.info({ jobId: job.id, said: mask?.text(state.error) ?? state.error }, ENGINE_SAID);
    const outcome = outcomeOf({
      state: mask === undefined ? state : { ...state, error: mask.text(state.error) },
      stoppedBy,
      timeoutSeconds: template.timeout_seconds,
      lastText,
    });
    return { type: 'ENDED', outcome, logLineCount, containerId };
  } finally {
    clearTimeLimit();
    control.cancel.removeEventListener('abort', onCancel);
    output?.destroy();
  }
}

/**
 * Why the previous worker stopped an adopted container, if it did: that worker may have been lost
 * while the engine was stopping it. Both times are by the engine's clock. A container that
 * succeeded anyway counts as completed.
 */
function stoppedBefore(
  { exitCode, startedAt, finishedAt }: ContainerState,
  { timeoutMs, cancel }: { timeoutMs: number; cancel: AbortSignal },
): StoppedBy | undefined {
  if (exitCode === 0) return undefined;
  if (cancel.aborted) return 'CANCEL';
  if (startedAt === undefined || finishedAt === undefined) return undefined;
  return finishedAt.getTime() - startedAt.getTime() >= timeoutMs ? 'TIMEOUT' : undefined;
}

/**
 * Whether another engine has come up at the address of the one that the attempt was claimed for. It
 * does not know the container, which may still run. A worker on the old engine decides, or
 * scheduling when none comes back.
 */
async function isElsewhere(
  docker: Docker,
  { engineId }: ClaimedJob,
  log: Logger,
  leave: AbortSignal,
): Promise<boolean> {
  return (await retry({ log, what: ASKING_ENGINE, signal: leave }, () => docker.engineId({ anew: true }))) !== engineId;
}

/**
 * An attempt that is lost after its start. Its lines count, so when it was the last attempt the job
 * ends here.
 */
function lost(
  job: ClaimedJob,
  { cancel }: RunControl,
  { containerId, logLineCount }: { containerId: string | undefined; logLineCount: number },
): RunEnd {
  if (cancel.aborted) return { type: 'ENDED', outcome: { status: 'CANCELED' }, logLineCount, containerId };
  if (!job.isLastAttempt) return { type: 'LOST_ATTEMPT', containerId };
  const outcome = failed('SYSTEM', 'Its container was lost with the Docker engine, in the last attempt that there is.');
  return { type: 'ENDED', outcome, logLineCount, containerId };
}

/**
 * How long a container has run. Both times are by the engine's clock, which is never compared with
 * another.
 */
async function ageMs(docker: Docker, startedAt: Date): Promise<number> {
  const offsetMs = await docker.clockOffsetMs(); // first: a slow answer is part of the age
  return Date.now() + offsetMs - startedAt.getTime();
}

/**
 * Calls `onEnd` when `ranMs`, which may not be known at once, reaches `limitMs`. Returns a function
 * that stops that.
 */
function limitTime(limitMs: number, ranMs: Promise<number>, onEnd: () => void): () => void {
  let forget: (() => void) | undefined;
  let isOver = false;
  ranMs.then(
    (ran) => {
      if (!isOver) forget = callAfter(limitMs - ran, onEnd);
    },
    () => undefined, // the worker left the run
  );
  return () => {
    isOver = true;
    forget?.();
  };
}

const ENGINE_SAID = 'The Docker engine says why a container could not run.';
const attemptLost = (attempt: number) =>
  `Attempt ${attempt} was lost together with its worker: what it printed last, if anything, may be missing above.`;
const CONTAINER_GONE = 'The container was removed while its log was read: what it printed last may be missing here.';
const LOG_CUT_SHORT = 'The Docker engine does not give the log of the container: lines may be missing above.';
const WORKER_STOOD_STILL =
  'The worker of the container stood still when the container ended, and had not read all that it printed: what it printed last may be missing above.';
const ENGINE_STARTED_ANEW =
  'The Docker engine was started anew while the container ran: lines that it had not written down yet may be missing above.';

function logDamaged(number: number): string {
  return `The Docker engine cannot read a part of its log of the container, as after a time with a full disk: lines are missing after line ${number}.`;
}

function diskFull({ from, to }: Period): string {
  return `The disk of the Docker engine was full from ${from.toISOString()} to ${to.toISOString()}: lines that were printed in that time may be missing above.`;
}

/**
 * The exit codes that a stopping engine leaves its containers with: SIGKILL, or no known code. The
 * third is that of the container's stop signal.
 */
const ENGINE_CODES = [137, 255];
/**
 * The tolerance between the time when an engine ends its containers and the time when we see it go
 * or come back.
 */
const AWAY_MARGIN_MS = 2_000;
const CLOCK_RETRY_MS = 30_000;

/**
 * Whether the engine, not the workflow, caused the end. An engine that stops sends SIGTERM to its
 * containers, and some answer with a code of their own; a killed engine does so when it comes back.
 * For a container that ended while no worker watched, after a reboot for example, only the code is
 * known, and whether the engine has run on since. An engine that was away and does not tell its
 * time for long counts as the cause.
 */
async function isEndedByEngine(
  docker: Docker,
  state: ContainerState,
  { away, endedUnseen }: { away: Away | undefined; endedUnseen: boolean },
  leave: AbortSignal,
): Promise<boolean> {
  const { exitCode, finishedAt } = state;
  if (exitCode === 0 || isOutOfMemory(state)) return false;
  if (endedUnseen) {
    const isOfEngine = ENGINE_CODES.includes(exitCode) || exitCode === codeOfSignal(state.stopSignal);
    return isOfEngine && !(await hasEngineRunOn(docker, state, leave));
  }
  if (away === undefined || finishedAt === undefined) return false;
  try {
    const retries = { ...ENGINE_BACKOFF_MS, timeoutMs: () => CLOCK_RETRY_MS, signal: leave };
    const offsetMs = await retry(retries, docker.clockOffsetMs);
    const at = finishedAt.getTime() - offsetMs; // by this process's clock, like `away`
    return at > away.from - AWAY_MARGIN_MS && at < away.to + AWAY_MARGIN_MS;
  } catch (error) {
    leave.throwIfAborted();
    if (!isEngineError(error)) throw error;
    return true;
  }
}

/**
 * Stops the container for the first reason that arrives: its stop signal, the grace, SIGKILL.
 * Retries while the engine is away.
 */
function createStopper(
  docker: Docker,
  { containerId, graceSeconds }: { containerId: string; graceSeconds: number },
  { leave, isFresh }: RunControl,
  log: Logger,
) {
  let stopping: Promise<StoppedBy | undefined> | undefined;

  async function stop(reason: StoppedBy): Promise<StoppedBy | undefined> {
    let wasSent = false; // while it ran: an engine may stop it without saying so
    const stopOnce = async (): Promise<StoppedBy | undefined> => {
      if (!isFresh()) throw new Error('The lease could not be renewed in time');
      const isRunning = (await docker.inspectContainer(containerId))?.status === 'running';
      if (!isRunning) return wasSent ? reason : undefined;
      const wasSentBefore = wasSent;
      wasSent = true;
      return (await docker.stopContainer(containerId, graceSeconds)) || wasSentBefore ? reason : undefined;
    };
    const isGone = (error: unknown): undefined => {
      if (!isEngineError(error, 'NOT_FOUND')) throw error;
      return undefined;
    };
    const retries = { log, what: 'Stopping a container', maxMs: 2_000, signal: leave };
    return retry(retries, () => stopOnce().catch(isGone)).catch(unlessAborted(leave));
  }

  return {
    stop(reason: StoppedBy): void {
      stopping ??= stop(reason);
    },
    /** The reason for the stop, once it is done; undefined when the container ended by itself. */
    settled: () => stopping ?? Promise.resolve(undefined),
  };
}

const STORED_WAIT_MS = { minMs: 10, maxMs: 1_000 };
const ASKING_LINE = 'Asking for stored lines';
const ASKING_ENGINE = 'Asking the engine for its id';
const ASKING_AGE = 'Asking for how long a container has run';

/** Whether the engine answers that it has no such container. */
async function isGone(docker: Docker, containerId: string): Promise<boolean> {
  try {
    return (await docker.inspectContainer(containerId)) === undefined;
  } catch (error) {
    if (isEngineError(error)) return false;
    throw error;
  }
}
