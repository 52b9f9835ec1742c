import { timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Db } from '../../../db/client.ts';
import { type Generation, generationKey, loadPayloads } from '../../../db/workflows/payloads.ts';
import { CONTAINER_TIMEOUT_SECONDS } from '../../../domain/limits.ts';
import {
  CONTAINER_NETWORKS,
  type ContainerPayload,
  type ImageBuild,
  type RegistryAuth,
} from '../../../domain/payload/payload.ts';
import { type Sealer, UnreadableSecret } from '../../../domain/payload/secret.ts';
import { openingOf } from '../../../domain/payload/secrets.ts';
import type { Cache } from '../../../platform/cache/cache.ts';
import { builtTag } from './built-image.ts';

const secret = z.object({ secret: z.literal(true), sealed: z.string() });
const value = z.union([z.string(), secret]);
/** Not a z.record, which drops what is called `__proto__`. */
function isEnvironment(env: unknown): boolean {
  return typeof env === 'object' && env !== null && Object.values(env).every((one) => value.safeParse(one).success);
}

const stored = z.object({
  /** As its author wrote it, or the tag of what was built for it. */
  image: z.string(),
  /** Whether it was built, and not pulled. */
  isBuilt: z.boolean().optional(),
  /** What the build found under that name: every job of the generation runs this one, also when the tag moves. */
  imageId: z.string(),
  /** Its name with its digest, by which another engine pulls the same one. */
  imageDigest: z.string().optional(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z.custom<Record<string, z.infer<typeof value>>>(isEnvironment).optional(),
  workingDir: z.string().optional(),
  timeoutSeconds: z.number(),
  volumes: z.array(z.object({ name: z.string(), path: z.string(), read_only: z.boolean().optional() })).optional(),
  resources: z
    .object({ cpus: z.number().optional(), memory_mb: z.number().optional(), pids: z.number().optional() })
    .optional(),
  network: z.enum(CONTAINER_NETWORKS).optional(),
  registryAuth: z.object({ username: z.string(), password: z.union([z.string(), secret]) }).optional(),
});
const signed = z.looseObject({ mac: z.string() });

/** As it is cached: secrets are sealed. */
type StoredTemplate = z.infer<typeof stored>;

/** All that running a job of one generation takes. */
export interface Template extends Omit<StoredTemplate, 'env' | 'registryAuth'> {
  env?: Record<string, string>;
  registryAuth?: RegistryAuth<never>;
  /** What is to be masked in all that comes of it. */
  secrets: string[];
}

const TEMPLATE_TTL_SECONDS = 86_400;

export interface Templates {
  store(generation: Generation, payload: ContainerPayload, image: PinnedImage): Promise<void>;
  /**
   * Undefined when the generation is gone, or its image was never built. Rejects when the database is away, and with an UnreadableSecret
   * when a secret is under a key that this process does not have.
   */
  load(generation: Generation): Promise<Template | undefined>;
  /** What the generation is built from: a Dockerfile is no part of its template. Undefined when it is gone. */
  source(generation: Generation): Promise<ImageBuild | undefined>;
}

/** What a build has found or made. */
export interface PinnedImage {
  imageId: string;
  imageDigest?: string | undefined;
}

/** Templates are in the cache, and made again from the database when it has lost them. */
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
  /** The operator's maximum, which holds for payloads that name no time-out, or were taken before, too. */
  maxJobSeconds?: number | undefined;
}): Templates {
  function openWithin(generation: Generation, template: StoredTemplate): Template {
    const timeoutSeconds = Math.min(template.timeoutSeconds, maxJobSeconds);
    return { ...open(sealer, generation, template), timeoutSeconds };
  }

  async function store(generation: Generation, payload: ContainerPayload, image: PinnedImage): Promise<void> {
    const template = JSON.stringify(toTemplate(generation, payload, image));
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
      if (isOurs) return openWithin(generation, stored.parse(template));
      log.warn(
        { ...generation },
        'A template in the cache is not what a worker put there; it is read from the database.',
      );
      return undefined;
    } catch (error) {
      if (error instanceof UnreadableSecret) return undefined; // cached before the keys were rotated
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
      const image = { imageId: row.imageId, imageDigest: row.imageDigest ?? undefined };
      await store(generation, row.payload, image);
      return openWithin(generation, toTemplate(generation, row.payload, image));
    },

    async source(generation) {
      const payload = (await loadPayloads(db, [generation])).get(generationKey(generation))?.payload;
      return payload?.kind === 'CONTAINER' ? payload.build : undefined;
    },
  };
}

/**
 * Of a template under the installation's keys, the present one first. Who can write to the cache could otherwise run a program of their own with
 * somebody's secrets, whose ciphertexts stand there too. A template of another generation does not pass either.
 */
function macsOf(sealer: Sealer, generation: Generation, template: string) {
  return sealer.digests(`template\n${generationKey(generation)}\n${template}`);
}

function keyOf(generation: Generation): string {
  return `template:${generationKey(generation)}`;
}

function open(sealer: Sealer, { workflowId }: Generation, { env, registryAuth, ...rest }: StoredTemplate): Template {
  const opening = openingOf(sealer, workflowId);
  return {
    ...rest,
    ...(env === undefined ? {} : { env: opening.openPairs('env', env) }),
    ...(registryAuth === undefined ? {} : { registryAuth: openAuth(opening, registryAuth) }),
    secrets: opening.secrets,
  };
}

export function openAuth(opening: ReturnType<typeof openingOf>, auth: RegistryAuth): RegistryAuth<never> {
  return { username: auth.username, password: opening.open('registry_auth', 'password', auth.password) };
}

function toTemplate(generation: Generation, payload: ContainerPayload, image: PinnedImage): StoredTemplate {
  return {
    image: payload.image ?? builtTag(generation),
    ...(payload.image === undefined ? { isBuilt: true } : {}),
    ...image,
    command: payload.command,
    args: payload.args,
    env: payload.env,
    workingDir: payload.working_dir,
    timeoutSeconds: payload.timeout_seconds ?? CONTAINER_TIMEOUT_SECONDS,
    volumes: payload.volumes,
    resources: payload.resources,
    network: payload.network,
    registryAuth: payload.registry_auth,
  };
}
