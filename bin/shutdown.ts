import type { Logger } from 'pino';
import { settledBefore } from '../platform/async/deadline.ts';

/**
 * In which order a process closes its parts, and by when: seconds after the signal. What one stage
 * leaves over goes to the next. Work comes in at the top and is stored at the bottom, so the stages
 * that store lines come late, and no stage before them can use up their time.
 */
export const SHUTDOWN_STAGES = [
  { stage: 'clients', bySeconds: 1 }, // the demo's own
  { stage: 'api', bySeconds: 6 }, // streams and sockets end, requests get their answers
  { stage: 'scheduling', bySeconds: 7.5 }, // nothing new is dispatched
  // Checks end, containers and builds are handed on; their lines are on the bus.
  { stage: 'runs', bySeconds: 14 },
  { stage: 'log storage', bySeconds: 19 }, // the lines on the bus are stored
  { stage: 'bus', bySeconds: 21 },
  { stage: 'cache', bySeconds: 21.5 },
  { stage: 'database connections', bySeconds: 22.5 },
  { stage: 'database', bySeconds: 24.5 }, // the embedded one writes a checkpoint
  { stage: 'data folder', bySeconds: 25 },
] as const;

/**
 * Below the 40 s that docker-compose.yml grants. What still runs by then is left to its leases:
 * another process takes it over.
 */
export const SHUTDOWN_SECONDS_MAX = 25;

/**
 * A part gives up at its deadline. It has this long to write that down, by giving jobs back for
 * example; then it is left behind.
 */
const GIVE_UP_MS = 1_000;

export type ShutdownStage = (typeof SHUTDOWN_STAGES)[number]['stage'];

/** Closes a part. When `deadline` aborts, it stops waiting for whatever it waits for. */
export type Close = (deadline: AbortSignal) => Promise<void>;

/** The parts of this process that are open. */
export interface Shutdown {
  add(stage: ShutdownStage, name: string, close: Close): void;
  /** Aborts when the shutdown begins: what is still being opened stops waiting. */
  readonly signal: AbortSignal;
  /**
   * Closes everything, stage by stage, the parts of one stage together. A part that fails or takes
   * too long is logged, and does not stop the others. A second call waits for the first.
   */
  close(): Promise<void>;
}

export function createShutdown(log: Logger): Shutdown {
  const opened: { stage: ShutdownStage; name: string; close: Close }[] = [];
  const begins = new AbortController();
  let closing: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    const started = performance.now();
    begins.abort();
    for (const { stage, bySeconds } of SHUTDOWN_STAGES) {
      const parts = opened.filter((part) => part.stage === stage);
      // A timer takes whole ones.
      const leftMs = Math.max(0, Math.round(started + bySeconds * 1_000 - performance.now()));
      await Promise.all(parts.map((part) => closePart(part, leftMs)));
    }
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
    add: (stage, name, close) => void opened.push({ stage, name, close }),
    signal: begins.signal,
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}
