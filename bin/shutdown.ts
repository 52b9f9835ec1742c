import type { Logger } from 'pino';
import { settledBefore } from '../platform/async/deadline.ts';

/**
 * The order in which a process closes its parts, and each deadline in seconds after the signal. A
 * stage that ends early leaves its time to the next one. Work arrives at the top and is stored at
 * the bottom. So the stages that store lines come late, and no earlier stage can use up their time.
 */
export const SHUTDOWN_STAGES = [
  { stage: 'clients', bySeconds: 1 }, // the demo's client
  { stage: 'api', bySeconds: 6 }, // streams and sockets end, requests get their answers
  { stage: 'scheduling', bySeconds: 7.5 }, // dispatch stops
  // Checks end. Another process takes over containers and builds. Their lines are on the bus.
  { stage: 'runs', bySeconds: 14 },
  { stage: 'log storage', bySeconds: 19 }, // the lines on the bus are stored
  { stage: 'bus', bySeconds: 21 },
  { stage: 'cache', bySeconds: 21.5 },
  { stage: 'database connections', bySeconds: 22.5 },
  { stage: 'database', bySeconds: 24.5 }, // an embedded one writes a checkpoint
  { stage: 'data folder', bySeconds: 25 },
] as const;

/**
 * Less than the 40 s that docker-compose.yml grants. Work that still runs then is left to its
 * leases, and another process takes it over.
 */
export const SHUTDOWN_SECONDS_MAX = 25;

/**
 * A part gives up at its deadline. Then it has this long to record that, for example by giving jobs
 * back. After that, the shutdown goes on without it.
 */
const GIVE_UP_MS = 1_000;

/** The time of a part that is opened after its stage. */
const LATE_MS = 5_000;

export type ShutdownStage = (typeof SHUTDOWN_STAGES)[number]['stage'];

/** Closes a part. When `deadline` aborts, the part stops waiting for anything. */
export type Close = (deadline: AbortSignal) => Promise<void>;

/** The open parts of this process. */
export interface Shutdown {
  /** Closes the part at its stage, or at once if that has passed. */
  add(stage: ShutdownStage, name: string, close: Close): void;
  /** Aborts when the shutdown begins. A part that is still being opened then stops waiting. */
  readonly signal: AbortSignal;
  /**
   * Closes everything, stage by stage. The parts of one stage close together. A part that fails or
   * takes too long is logged, and does not stop the others. A second call waits for the first.
   */
  close(): Promise<void>;
}

export function createShutdown(log: Logger): Shutdown {
  const opened: { stage: ShutdownStage; name: string; close: Close }[] = [];
  const begins = new AbortController();
  const late: Promise<void>[] = [];
  /** Stages whose turn has come. */
  const begun = new Set<ShutdownStage>();
  let closing: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    const started = performance.now();
    begins.abort();
    for (const { stage, bySeconds } of SHUTDOWN_STAGES) {
      begun.add(stage);
      const parts = opened.filter((part) => part.stage === stage);
      // A timer takes whole milliseconds.
      const leftMs = Math.max(0, Math.round(started + bySeconds * 1_000 - performance.now()));
      await Promise.all(parts.map((part) => closePart(part, leftMs)));
    }
    await Promise.all(late);
  }

  async function closePart({ name, close }: { name: string; close: Close }, leftMs: number): Promise<void> {
    const started = performance.now();
    const deadline = AbortSignal.timeout(Math.max(0, leftMs - GIVE_UP_MS));
    try {
      if (await settledBefore(close(deadline), AbortSignal.timeout(leftMs))) {
        log.debug({ part: name, ms: Math.round(performance.now() - started) }, `${name}: closed`);
      } else log.warn({ part: name }, `${name} did not close in its time, and is left behind.`);
    } catch (error) {
      log.error({ err: error, part: name }, `${name} could not be closed cleanly.`);
    }
  }

  return {
    add(stage, name, close) {
      // A part that was being opened when its stage came: it may have begun to work.
      if (begun.has(stage)) late.push(closePart({ name, close }, LATE_MS));
      else opened.push({ stage, name, close });
    },
    signal: begins.signal,
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}
