import { z } from 'zod';
import { fullName, type ImageReference, parseImageReference } from '../../domain/images/image-reference.ts';
import { byteCount } from '../../domain/text.ts';
import type { Engine } from './engine.ts';
import { isEngineError } from './errors.ts';

/** A platform in the words of images: `linux`, `amd64`. */
export interface Platform {
  os: string;
  architecture: string;
}

export interface NamedImage {
  id: string;
  /** The platform that its programs are for. Undefined if the image does not say. */
  platform: Platform | undefined;
  /**
   * Its name with the digest by which its registry knows it. Undefined if no registry has given or
   * taken the image.
   */
  digest: string | undefined;
  /** All digests by which its registry knows it. */
  digests: string[];
  /** Instructions that a build runs when it begins from this image. */
  onBuild: string[];
  /**
   * The size of its labels. Each list that contains the image, or a container of it, repeats them.
   */
  labelBytes: number;
  /** How many volumes the engine makes for each container of it. */
  volumeCount: number;
}

export interface ListedImage {
  id: string;
  labels: Record<string, string>;
  tags: string[];
  /** Whether a registry has given or taken it. */
  hasDigest: boolean;
}

export interface Images {
  /**
   * The image that has this name on the engine. Unlike `findImage`, it takes no id and no beginning
   * of one, which the engine would take for a name. A person's text must not reach images whose
   * names that person does not know.
   */
  findNamedImage(reference: string): Promise<NamedImage | undefined>;
  listImages(labels: Record<string, string>): Promise<ListedImage[]>;
  /** The full names of each image, by its id: its tags and its digests. */
  listNames(): Promise<Map<string, string[]>>;
  /**
   * Removes a tag, or an image by id, and the layers that nothing else needs. A missing image
   * counts as removed. If it is in use, it is a CONFLICT.
   */
  removeImage(tagOrId: string): Promise<void>;
  /** Its full names, and when it was made. Undefined if it does not exist. */
  lookAt(id: string): Promise<{ names: string[]; createdAt: Date } | undefined>;
  /** Whether a container is made from it, running or not. */
  hasContainer(id: string): Promise<boolean>;
}

export function createImages(engine: Engine): Images {
  async function inspect(reference: string): Promise<z.infer<typeof inspected> | undefined> {
    try {
      return inspected.parse(await engine.call({ method: 'GET', path: `${pathOf(reference)}/json` }));
    } catch (error) {
      // For example, engines accept no IPv6 address as a registry.
      if (isEngineError(error, 'NOT_FOUND', 'INVALID')) return undefined;
      throw error;
    }
  }

  return {
    async findNamedImage(reference) {
      const found = await inspect(reference);
      const asked = parseImageReference(reference).reference;
      if (found === undefined || asked === undefined) return undefined;
      const tags = (found.RepoTags ?? []).map(parsed);
      const digests = found.RepoDigests ?? [];
      const bears = asked.digest
        ? digests.some((name) => isOfRepository(name, asked) && parsed(name)?.digest === asked.digest)
        : tags.some((tag) => tag?.tag === asked.tag && isSameRepository(tag, asked));
      if (!bears) return undefined;
      const known = digests.filter((name) => isOfRepository(name, asked));
      return {
        id: found.Id,
        platform: found.Os && found.Architecture ? { os: found.Os, architecture: found.Architecture } : undefined,
        digest: known[0],
        digests: known.flatMap((name) => parsed(name)?.digest ?? []),
        onBuild: found.Config?.OnBuild ?? [],
        labelBytes: byteCount(JSON.stringify(found.Config?.Labels ?? {})),
        volumeCount: Object.keys(found.Config?.Volumes ?? {}).length,
      };
    },

    async listImages(labels) {
      const filters = JSON.stringify({ label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) });
      const listed = await engine.call({ method: 'GET', path: '/images/json', query: { filters } });
      return list.parse(listed).map(({ Id, Labels, RepoTags, RepoDigests }) => ({
        id: Id,
        labels: Labels ?? {},
        tags: (RepoTags ?? []).filter(isName),
        hasDigest: (RepoDigests ?? []).some(isName),
      }));
    },

    async listNames() {
      const listed = list.parse(await engine.call({ method: 'GET', path: '/images/json' }));
      return new Map(listed.map((image) => [image.Id, namesOf(image)]));
    },

    async removeImage(tagOrId) {
      try {
        await engine.call({ method: 'DELETE', path: pathOf(tagOrId) });
      } catch (error) {
        if (!isEngineError(error, 'NOT_FOUND')) throw error;
      }
    },

    async lookAt(id) {
      const found = await inspect(id);
      if (found === undefined) return undefined;
      return { names: namesOf(found), createdAt: new Date(found.Created ?? 0) };
    },

    async hasContainer(id) {
      const query = { all: true, limit: 1, filters: JSON.stringify({ ancestor: [id] }) };
      const listed = await engine.call({ method: 'GET', path: '/containers/json', query });
      return z.array(z.unknown()).parse(listed).length > 0;
    },
  };
}

function pathOf(reference: string): string {
  return `/images/${reference.split('/').map(encodeURIComponent).join('/')}`;
}

/** The engine lists an image without a name under the name `<none>`. */
function isName(name: string): boolean {
  return !name.startsWith('<none>');
}

function namesOf({ RepoTags, RepoDigests }: Pick<z.infer<typeof inspected>, 'RepoTags' | 'RepoDigests'>): string[] {
  return [...(RepoTags ?? []), ...(RepoDigests ?? [])].filter(isName).map(fullName);
}

function parsed(name: string): ImageReference | undefined {
  return parseImageReference(name).reference;
}

function isOfRepository(name: string, other: ImageReference): boolean {
  return isSameRepository(parsed(name), other);
}

function isSameRepository(one: ImageReference | undefined, other: ImageReference): boolean {
  return one?.registry === other.registry && one.repository === other.repository;
}

const names = z.array(z.string()).nullish();
const inspected = z.object({
  Id: z.string(),
  RepoTags: names,
  RepoDigests: names,
  Os: z.string().nullish(),
  Architecture: z.string().nullish(),
  Created: z.string().nullish(),
  Config: z
    .object({
      OnBuild: z.array(z.string()).nullish(),
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
});
const list = z.array(
  z.object({
    Id: z.string(),
    Labels: z.record(z.string(), z.string()).nullish(),
    RepoTags: names,
    RepoDigests: names,
  }),
);
