import type { Logger } from 'pino';

/**
 * Begins to start `part`. The returned function logs that the part is there, and how long its start
 * took.
 */
export function progress(log: Logger, part: string): (what: string) => void {
  const started = performance.now();
  return (what) => {
    const ms = Math.round(performance.now() - started);
    log.info({ event: 'part', part, ms }, `${part}: ${what}, ${ms} ms`);
  };
}
