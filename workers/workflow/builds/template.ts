import { timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Db } from '../../../db/client.ts';
import { type Generation, generationKey, loadPayloads } from '../../../db/payloads.ts';
import { CONTAINER_TIMEOUT_SECONDS } from '../../../domain/limits.ts';
import { mapContainer } from '../../../domain/payload/map-secrets.ts';
import type { ContainerPayload, ImageBuild } from '../../../domain/payload/payload.ts';
import { type SealedSecret, type Sealer, UnreadableSecret } from '../../../domain/payload/secret.ts';
import { openingOf } from '../../../domain/payload/secrets.ts';
import type { Cache } from '../../../platform/cache/cache.ts';
import { builtTag } from './built-image.ts';

/**
 * All that a job of one generation needs to run: the payload of a CONTAINER, and the image that its
 * build has pinned.
 */
export interface Template extends Omit<ContainerPayload<never>, 'kind' | 'build'>, PinnedImage {
  /** The image as the author wrote it, or the tag of the image that was built. */
  image: string;
  /** Whether the image was built, and not pulled. */
  isBuilt: boolean;
  timeout_seconds: number;
  /** The log masks these values. */
  secrets: string[];
}

/** The image that a build has found or made. */
export interface PinnedImage {
  /**
   * What the build found under the image's name. Every job of the generation runs this image, even
   * when the tag moves.
   */
  imageId: string;
  /** The image's name with its digest, by which another engine pulls the same image. */
  imageDigest?: string | undefined;
  /** The engine that found or made it. Undefined for builds of older versions. */
  engineId?: string | undefined;
}

/**
 * A template in the cache. Its secrets are sealed. It has no Dockerfile, because no job reads one.
 */
interface StoredTemplate {
  payload: Omit<ContainerPayload, 'build'>;
  pinned: PinnedImage;
}

const signed = z.looseObject({ mac: z.string() });
/**
 * The form of a signed template. A worker of another version may have signed one in another form.
 */
const stored = z.object({
  payload: z.custom<StoredTemplate['payload']>(isContainer),
  pinned: z.object({ imageId: z.string(), imageDigest: z.string().optional(), engineId: z.string().optional() }),
});

function isContainer(payload: unknown): boolean {
  return typeof payload === 'object' && payload !== null && 'kind' in payload && payload.kind === 'CONTAINER';
}

const TEMPLATE_TTL_SECONDS = 86_400;

export interface Templates {
  store(generation: Generation, payload: ContainerPayload, image: PinnedImage): Promise<void>;
  /**
   * Undefined when the generation is gone, or its image was never built. Rejects when the database
   * is away, and with an UnreadableSecret when a secret is under a key that this process does not
   * have.
   */
  load(generation: Generation): Promise<Template | undefined>;
  /**
   * What the generation is built from, or undefined when the generation is gone. A template has no
   * Dockerfile, so this reads the database.
   */
  source(generation: Generation): Promise<ImageBuild | undefined>;
}

/**
 * Keeps templates in the cache, and makes them again from the database when the cache has lost
 * them.
 */
export function createTemplates({
  db,
  cache,
  log,
  sealer,
  maxJobSeconds = Number.POSITIVE_INFINITY,
}: {
  db: Db;
  cache: Cache;
  log: Logger;
  sealer: Sealer;
  /**
   * The operator's maximum. It also holds for payloads that name no time-out, and for those that
   * were accepted before the maximum was set.
   */
  maxJobSeconds?: number | undefined;
}): Templates {
  function open(generation: Generation, { payload, pinned }: StoredTemplate): Template {
    const { secrets, open: openOne } = openingOf(sealer, generation.workflowId);
    const { kind: _, ...opened } = mapContainer<SealedSecret, never>(payload, openOne);
    return {
      ...opened,
      ...pinned,
      image: payload.image ?? builtTag(generation),
      isBuilt: payload.image === undefined,
      timeout_seconds: Math.min(payload.timeout_seconds ?? CONTAINER_TIMEOUT_SECONDS, maxJobSeconds),
      secrets,
    };
  }

  async function store(generation: Generation, payload: ContainerPayload, image: PinnedImage): Promise<void> {
    const template = JSON.stringify(toTemplate(payload, image));
    const [mac] = macsOf(sealer, generation, template);
    try {
      const text = JSON.stringify({ ...JSON.parse(template), mac: mac.toString('base64url') });
      await cache.set(keyOf(generation), text, TEMPLATE_TTL_SECONDS);
    } catch (error) {
      log.debug({ err: error }, 'A template could not be cached; the next job makes it again.');
    }
  }

  async function cached(generation: Generation): Promise<Template | undefined> {
    try {
      const text = await cache.get(keyOf(generation));
      if (text === undefined) return undefined;
      const { mac, ...template } = signed.parse(JSON.parse(text));
      const given = Buffer.from(mac, 'base64url');
      const isOurs = macsOf(sealer, generation, JSON.stringify(template)).some(
        (one) => one.length === given.length && timingSafeEqual(one, given),
      );
      if (isOurs) return open(generation, stored.parse(template));
      log.warn(
        { ...generation },
        'A template in the cache is not what a worker put there; it is read from the database.',
      );
      return undefined;
    } catch (error) {
      // Cached before the keys were rotated.
      if (error instanceof UnreadableSecret) return undefined;
      log.debug({ err: error }, 'A template could not be read from the cache; it is made again from the database.');
      return undefined;
    }
  }

  return {
    store,
    async load(generation) {
      const found = await cached(generation);
      if (found !== undefined) return found;
      const row = (await loadPayloads(db, [generation])).get(generationKey(generation));
      if (row === undefined || row.payload.kind !== 'CONTAINER' || row.imageId === null) return undefined;
      const image = {
        imageId: row.imageId,
        imageDigest: row.imageDigest ?? undefined,
        engineId: row.engineId ?? undefined,
      };
      await store(generation, row.payload, image);
      return open(generation, toTemplate(row.payload, image));
    },

    async source(generation) {
      const payload = (await loadPayloads(db, [generation])).get(generationKey(generation))?.payload;
      return payload?.kind === 'CONTAINER' ? payload.build : undefined;
    },
  };
}

/**
 * The digests that sign a template, one for each key of the installation, the present key first.
 * Without them, an intruder who can write to the cache could run a program with a user's secrets,
 * whose ciphertexts are in the cache too. A template of another generation does not pass either.
 */
function macsOf(sealer: Sealer, generation: Generation, template: string) {
  return sealer.digests(`template\n${generationKey(generation)}\n${template}`);
}

function keyOf(generation: Generation): string {
  return `template:${generationKey(generation)}`;
}

function toTemplate({ build: _, ...payload }: ContainerPayload, pinned: PinnedImage): StoredTemplate {
  return { payload, pinned };
}
