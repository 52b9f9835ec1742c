import type { Logger } from 'pino';
import type { Shutdown } from './shutdown.ts';

/** What is not drained by then is left to its lease: another process takes it over. Below the 40 s that docker-compose.yml grants. */
const DRAIN_SECONDS_MAX = 25;
/** npm hands a Ctrl-C on to a process that the terminal has sent it to already: that is one Ctrl-C, not two. */
const SAME_SIGNAL_MS = 500;

/** SIGTERM and SIGINT drain and exit with 0 (or process.exitCode, where a command has set one); a second SIGINT exits at once with 130. What nobody caught is logged; exit 1. */
export function handleSignals(closing: Shutdown, log: Logger): { stopping(): boolean } {
  let stoppingSince: number | undefined;

  async function drain(signal: string): Promise<void> {
    stoppingSince = performance.now();
    log.info(`${signal}: stopping; a second Ctrl-C stops at once`);
    const timer = setTimeout(() => {
      log.warn(`Not drained after ${DRAIN_SECONDS_MAX} seconds: what still runs is left to its leases.`);
      process.exit();
    }, DRAIN_SECONDS_MAX * 1000);
    await closing.close();
    clearTimeout(timer);
    log.info({ event: 'stopped' }, `stopped after ${Math.round(performance.now() - stoppingSince)} ms`);
    process.exit();
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stoppingSince === undefined) void drain(signal);
      else if (signal === 'SIGINT' && performance.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(130);
    });
  }
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'An error that nobody caught ends this process.');
    process.exit(1); // an embedded PostgreSQL stops by itself (pdeathsig), or is found at the next start
  });
  return { stopping: () => stoppingSince !== undefined };
}
