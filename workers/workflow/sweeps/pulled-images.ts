import {
  type BuildSource,
  engineImages,
  forgetEngineImages,
  forgetImageNames,
  removeUnusedImage,
  unusedImages,
} from '../../../db/builds/engine-images.ts';
import type { Db } from '../../../db/client.ts';
import { readDockerfile } from '../../../domain/dockerfile/dockerfile.ts';
import { fullName } from '../../../domain/images/image-reference.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';

interface OnEngine {
  db: Db;
  docker: Docker;
  /** With 0, nothing is removed. */
  imageRetentionDays: number;
}

/** The engine reads and deletes files for each, and the others come a minute later. */
const REMOVALS_PER_PASS = 20;

/**
 * Removes images that this installation has pulled onto one engine, that nothing has used for the
 * given days, and that nothing needs. Resolves with their number.
 *
 * Only names that our pulls gave are removed. If somebody has given an image another name, the
 * image is that person's too, and keeps all its names. The engine refuses to remove an image of
 * which a container exists, or from which another image was built.
 */
export async function sweepPulledImages({ db, docker, imageRetentionDays: days }: OnEngine): Promise<number> {
  const engineId = await docker.storeId();
  await forgetLost({ db, docker }, engineId);
  if (days === 0) return 0;
  let removed = 0;
  for (const imageId of await unusedImages(db, engineId, { days, limit: REMOVALS_PER_PASS })) {
    const remove = (names: string[], waiting: BuildSource[]) => removeFrom(docker, imageId, names, waiting);
    if (await removeUnusedImage(db, { engineId, imageId, days }, remove)) removed += 1;
  }
  return removed;
}

/**
 * Forgets the images and names that the engine has lost: what comes back is another's. Reads the
 * rows first, so that a pull which ends meanwhile is in the list, or changes its row. Asks the
 * engine for its id afterwards, because another one may have come up at its address.
 */
async function forgetLost({ db, docker }: Pick<OnEngine, 'db' | 'docker'>, engineId: string): Promise<void> {
  const known = await engineImages(db, engineId);
  if (known.length === 0) return;
  const present = await docker.listNames();
  await docker.engineId({ anew: true });
  if ((await docker.storeId()) !== engineId) return;
  const gone = known.filter(({ imageId }) => !present.has(imageId));
  await forgetEngineImages(db, engineId, gone);
  for (const image of known) {
    const names = present.get(image.imageId);
    const lost = names === undefined ? [] : image.names.filter((name) => !names.includes(name));
    if (lost.length > 0) await forgetImageNames(db, engineId, image, lost);
  }
}

/** Whether the image is gone. False if somebody has it too, or the engine refuses. */
async function removeFrom(docker: Docker, imageId: string, ours: string[], waiting: BuildSource[]): Promise<boolean> {
  const found = await docker.lookAt(imageId);
  if (found === undefined) return true;
  const { names } = found;
  if (names.some((name) => !ours.includes(name))) return false;
  const wanted = new Set(waiting.flatMap(imagesOf).map(fullName));
  if (names.some((name) => wanted.has(name))) return false;
  try {
    await removeWithNames(docker, imageId, names);
    return true;
  } catch (error) {
    // For example, a container has been made from it: a later sweep looks again.
    if (!isEngineError(error) || error.isAway) throw error;
    return false;
  }
}

/**
 * By its id, because a name may mean another image by now. The engine refuses that for an image
 * with several tags. If it gives another reason, the image is needed. Otherwise all tags but one go
 * by their names first. If a person moves such a tag between our look and the removal, which are
 * milliseconds apart, the moved one is removed.
 */
async function removeWithNames(docker: Docker, imageId: string, names: string[]): Promise<void> {
  try {
    await docker.removeImage(imageId);
  } catch (error) {
    const hasManyNames = isEngineError(error, 'CONFLICT') && /referenced in multiple repositories/i.test(error.words);
    if (!hasManyNames || (await docker.hasContainer(imageId))) throw error;
    for (const tag of names.filter((name) => !name.includes('@')).slice(1)) {
      if ((await docker.findNamedImage(tag))?.id === imageId) await docker.removeImage(tag);
    }
    await docker.removeImage(imageId);
  }
}

function imagesOf({ image, dockerfile }: BuildSource): string[] {
  const bases = dockerfile === null ? [] : (readDockerfile(dockerfile).dockerfile?.images ?? []);
  return image === null ? bases : [image, ...bases];
}
