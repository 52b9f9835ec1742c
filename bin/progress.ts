import type { Logger } from 'pino';

/**
 * Begins to start `part`; what is returned logs the line that says it is there, and how long that
 * took.
 */
export function progress(log: Logger, part: string): (what: string) => void {
  const started = performance.now();
  return (what) => {
    const ms = Math.round(performance.now() - started);
    log.info({ event: 'part', part, ms }, `${part}: ${what}, ${ms} ms`);
  };
}
