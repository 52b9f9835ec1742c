import type { Logger } from 'pino';
import { unlessAborted } from '../../../platform/async/abort.ts';
import { settledBefore } from '../../../platform/async/deadline.ts';
import { retry } from '../../../platform/async/retry.ts';
import { Semaphore } from '../../../platform/async/semaphore.ts';
import type { Docker } from '../../../platform/docker/docker.ts';

/**
 * Containers that no job and no build needs. Nothing waits for their removal: an engine may refuse
 * it or never answer.
 */
export interface Removals {
  /**
   * Removes this container, running or not. A removal that fails is retried with a back-off of its
   * own until the container is gone. False when the removal is already under way, or when too many
   * are: the caller asks again later.
   */
  remove(containerId: string): boolean;
  /** Retries nothing more, and waits a moment for the removals under way. */
  close(deadline: AbortSignal): Promise<void>;
}

/** Requests to the engine at once. */
const AT_ONCE_MAX = 64;
/** Containers to retry. The sweep finds those beyond. */
const REMEMBERED_MAX = 10_000;
const BACKOFF_MS = { minMs: 1_000, maxMs: 60_000 };
const CLOSE_MS = 5_000;

export function createRemovals({ docker, log }: { docker: Docker; log: Logger }): Removals {
  const removing = new Map<string, Promise<void>>();
  const stop = new AbortController();
  const atOnce = new Semaphore(AT_ONCE_MAX);

  async function untilGone(containerId: string): Promise<void> {
    const retries = {
      ...BACKOFF_MS,
      log: log.child({ containerId }),
      what: 'Removing a container',
      signal: stop.signal,
    };
    const removeOnce = async (): Promise<void> => {
      stop.signal.throwIfAborted(); // it may have waited long for its place
      await docker.removeContainer(containerId, { force: true });
    };
    await retry(retries, () => atOnce.run(removeOnce)).catch(unlessAborted(stop.signal));
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

    async close(deadline) {
      const left = Promise.all(removing.values());
      stop.abort();
      await settledBefore(left, AbortSignal.any([deadline, AbortSignal.timeout(CLOSE_MS)]));
    },
  };
}
