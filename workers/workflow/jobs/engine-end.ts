import type { ContainerState } from '../../../platform/docker/container-state.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';

/**
 * The engine dates what it writes by its own clock. A killed engine that comes back may end its
 * containers minutes after its first event.
 */
const RESTORE_MS_MAX = 300_000;

/**
 * Whether the engine certainly ran from the container's start, or from long before its end, until
 * now. Then the engine did not end the container, whatever its exit code says. The engine keeps few
 * events: when many have followed the end, the answer is false.
 */
export async function hasEngineRunOn(
  docker: Docker,
  { startedAt, finishedAt }: ContainerState,
  signal: AbortSignal,
): Promise<boolean> {
  const since = [startedAt, finishedAt && new Date(finishedAt.getTime() - RESTORE_MS_MAX)];
  try {
    for (const time of since)
      if (time !== undefined && (await docker.hasRunSince(secondsText(time), { signal }))) return true;
    return false;
  } catch (error) {
    signal.throwIfAborted();
    if (!isEngineError(error)) throw error;
    return false;
  }
}

function secondsText(time: Date): string {
  return (time.getTime() / 1_000).toFixed(3);
}
