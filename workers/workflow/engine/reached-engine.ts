import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';

/** The ids of the engine and of its store, or undefined while it does not answer. */
export async function reachedEngine(docker: Docker): Promise<{ engineId: string; storeId: string } | undefined> {
  if (!(await docker.isUp())) return undefined;
  try {
    return { engineId: await docker.engineId(), storeId: await docker.storeId() };
  } catch (error) {
    if (isEngineError(error)) return undefined; // it has just gone away
    throw error;
  }
}
