import type { Db } from '../../db/client.ts';
import { noteFoundVolumes, volumesRemoved, volumeWork } from '../../db/volumes.ts';
import { isId } from '../../domain/ids.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { installationLabels } from './container.ts';
import { NAME_LABEL, USER_LABEL, volumeName } from './volumes.ts';

/** The engine reads every file of every volume to tell sizes. */
const SIZES_MS = 600_000;
/** Where there is one whose size was never told. */
const FIRST_SIZES_MS = 60_000;
const REMOVED_MAX = 100;

/** Carries out on one engine what users ask for of their volumes, and notes which ones there are, and how large. */
export function createVolumeSweep({
  db,
  docker,
  installation,
}: {
  db: Db;
  docker: Docker;
  installation: string;
}): () => Promise<void> {
  let lookedAt = Number.NEGATIVE_INFINITY;

  async function look(engineId: string): Promise<void> {
    const listed = await docker.listVolumes(installationLabels(installation));
    const ours = listed.flatMap(({ name: onEngine, labels }) => {
      const [userId = '', name = ''] = [labels[USER_LABEL], labels[NAME_LABEL]];
      const isOurs = isId(userId) && volumeName({ installation, userId, name }) === onEngine;
      return isOurs ? [{ onEngine, userId, name }] : [];
    });
    const sizes = ours.length === 0 ? undefined : await docker.volumeSizes();
    await noteFoundVolumes(
      db,
      engineId,
      ours.map(({ onEngine, userId, name }) => ({ userId, name, sizeBytes: sizes?.get(onEngine) ?? null })),
    );
  }

  return async () => {
    const engineId = await docker.engineId();
    const { unwanted, unsized } = await volumeWork(db, engineId, REMOVED_MAX);
    const removed: string[] = [];
    for (const { id, userId, name } of unwanted)
      if (await docker.removeVolume(volumeName({ installation, userId, name }))) removed.push(id);
    if (removed.length > 0) await volumesRemoved(db, engineId, removed);
    if (performance.now() - lookedAt < (unsized ? FIRST_SIZES_MS : SIZES_MS)) return;
    await look(engineId);
    lookedAt = performance.now();
  };
}
