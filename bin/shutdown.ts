import type { Logger } from 'pino';

/** What was opened, to be closed in the opposite order. */
export interface Shutdown {
  add(name: string, close: () => Promise<void>): void;
  /** Closes everything; one that fails to close is logged and keeps the others from nothing. Called again, waits for the first. */
  close(): Promise<void>;
}

export function createShutdown(log: Logger): Shutdown {
  const opened: { name: string; close: () => Promise<void> }[] = [];
  let closing: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    for (let last = opened.pop(); last !== undefined; last = opened.pop()) {
      const started = performance.now();
      try {
        await last.close();
        log.debug({ part: last.name, ms: Math.round(performance.now() - started) }, `${last.name}: closed`);
      } catch (error) {
        log.error({ err: error, part: last.name }, `${last.name} could not be closed cleanly.`);
      }
    }
  }

  return {
    add: (name, close) => void opened.push({ name, close }),
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}
