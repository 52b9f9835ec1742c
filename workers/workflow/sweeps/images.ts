import { neededGenerations, workflowsBuilding } from '../../../db/builds/images.ts';
import type { Db } from '../../../db/client.ts';
import { generationKey } from '../../../db/workflows/payloads.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import type { ListedImage } from '../../../platform/docker/images.ts';
import { BUILT_PREFIX, builtLabels, generationOf, layerOf } from '../builds/built-image.ts';

/**
 * Removes the images that builds of this installation made and that no generation needs any more, and the layers that a stopped build has
 * left; how many. Images are listed first and rows read afterwards: the row of a build is there before its image. What was pulled is not
 * ours, and stays.
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
    // One that has lost its tag to a second try of its build is needed by nobody, unless it is the one that was stored.
    if (need !== undefined && (tags.length > 0 || need.imageId === null || need.imageId === id)) continue;
    names.push(...(tags.length > 0 ? tags : [id]));
  }
  let removed = 0;
  for (const name of names) {
    try {
      await docker.removeImage(name);
      removed += 1;
    } catch (error) {
      if (!isEngineError(error)) throw error; // a container of it is left, say: the next sweep tries again
    }
  }
  return removed;
}

/** Whoever pushes or tags an image of ours makes it theirs as well; one that was pulled may carry any label. */
function isOurs({ tags, hasDigest }: ListedImage): boolean {
  return !hasDigest && tags.every((tag) => tag.startsWith(BUILT_PREFIX));
}
