import type { Db } from '../../db/client.ts';
import { notePrivateImage, privateNames } from '../../db/images.ts';
import { parseImageReference } from '../../domain/image-reference.ts';
import type { RegistryAuth } from '../../domain/payload.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import type { NamedImage } from '../../platform/docker/images.ts';

/** What was pulled with a login. */
export interface Logins {
  /** The images, as their authors wrote them, that turned out to be this one. */
  imagesOf(imageId: string): Promise<string[]>;
  note(imageId: string, image: string): Promise<void>;
}

export function createLogins(db: Db): Logins {
  return {
    imagesOf: (imageId) => privateNames(db, imageId),
    note: (imageId, image) => notePrivateImage(db, imageId, image),
  };
}

export interface PullContext {
  docker: Docker;
  logins: Logins;
  say: (line: string) => void;
  signal: AbortSignal;
}

/**
 * The image that a person named, pulled where it is not on the engine. One that is there may have been pulled with somebody's login, and
 * then is not everybody's: whoever has a login has it checked by the registry, and whoever has none is asked for it there.
 */
export async function findOrPull(
  { docker, logins, say, signal }: PullContext,
  image: string,
  auth?: RegistryAuth<never>,
): Promise<NamedImage> {
  const found = await docker.findNamedImage(image);
  if (found !== undefined && auth === undefined) {
    const repository = repositoryOf(image);
    const isPrivate = (await logins.imagesOf(found.id)).some((other) => repositoryOf(other) === repository);
    if (!isPrivate) return found;
  }
  say(
    found === undefined
      ? `${image} is not there: pulling it.`
      : `${image} is there, and its registry decides who may have it.`,
  );
  await docker.pullImage(image, { onProgress: say, signal, auth });
  const pulled = await docker.findNamedImage(image);
  if (pulled === undefined) throw new Error(`The engine pulled ${image} and does not know it.`);
  if (auth !== undefined) await logins.note(pulled.id, image);
  return pulled;
}

function repositoryOf(image: string): string {
  const { reference } = parseImageReference(image);
  return reference === undefined ? image : `${reference.registry}/${reference.repository}`;
}
