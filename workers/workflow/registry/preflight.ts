import { z } from 'zod';
import type { ImageReference } from '../../../domain/images/image-reference.ts';
import type { RegistryAuth } from '../../../domain/payload/registry-auth.ts';
import type { Platform } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { type Challenge, challengesIn, realmsIn } from './challenge.ts';
import { type RegistryAnswer, type RegistryClient, redirectTarget } from './client.ts';
import { notAllowed, notGiven } from './errors.ts';

const TOKEN_BYTES_MAX = 64 * 1024;
/** The limit that registries themselves apply. */
const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;
/** Manifests and layers of one image for one platform. The engine has at most 127 layers. */
const PLACES_MAX = 600;
const PLACES_AT_ONCE = 6;

const TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

interface Asked {
  /** For the first step, which has a shorter limit than the others. */
  helloClient: RegistryClient;
  client: RegistryClient;
  registry: string;
  /** As the user names it. */
  image: string;
  reference: ImageReference;
  auth: RegistryAuth<never> | undefined;
  /** The platform that the engine pulls for. */
  platform: () => Promise<Platform>;
  /**
   * Digests of this name that the engine has. When the registry gives one of them, nothing is
   * pulled.
   */
  digests: string[];
}

/**
 * Takes the path of a pull before the engine does: the registry, its token server, the manifest,
 * the layers, and the redirects of each. So it refuses a forbidden place, or a missing image,
 * before the engine contacts anything. Resolves with the registry's digest for the name. Undefined
 * when the registry gives none, or when somebody on the way may have given it: then the engine
 * asks, and verifies by its own rules.
 */
export async function preflight(asked: Asked): Promise<string | undefined> {
  const { helloClient, client, reference } = asked;
  const { origin, hello } = await reach(asked);
  let authorization = await authorize(asked, hello);
  const path = (kind: string, name: string) => new URL(`/v2/${reference.repository}/${kind}/${name}`, origin);
  const manifest = (name: string) => path('manifests', name);

  const name = reference.digest ?? reference.tag ?? 'latest';
  const look = () => client.get(manifest(name), { method: 'HEAD', accept: TYPES, authorization });
  let head = await look();
  await checkRealms(asked, head);
  if (head.status === 401 && authorization === undefined) {
    authorization = await authorize(asked, head); // some registries ask for a token only here
    head = await look();
    await checkRealms(asked, head);
  }
  const isVerified = helloClient.isVerified() && client.isVerified();
  const digest = isVerified && head.status === 200 ? head.header('docker-content-digest') : undefined;
  if (digest !== undefined && asked.digests.includes(digest)) return digest;

  const places: Place[] = [];
  const take = (descriptors: Descriptor[], kind: 'blobs' | 'manifests') => {
    for (const { digest: one, urls = [] } of descriptors) {
      // Manifests are read below, and one of several mirrors may lack a layer.
      const isNeeded = kind === 'blobs' && urls.length === 0;
      places.push({ url: path(kind, one), isNeeded });
      places.push(...urls.map((url) => ({ url: redirectTarget(url) ?? refuse(asked), isNeeded: false })));
      if (places.length > PLACES_MAX) refuse(asked);
    }
  };
  const names = [name]; // of manifests: an index names others, which may be indexes too
  for (let next = names.shift(); next !== undefined; next = names.shift()) {
    const { config, layers = [], fsLayers = [], manifests } = await read(asked, manifest(next), authorization);
    take([...(config ? [config] : []), ...layers, ...fsLayers], 'blobs');
    const children = manifests ? ofPlatform(manifests, await asked.platform()) : [];
    take(children, 'manifests');
    names.push(...children.map((child) => child.digest));
  }
  await each(places, async ({ url, isNeeded }) => {
    const answer = await client.get(url, url.origin === origin ? { authorization } : {});
    await checkRealms(asked, answer);
    if (isNeeded && answer.status !== 200) throw notGiven(asked.image, answer);
  });
  return digest;
}

interface Place {
  url: URL;
  /** Without a manifest there is no image. */
  isNeeded: boolean;
}

/**
 * Over https, or over http when the registry speaks no TLS, as engines do with registries
 * configured so.
 */
async function reach({ helloClient, registry }: Asked): Promise<{ origin: string; hello: RegistryAnswer }> {
  const secure = redirectTarget(`https://${registry}/v2/`);
  const plain = redirectTarget(`http://${registry}/v2/`);
  if (secure === undefined || plain === undefined) throw notAllowed(registry);
  try {
    return { origin: secure.origin, hello: await helloClient.get(secure) };
  } catch (error) {
    if (!isEngineError(error, 'UNREACHABLE')) throw error;
    return { origin: plain.origin, hello: await helloClient.get(plain) };
  }
}

async function authorize(asked: Asked, hello: RegistryAnswer): Promise<string | undefined> {
  await checkRealms(asked, hello);
  if (hello.status !== 401) return undefined;
  const challenges = challengesIn(hello.challenges);
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
  if (bearer !== undefined) return tokenOf(asked, bearer);
  return challenges.some(({ scheme }) => scheme === 'basic') ? basic(asked.auth) : undefined;
}

async function tokenOf(asked: Asked, { params }: Challenge): Promise<string | undefined> {
  const realm = redirectTarget(params.get('realm') ?? '');
  if (realm === undefined) return undefined;
  const service = params.get('service');
  if (service !== undefined) realm.searchParams.set('service', service);
  realm.searchParams.set('scope', `repository:${asked.reference.repository}:pull`);
  if (asked.auth !== undefined) realm.searchParams.set('account', asked.auth.username);
  // Somebody on the way may name a token server too. So the login goes only to one that the
  // registry itself named.
  const isNamed = asked.helloClient.isVerified() && asked.client.isVerified();
  const authorization = isNamed ? basic(asked.auth) : undefined;
  const answer = await asked.client.get(realm, { authorization, bytesMax: TOKEN_BYTES_MAX });
  // An outage of the token server is not a refusal.
  if (answer.status === 429 || answer.status >= 500) throw notGiven(asked.image, answer);
  const given = answer.status === 200 ? token.safeParse(parsed(answer.body)).data : undefined;
  const text = given?.token ?? given?.access_token;
  return text === undefined ? undefined : `Bearer ${text}`;
}

/** Every place to which a registry may send the engine for a token. */
async function checkRealms(asked: Asked, { challenges }: RegistryAnswer): Promise<void> {
  for (const realm of realmsIn(challenges)) await asked.client.check(redirectTarget(realm) ?? refuse(asked));
}

/**
 * The engine is never sent to a manifest that the registry does not give us: it might get another
 * answer and be redirected elsewhere.
 */
async function read(asked: Asked, url: URL, authorization: string | undefined): Promise<Manifest> {
  const answer = await asked.client.get(url, { accept: TYPES, authorization, bytesMax: MANIFEST_BYTES_MAX });
  await checkRealms(asked, answer);
  if (answer.status !== 200) throw notGiven(asked.image, answer);
  return manifestSchema.safeParse(parsed(answer.body)).data ?? {}; // the engine refuses any other
}

async function each(places: Place[], act: (place: Place) => Promise<void>): Promise<void> {
  const left = [...places];
  const walk = async () => {
    for (let place = left.shift(); place !== undefined; place = left.shift()) await act(place);
  };
  await Promise.all(Array.from({ length: PLACES_AT_ONCE }, walk));
}

function refuse({ registry }: Asked): never {
  throw notAllowed(registry);
}

function basic(auth: RegistryAuth<never> | undefined): string | undefined {
  return auth && `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // no schema accepts this
  }
}

/**
 * What an engine of this platform may take from an index. An entry without a platform may be for
 * every platform.
 */
function ofPlatform(manifests: IndexEntry[], { os, architecture }: Platform): IndexEntry[] {
  const runs = [architecture, ...(RUNS_TOO[architecture] ?? [])];
  return manifests.filter(
    ({ platform }) =>
      (!platform?.os || platform.os === os) && (!platform?.architecture || runs.includes(platform.architecture)),
  );
}
const RUNS_TOO: Partial<Record<string, string[]>> = { amd64: ['386'], arm64: ['arm'] };

const token = z.object({ token: z.string().optional(), access_token: z.string().optional() });
const digest = z.string().regex(/^[a-z0-9+._-]+:[a-f0-9]+$/i);
const descriptor = z.object({ digest, urls: z.array(z.string()).optional() });
type Descriptor = z.infer<typeof descriptor>;
const indexEntry = descriptor.extend({
  platform: z.object({ os: z.string().optional(), architecture: z.string().optional() }).nullish(),
});
type IndexEntry = z.infer<typeof indexEntry>;
const manifestSchema = z.object({
  manifests: z.array(indexEntry).optional(),
  config: descriptor.optional(),
  layers: z.array(descriptor).optional(),
  /** The field of the first format. */
  fsLayers: z
    .array(z.object({ blobSum: digest }).transform(({ blobSum }): Descriptor => ({ digest: blobSum })))
    .optional(),
});
type Manifest = z.infer<typeof manifestSchema>;
