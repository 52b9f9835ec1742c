import { neededGenerations, workflowsBuilding } from '../../../db/builds/images.ts';
import type { Db } from '../../../db/client.ts';
import { generationKey } from '../../../db/payloads.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import type { ListedImage } from '../../../platform/docker/images.ts';
import { BUILT_PREFIX, builtLabels, generationOf, layerOf } from '../builds/built-image.ts';

/**
 * Removes images that this installation built and no generation needs, and layers that a stopped
 * build left. Resolves with their number. Lists images first and reads rows afterwards: a build's
 * row exists before its image. Images that were pulled are not ours, and stay.
 */
export async function sweepImages({
  db,
  docker,
  installation,
}: {
  db: Db;
  docker: Docker;
  installation: string;
}): Promise<number> {
  const ours = (await docker.listImages(builtLabels(installation))).filter(isOurs);
  const built = ours.flatMap((image) => {
    const generation = generationOf(image);
    return generation === undefined ? [] : [{ ...image, generation }];
  });
  const needed = await neededGenerations(
    db,
    built.map(({ generation }) => generation),
  );
  const layers = ours.flatMap((image) => {
    const workflowId = layerOf(image);
    return workflowId === undefined ? [] : [{ id: image.id, workflowId }];
  });
  const building = await workflowsBuilding(
    db,
    layers.map(({ workflowId }) => workflowId),
  );
  const names = layers.flatMap(({ id, workflowId }) => (building.has(workflowId) ? [] : [id]));
  for (const { id, tags, generation } of built) {
    const need = needed.get(generationKey(generation));
    // A second try of a build takes the tag from the first one's image. Nobody needs the first,
    // unless its id is the one stored.
    if (need !== undefined && (tags.length > 0 || need.imageId === null || need.imageId === id)) continue;
    names.push(...(tags.length > 0 ? tags : [id]));
  }
  let removed = 0;
  for (const name of names) {
    try {
      await docker.removeImage(name);
      removed += 1;
    } catch (error) {
      // For example, a container still uses it: the next sweep retries.
      if (!isEngineError(error)) throw error;
    }
  }
  return removed;
}

/**
 * An image of ours that somebody pushes or tags is theirs too. A pulled image may carry any label.
 */
function isOurs({ tags, hasDigest }: ListedImage): boolean {
  return !hasDigest && tags.every((tag) => tag.startsWith(BUILT_PREFIX));
}
