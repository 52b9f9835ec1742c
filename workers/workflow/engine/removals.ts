import type { Logger } from 'pino';
import { settledWithin } from '../../../platform/async/deadline.ts';
import { waitAfter } from '../../../platform/async/retry.ts';
import type { Docker } from '../../../platform/docker/docker.ts';

/** Containers that no job and no build needs any more. Nothing waits for their removal, which an engine may refuse or never answer. */
export interface Removals {
  /**
   * Removes this container, whatever it does. One that cannot be removed is tried again with a back-off of its own, until it is gone. False where
   * it is being removed already, or so many are that this one has to be asked for again.
   */
  remove(containerId: string): boolean;
  /** Tries nothing again, and waits a moment for what is being removed. */
  close(): Promise<void>;
}

/** Requests at the engine at once. */
const AT_ONCE_MAX = 64;
/** Containers that are tried again later: the sweep finds those beyond. */
const REMEMBERED_MAX = 10_000;
const BACKOFF_MS = { minMs: 1_000, maxMs: 60_000 };
const CLOSE_MS = 5_000;

export function createRemovals({ docker, log }: { docker: Docker; log: Logger }): Removals {
  const removing = new Map<string, Promise<void>>();
  const stop = new AbortController();
  let asking = 0;

  async function untilGone(containerId: string): Promise<void> {
    for (let failures = 0; !stop.signal.aborted; ) {
      if (asking < AT_ONCE_MAX) {
        asking += 1;
        try {
          await docker.removeContainer(containerId, { force: true });
          if (failures > 0) log.info({ containerId, failures }, 'A container that could not be removed is gone.');
          return;
        } catch (error) {
          if (failures === 0)
            log.warn(
              { err: error, containerId },
              'A container could not be removed; it is tried again until it is gone.',
            );
          failures += 1;
        } finally {
          asking -= 1;
        }
      }
      await waitAfter(Math.max(failures, 1), { ...BACKOFF_MS, signal: stop.signal });
    }
  }

  return {
    remove(containerId) {
      if (removing.has(containerId) || removing.size >= REMEMBERED_MAX || stop.signal.aborted) return false;
      removing.set(
        containerId,
        untilGone(containerId).finally(() => removing.delete(containerId)),
      );
      return true;
    },

    async close() {
      const left = Promise.all(removing.values());
      stop.abort();
      await settledWithin(left, CLOSE_MS);
    },
  };
}
