import type { Db } from '../../../db/client.ts';
import { forgetCopies, noteFoundVolumes, unwantedVolumes, volumesRemoved } from '../../../db/volumes.ts';
import { isId, NO_ID } from '../../../domain/ids.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { eachAlone } from '../engine/each.ts';
import { installationLabels } from '../engine/labels.ts';
import { NAME_LABEL, USER_LABEL, volumeName } from '../engine/volumes.ts';

const VOLUMES_PER_PASS = 100;

interface OnEngine {
  db: Db;
  docker: Docker;
  installation: string;
}

/**
 * Removes volumes that users have deleted from one engine, a batch a pass. Each pass continues
 * where the last one stopped, so a volume that the engine does not remove never blocks those behind
 * it.
 */
export function createVolumeRemoval({ db, docker, installation }: OnEngine): () => Promise<void> {
  let after = NO_ID;
  return async () => {
    const engineId = await docker.storeId();
    const unwanted = await unwantedVolumes(db, engineId, { after, limit: VOLUMES_PER_PASS });
    after = (unwanted.length === VOLUMES_PER_PASS && unwanted.at(-1)?.id) || NO_ID;
    await eachAlone(unwanted, async ({ id, userId, name }) => {
      if (await docker.removeVolume(volumeName({ installation, userId, name })))
        await volumesRemoved(db, engineId, [id]);
    });
  };
}

/**
 * Records which volumes one engine has and, where the engine knows, their sizes. The engine reads
 * every file for the sizes, which takes minutes. So sizes come first: a volume removed meanwhile is
 * not in the later list.
 */
export async function noteVolumes({ db, docker, installation }: OnEngine, signal: AbortSignal): Promise<void> {
  const engineId = await docker.storeId();
  const formerId = await docker.engineId();
  const list = () => docker.listVolumes(installationLabels(installation));
  const sizes = (await list()).length === 0 ? undefined : await docker.volumeSizes({ signal });
  const found = (await list()).flatMap(({ name: onEngine, labels }) => {
    const [userId = '', name = ''] = [labels[USER_LABEL], labels[NAME_LABEL]];
    const isOurs = isId(userId) && volumeName({ installation, userId, name }) === onEngine;
    return isOurs ? [{ userId, name, sizeBytes: sizes?.get(onEngine) ?? null }] : [];
  });
  await noteFoundVolumes(db, engineId, found);
  // Older versions stored the id of the engine.
  if (formerId !== engineId) await forgetCopies(db, formerId, found);
}
