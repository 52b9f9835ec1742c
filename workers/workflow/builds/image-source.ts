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
import { fullName, imageProblem, parseImageReference } from '../../../domain/images/image-reference.ts';
import { DOCKER_HUB, type ImagePatterns, matchesImage } from '../../../domain/images/registry-allow.ts';
import { IMAGE_LABEL_BYTES_MAX, IMAGE_VOLUMES_MAX } from '../../../domain/limits.ts';
import type { Mask } from '../../../domain/masking/mask.ts';
import type { PullPolicy } from '../../../domain/payload/container-schema.ts';
import type { RegistryAuth } from '../../../domain/payload/registry-auth.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isEngineError } from '../../../platform/docker/errors.ts';
import type { NamedImage } from '../../../platform/docker/images.ts';
import { NameFault } from '../../shared/dns/names.ts';
import { createOwnImages } from '../engine/own-images.ts';
import type { Registries } from '../registry/registries.ts';
import { checkPlatform } from './platform.ts';

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

/** The image that a build looks for. */
export interface WantedImage {
  image: string;
  auth?: Auth;
  pullPolicy?: PullPolicy | undefined;
}

/**
 * Images that users name. An image on the engine is not for everybody. A user may use it when the
 * operator's LOCAL_IMAGES names it and no login pulled it, when its registry gives it to this user
 * now, or when the registry gave it to this user before and the payload lets builds use that. The
 * engine contacts only registries that REGISTRY_ALLOW allows.
 */
export interface ImageSource {
  /**
   * The image that the name means now. Its registry decides, as the pull policy says. Rejects with
   * an EngineError in our words.
   */
  find(request: ImageRequest, wanted: WantedImage): Promise<NamedImage>;
  /** The image from its registry, whatever LOCAL_IMAGES says. */
  pull(request: ImageRequest, image: string, auth: Auth): Promise<NamedImage>;
  /**
   * Resolves when the user may still use the image that a build found under a name. A build from
   * before these rules is checked at its next job. No registry is asked for an image that no
   * registry gave, nor with the pull policy NEVER.
   */
  confirm(
    request: ImageRequest,
    found: { image: string; imageId: string; imageDigest?: string | undefined; pull_policy?: PullPolicy | undefined },
    auth: Auth,
  ): Promise<void>;
  /**
   * The image on the engine that has this name, when a job is about to use it. No sweep removes it
   * from then on.
   */
  held(name: string): Promise<NamedImage | undefined>;
}

export function createImageSource({
  db,
  docker,
  log,
  registries,
  localImages,
  installation,
  owner,
}: {
  db: Db;
  docker: Docker;
  log: Logger;
  registries: Registries;
  localImages: ImagePatterns;
  installation: string;
  owner: string;
}): ImageSource {
  const own = createOwnImages({ db, docker, log });

  async function isLocal(image: string, imageId: string): Promise<boolean> {
    if (!matchesImage(localImages, image)) return false;
    const repository = repositoryOf(image);
    const names = await privateNames(db, imageId, nameOf(image), isNamedByDigest(image));
    return !names.some((name) => name === repository || repositoryOf(name) === repository);
  }

  async function find(request: ImageRequest, { image, auth, pullPolicy = 'ALWAYS' }: WantedImage): Promise<NamedImage> {
    const problem = imageProblem(image);
    if (problem) throw new EngineError('INVALID', `The image ${image} ${problem}.`);
    const found = await docker.findNamedImage(image);
    // A pull would move the name away from an image that was made here, for everybody. So a login
    // does not change what such a name means.
    const isMadeHere = found !== undefined && isOfThisEngine(image, found);
    const isOpen = found !== undefined && (auth === undefined || isMadeHere) && (await isLocal(image, found.id));
    const use = (here: NamedImage, reason: string) => {
      request.say(`${image} is on the Docker engine, and is used as it is: ${reason}.`);
      return here;
    };
    if (pullPolicy !== 'ALWAYS' && found !== undefined && (isOpen || (await wasGiven(request, image, found))))
      return use(found, `the pull policy is ${pullPolicy}`);
    if (pullPolicy === 'NEVER') throw neverPulled(image);
    if (isOpen && isNamedByDigest(image)) return use(found, 'a digest names one image for good');
    if (isOpen && isMadeHere) return use(found, 'no registry has given it');
    try {
      return await ask(request, image, auth, found);
    } catch (error) {
      request.signal.throwIfAborted();
      if (found === undefined || !isEngineError(error)) throw error;
      if (isOpen && (!isOfSilence(error) || found.digests.length === 0)) return use(found, withoutEnd(error.message));
      if (isOpen || (await wasGiven(request, image, found)))
        throw withWayOut(error, 'With the pull policy IF_MISSING, the image that the Docker engine has is used.');
      if (isOfSilence(error))
        log.info({ image }, 'The image is on the engine: LOCAL_IMAGES can let users have it without its registry.');
      throw error;
    }
  }

  /** Whether its registry gave this image to the user before. */
  function wasGiven({ userId }: ImageRequest, image: string, { id }: NamedImage): Promise<boolean> {
    return wasPulledFor(db, { userId, imageId: id, repository: repositoryOf(image) });
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
    const before = await own.lookAround();
    if (auth !== undefined) await beginPrivatePull(db, note, imageIdBefore);
    const pullOnce = async () => {
      await docker.pullImage(image, { onProgress: say, signal, auth });
      return docker.findNamedImage(image);
    };
    let pulled: NamedImage | undefined;
    try {
      // A sweep may have removed the same image, under another name, in the middle of the pull.
      pulled = (await pullOnce()) ?? (await pullOnce());
    } catch (error) {
      signal.throwIfAborted();
      if (auth !== undefined) {
        const now = await docker.findNamedImage(image);
        if (now?.id === imageIdBefore) await settlePrivatePull(db, note, now?.id);
      }
      throw inOurWords(request, image, error);
    }
    if (pulled === undefined || pulled.labelBytes > IMAGE_LABEL_BYTES_MAX) {
      // All jobs and builds depend on the engine's lists, which this author could make as long as
      // they like.
      await docker.removeImage(image);
      if (auth !== undefined) await settlePrivatePull(db, note, undefined);
      throw labelled(image);
    }
    if (auth !== undefined) await settlePrivatePull(db, note, pulled.id);
    await own.notePull(pulled.id, before);
    await notePulledImage(db, { userId, imageId: pulled.id, repository: note.repository });
    return pulled;
  }

  /**
   * What `look` finds, once its use is noted. A sweep that had begun to remove it comes first: then
   * `look` finds it gone, and gets it again.
   */
  async function hold(image: string, look: () => Promise<NamedImage>): Promise<NamedImage> {
    for (let tries = 0; tries < HOLD_TRIES_MAX; tries++) {
      const found = await look();
      await own.noteUse(found.id);
      if ((await docker.lookAt(found.id)) !== undefined) return found;
    }
    throw new EngineError('BUSY', `The image ${image} is removed from the Docker engine again and again.`);
  }

  async function usable({ say }: ImageRequest, image: string, found: NamedImage): Promise<NamedImage> {
    await checkPlatform({ docker, installation, owner }, image, found.platform, say);
    return withinBounds(image, found);
  }

  /** Only the operator sees what a registry said: it may be another service's answer. */
  function inOurWords({ userId, mask }: ImageRequest, image: string, error: unknown): unknown {
    if (!isEngineError(error)) return error;
    const cause = error.cause instanceof Error ? error.cause.message : error.words;
    const said = cause === undefined ? undefined : (mask?.text(cause) ?? cause);
    log.warn({ image, userId, kind: error.kind, said }, `An image was not given. ${error.message}`);
    const { isAway, retryAfterSeconds } = error;
    return new EngineError(error.kind, error.message, {
      isAway,
      retryAfterSeconds,
      ...(error.cause instanceof NameFault && { cause: error.cause }),
    });
  }

  return {
    async find(request, wanted) {
      const { image } = wanted;
      return usable(request, image, await hold(image, () => find(request, wanted)));
    },

    async pull(request, image, auth) {
      const look = async () => ask(request, image, auth, await docker.findNamedImage(image));
      return usable(request, image, await hold(image, look));
    },

    async held(name) {
      const found = await docker.findNamedImage(name);
      if (found === undefined) return undefined;
      await own.noteUse(found.id);
      return docker.findNamedImage(name);
    },

    async confirm(request, { image, imageId, imageDigest, pull_policy: pullPolicy }, auth) {
      await own.noteUse(imageId);
      if (await isLocal(image, imageId)) return;
      if (imageDigest === undefined && (await docker.lookAt(imageId)) === undefined) throw imageGone(image, imageId);
      if (await wasPulledFor(db, { userId: request.userId, imageId, repository: repositoryOf(image) })) return;
      if (imageDigest === undefined) throw notAllowedNow(image);
      if (pullPolicy === 'NEVER') throw neverPulled(image);
      const { id } = await ask(request, imageDigest, auth, await docker.findNamedImage(imageDigest));
      if (id !== imageId) throw imageGone(image, imageId);
    },
  };
}

/** More often than by a sweep at the wrong moment, an image is not removed. */
const HOLD_TRIES_MAX = 3;

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
    `The image ${imageId} that the build found as ${image} is on no Docker engine any more, and no registry gave it. Call rebuildWorkflow, or update the payload, to use the image that ${image} names now.`,
  );
}

/** The operator has changed LOCAL_IMAGES since the build, or a login has pulled the image. */
function notAllowedNow(image: string): EngineError {
  return new EngineError(
    'NOT_FOUND',
    `The image ${image} was made on the Docker engine, and the operator does not let users have it any more.`,
  );
}

export function neverPulled(image: string): EngineError {
  return new EngineError(
    'NOT_FOUND',
    `The Docker engine has no image ${image} that you may use, and the pull policy NEVER lets no registry be asked.`,
  );
}

/**
 * An image that was made or loaded on this engine, under a name without a registry. A public
 * registry that has this name too has somebody else's image. A name that begins with a registry is
 * that registry's own.
 */
function isOfThisEngine(image: string, { digests }: NamedImage): boolean {
  return digests.length === 0 && parseImageReference(image).reference?.registry === DOCKER_HUB;
}

function withWayOut(error: EngineError, wayOut: string): EngineError {
  const { kind, message, words, isAway, retryAfterSeconds, cause } = error;
  return isAway ? error : new EngineError(kind, `${message} ${wayOut}`, { words, isAway, retryAfterSeconds, cause });
}

function withoutEnd(sentence: string): string {
  return sentence.replace(/\.$/, '');
}

function isNamedByDigest(image: string): boolean {
  return parseImageReference(image).reference?.digest !== undefined;
}

function nameOf(image: string): ImageName {
  return { image: fullName(image), repository: repositoryOf(image) };
}

function repositoryOf(image: string): string {
  const { reference } = parseImageReference(image);
  return reference === undefined ? image : `${reference.registry}/${reference.repository}`;
}
