import type { Logger } from 'pino';
import {
  beginPrivatePull,
  type ImageName,
  notePulledImage,
  privateNames,
  settlePrivatePull,
  wasPulledFor,
} from '../../../db/builds/images.ts';
import type { Db } from '../../../db/client.ts';
import { imageProblem, parseImageReference } from '../../../domain/images/image-reference.ts';
import { type ImagePatterns, matchesImage } from '../../../domain/images/registry-allow.ts';
import { IMAGE_LABEL_BYTES_MAX, IMAGE_VOLUMES_MAX } from '../../../domain/limits.ts';
import type { Mask } from '../../../domain/masking/mask.ts';
import type { RegistryAuth } from '../../../domain/payload/registry-auth.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isEngineError } from '../../../platform/docker/errors.ts';
import type { NamedImage } from '../../../platform/docker/images.ts';
import { NameFault } from '../../shared/dns/names.ts';
import type { Registries } from '../registry/registries.ts';

/** The user and the purpose of an image. */
export interface ImageRequest {
  userId: string;
  /** The build or job that needs the image. */
  puller: string;
  /** Masks what registries say. */
  mask: Mask | undefined;
  /** Writes a line for the user. */
  say: (line: string) => void;
  signal: AbortSignal;
}

type Auth = RegistryAuth<never> | undefined;

/**
 * Images that users name. An image on the engine is not for everybody. A user may use it when the
 * operator's LOCAL_IMAGES names it and no login pulled it, when its registry gives it to this user
 * now, or when the registry gave it to this user before and does not answer now. The engine
 * contacts only registries that REGISTRY_ALLOW allows.
 */
export interface ImageSource {
  /** The image of this name, pulled if needed. Rejects with an EngineError in our words. */
  find(request: ImageRequest, image: string, auth: Auth): Promise<NamedImage>;
  /** The same, always from the registry, whatever LOCAL_IMAGES says. */
  pull(request: ImageRequest, image: string, auth: Auth): Promise<NamedImage>;
  /**
   * Resolves when the user may still use the image that a build found under a name. A build from
   * before these rules is checked at its next job.
   */
  confirm(
    request: ImageRequest,
    found: { image: string; imageId: string; imageDigest?: string | undefined },
    auth: Auth,
  ): Promise<void>;
}

export function createImageSource({
  db,
  docker,
  log,
  registries,
  localImages,
}: {
  db: Db;
  docker: Docker;
  log: Logger;
  registries: Registries;
  localImages: ImagePatterns;
}): ImageSource {
  async function isLocal(image: string, imageId: string): Promise<boolean> {
    if (!matchesImage(localImages, image)) return false;
    const repository = repositoryOf(image);
    const names = await privateNames(db, imageId, nameOf(image), isNamedByDigest(image));
    return !names.some((name) => name === repository || repositoryOf(name) === repository);
  }

  async function find(request: ImageRequest, image: string, auth: Auth): Promise<NamedImage> {
    const problem = imageProblem(image);
    if (problem) throw new EngineError('INVALID', `The image ${image} ${problem}.`);
    const found = await docker.findNamedImage(image);
    if (found !== undefined && auth === undefined && (await isLocal(image, found.id))) return found;
    try {
      return await ask(request, image, auth, found);
    } catch (error) {
      request.signal.throwIfAborted();
      if (found === undefined || !isOfSilence(error)) throw error;
      const pull = { userId: request.userId, imageId: found.id, repository: repositoryOf(image) };
      if (!(await wasPulledFor(db, pull))) {
        log.info({ image }, 'The image is on the engine: LOCAL_IMAGES can let users have it without its registry.');
        throw error;
      }
      request.say(`${error.message} The image that it gave before is used.`);
      return found;
    }
  }

  async function ask(request: ImageRequest, image: string, auth: Auth, found?: NamedImage): Promise<NamedImage> {
    request.say(`Asking the registry of ${image} for it.`);
    const digest = await admit(request, image, auth, found?.digests ?? []);
    if (found === undefined || digest === undefined || !found.digests.includes(digest)) {
      if (!isNamedByDigest(image)) return pullNow(request, image, auth, found?.id);
      await docker.askRegistry(image, { auth, signal: request.signal }).catch((error: unknown) => {
        throw inOurWords(request, image, error);
      });
      if (found === undefined) return pullNow(request, image, auth, undefined);
    }
    request.say(`${image} is there already.`);
    await notePulledImage(db, { userId: request.userId, imageId: found.id, repository: repositoryOf(image) });
    return found;
  }

  async function admit(
    request: ImageRequest,
    image: string,
    auth: Auth,
    digests: string[],
  ): Promise<string | undefined> {
    const { signal } = request;
    try {
      const { platform, registryAgent: userAgent } = docker;
      return await registries.admit(image, { auth, digests, platform, userAgent, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw inOurWords(request, image, error);
    }
  }

  /**
   * Records a pull with a login before it begins. A crash at any point leaves the record, so the
   * image is private. When the name still means what it meant before, nothing arrived. Nobody sees
   * the end of a pull that is stopped: the record stays, and the sweep decides
   * (sweeps/private-pulls.ts).
   */
  async function pullNow(
    request: ImageRequest,
    image: string,
    auth: Auth,
    imageIdBefore: string | undefined,
  ): Promise<NamedImage> {
    const { userId, puller, say, signal } = request;
    const note = { puller, ...nameOf(image), engineId: await docker.engineId() };
    if (auth !== undefined) await beginPrivatePull(db, note, imageIdBefore);
    try {
      await docker.pullImage(image, { onProgress: say, signal, auth });
    } catch (error) {
      signal.throwIfAborted();
      if (auth !== undefined) {
        const now = await docker.findNamedImage(image);
        if (now?.id === imageIdBefore) await settlePrivatePull(db, note, now?.id);
      }
      throw inOurWords(request, image, error);
    }
    const pulled = await docker.findNamedImage(image);
    if (pulled === undefined || pulled.labelBytes > IMAGE_LABEL_BYTES_MAX) {
      // All jobs and builds depend on the engine's lists, which this author could make as long as
      // they like.
      await docker.removeImage(image);
      if (auth !== undefined) await settlePrivatePull(db, note, undefined);
      throw labelled(image);
    }
    if (auth !== undefined) await settlePrivatePull(db, note, pulled.id);
    await notePulledImage(db, { userId, imageId: pulled.id, repository: note.repository });
    return pulled;
  }

  /** Only the operator sees what a registry said: it may be another service's answer. */
  function inOurWords({ userId, mask }: ImageRequest, image: string, error: unknown): unknown {
    if (!isEngineError(error)) return error;
    const cause = error.cause instanceof Error ? error.cause.message : undefined;
    const said = cause === undefined ? undefined : (mask?.text(cause) ?? cause);
    log.warn({ image, userId, kind: error.kind, said }, `An image was not given. ${error.message}`);
    const { isAway } = error;
    return new EngineError(error.kind, error.message, {
      isAway,
      ...(error.cause instanceof NameFault && { cause: error.cause }),
    });
  }

  return {
    find: async (request, image, auth) => withinBounds(image, await find(request, image, auth)),

    async pull(request, image, auth) {
      return withinBounds(image, await ask(request, image, auth, await docker.findNamedImage(image)));
    },

    async confirm(request, { image, imageId, imageDigest }, auth) {
      if (await isLocal(image, imageId)) return;
      if (await wasPulledFor(db, { userId: request.userId, imageId, repository: repositoryOf(image) })) return;
      const { id } = await find(request, imageDigest ?? image, auth);
      if (id !== imageId) throw imageGone(image, imageId);
    },
  };
}

/**
 * The engine makes an image's volumes one after the other, for each job and each step of a build.
 * 2,000 take 6 seconds.
 */
function withinBounds(image: string, found: NamedImage): NamedImage {
  if (found.labelBytes > IMAGE_LABEL_BYTES_MAX) throw labelled(image);
  if (found.volumeCount <= IMAGE_VOLUMES_MAX) return found;
  const message = `The image ${image} has ${found.volumeCount} volumes of its own: ${IMAGE_VOLUMES_MAX} are allowed at most.`;
  throw new EngineError('INVALID', message);
}

function labelled(image: string): EngineError {
  const message = `The image ${image} has labels of more than ${IMAGE_LABEL_BYTES_MAX} bytes, or says more of itself than can be read.`;
  return new EngineError('INVALID', message);
}

/** The registry does not answer, or its name does not resolve now, as without a network. */
function isOfSilence(error: unknown): error is EngineError {
  return isEngineError(error, 'UNREACHABLE', 'BUSY') || (isEngineError(error) && error.cause instanceof NameFault);
}

/** A job runs the image of its build, or none. */
export function imageGone(image: string, imageId: string): EngineError {
  return new EngineError(
    'NOT_FOUND',
    `The image ${imageId} that was found for ${image} is not to be had, and ${image} is another one now. Update the payload to build it again.`,
  );
}

function isNamedByDigest(image: string): boolean {
  return parseImageReference(image).reference?.digest !== undefined;
}

/** One spelling for each name. A digest decides, whatever tag stands beside it. */
function nameOf(image: string): ImageName {
  const { reference } = parseImageReference(image);
  const repository = repositoryOf(image);
  if (reference === undefined) return { image, repository };
  const { tag, digest } = reference;
  return { image: digest === undefined ? `${repository}:${tag ?? 'latest'}` : `${repository}@${digest}`, repository };
}

function repositoryOf(image: string): string {
  const { reference } = parseImageReference(image);
  return reference === undefined ? image : `${reference.registry}/${reference.repository}`;
}
