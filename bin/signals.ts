import type { Logger } from 'pino';
import { SHUTDOWN_SECONDS_MAX, type Shutdown } from './shutdown.ts';

/**
 * npm passes on a Ctrl-C that the terminal has also sent to this process. The two count as one
 * Ctrl-C.
 */
const SAME_SIGNAL_MS = 500;

/**
 * SIGTERM, SIGINT and SIGHUP (the terminal was closed) drain, then exit with 0, or with
 * process.exitCode if a command has set it. A second SIGINT exits at once with 130. An uncaught
 * error is logged, and exits with 1.
 */
export function handleSignals(shutdown: Shutdown, log: Logger): { stopping(): boolean } {
  let stoppingSince: number | undefined;

  async function drain(signal: string): Promise<void> {
    stoppingSince = performance.now();
    log.info(`${signal}: stopping; a second Ctrl-C stops at once`);
    const timer = setTimeout(() => {
      log.warn(`Not drained after ${SHUTDOWN_SECONDS_MAX} seconds: what still runs is left to its leases.`);
      process.exit();
    }, SHUTDOWN_SECONDS_MAX * 1000);
    await shutdown.close();
    clearTimeout(timer);
    log.info({ event: 'stopped' }, `stopped after ${Math.round(performance.now() - stoppingSince)} ms`);
    process.exit();
  }

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stoppingSince === undefined) void drain(signal);
      else if (signal === 'SIGINT' && performance.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(130);
    });
  }
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'An error that nobody caught ends this process.');
    // An embedded PostgreSQL stops by itself (pdeathsig), or the next start finds it.
    process.exit(1);
  });
  return { stopping: () => stoppingSince !== undefined };
}
