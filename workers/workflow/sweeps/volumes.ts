import type { Db } from '../../../db/client.ts';
import { noteFoundVolumes, unwantedVolumes, volumesRemoved } from '../../../db/volumes.ts';
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
 * Removes from one engine the volumes that users have deleted, some in each pass, which goes on where the one before has come to: however many
 * the engine does not remove, those behind them have their turn.
 */
export function createVolumeRemoval({ db, docker, installation }: OnEngine): () => Promise<void> {
  let after = NO_ID;
  return async () => {
    const engineId = await docker.engineId();
    const unwanted = await unwantedVolumes(db, engineId, { after, limit: VOLUMES_PER_PASS });
    after = (unwanted.length === VOLUMES_PER_PASS && unwanted.at(-1)?.id) || NO_ID;
    await eachAlone(unwanted, async ({ id, userId, name }) => {
      if (await docker.removeVolume(volumeName({ installation, userId, name })))
        await volumesRemoved(db, engineId, [id]);
    });
  };
}

/**
 * Notes which volumes there are on one engine, and how large, where the engine knows that. It reads every file for the sizes, for minutes: so
 * they are asked for first, and a volume that is removed meanwhile is not in the list.
 */
export async function noteVolumes({ db, docker, installation }: OnEngine, signal: AbortSignal): Promise<void> {
  const engineId = await docker.engineId();
  const list = () => docker.listVolumes(installationLabels(installation));
  const sizes = (await list()).length === 0 ? undefined : await docker.volumeSizes({ signal });
  const found = (await list()).flatMap(({ name: onEngine, labels }) => {
    const [userId = '', name = ''] = [labels[USER_LABEL], labels[NAME_LABEL]];
    const isOurs = isId(userId) && volumeName({ installation, userId, name }) === onEngine;
    return isOurs ? [{ userId, name, sizeBytes: sizes?.get(onEngine) ?? null }] : [];
  });
  await noteFoundVolumes(db, engineId, found);
}
