import { z } from 'zod';
import type { ImageReference } from '../../../domain/images/image-reference.ts';
import type { RegistryAuth } from '../../../domain/payload/payload.ts';
import type { Platform } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { type Challenge, challengesIn, realmsIn } from './challenge.ts';
import { notAllowed, notGiven } from './refusal.ts';
import { placeOf, type Visited, type Visitor } from './visit.ts';

const TOKEN_BYTES_MAX = 64 * 1024;
/** The bound of the registries themselves. */
const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;
/** Manifests and layers of one image for one platform: the engine has 127 layers at most. */
const PLACES_MAX = 600;
const PLACES_AT_ONCE = 6;

const TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

interface Asked {
  /** For the first step, which takes less time than the others together. */
  greeter: Visitor;
  visitor: Visitor;
  registry: string;
  /** As its user names it. */
  image: string;
  reference: ImageReference;
  auth: RegistryAuth<never> | undefined;
  /** What the engine pulls for. */
  platform: () => Promise<Platform>;
  /** Digests of the name that the engine has already: where the registry gives one of these, nothing is pulled. */
  digests: string[];
}

/**
 * Goes the way that the engine will go to pull an image (the registry, its token server, the manifest, the layers, and the redirects of each),
 * so that what leads to a forbidden place, or is not given, is refused before the engine asks anything. The digest that the registry gives for the name;
 * undefined where it gives none, or where a person on the way may have given it: then the engine asks, which verifies by its own rules.
 */
export async function preflight(asked: Asked): Promise<string | undefined> {
  const { greeter, visitor, reference } = asked;
  const { origin, hello } = await reach(asked);
  let authorization = await authorize(asked, hello);
  const path = (kind: string, name: string) => new URL(`/v2/${reference.repository}/${kind}/${name}`, origin);
  const manifest = (name: string) => path('manifests', name);

  const name = reference.digest ?? reference.tag ?? 'latest';
  const look = () => visitor.visit(manifest(name), { method: 'HEAD', accept: TYPES, authorization });
  let head = await look();
  await judgeRealms(asked, head);
  if (head.status === 401 && authorization === undefined) {
    authorization = await authorize(asked, head); // some registries ask for a token here alone
    head = await look();
    await judgeRealms(asked, head);
  }
  const isVerified = greeter.isVerified() && visitor.isVerified();
  const digest = isVerified && head.status === 200 ? head.header('docker-content-digest') : undefined;
  if (digest !== undefined && asked.digests.includes(digest)) return digest;

  const places: Place[] = [];
  const take = (descriptors: Descriptor[], kind: 'blobs' | 'manifests') => {
    for (const { digest: one, urls = [] } of descriptors) {
      const isNeeded = kind === 'blobs' && urls.length === 0; // manifests are read below, and one of several places may lack a layer
      places.push({ url: path(kind, one), isNeeded });
      places.push(...urls.map((url) => ({ url: placeOf(url) ?? refuse(asked), isNeeded: false })));
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
    const visited = await visitor.visit(url, url.origin === origin ? { authorization } : {});
    await judgeRealms(asked, visited);
    if (isNeeded && visited.status !== 200) throw notGiven(asked.image, visited);
  });
  return digest;
}

interface Place {
  url: URL;
  /** Without it there is no image. */
  isNeeded: boolean;
}

/** By https, or by http where it speaks no TLS: engines do so too with those that they are told to trust. */
async function reach({ greeter, registry }: Asked): Promise<{ origin: string; hello: Visited }> {
  const secure = placeOf(`https://${registry}/v2/`);
  const plain = placeOf(`http://${registry}/v2/`);
  if (secure === undefined || plain === undefined) throw notAllowed(registry);
  try {
    return { origin: secure.origin, hello: await greeter.visit(secure) };
  } catch (error) {
    if (!isEngineError(error, 'UNREACHABLE')) throw error;
    return { origin: plain.origin, hello: await greeter.visit(plain) };
  }
}

async function authorize(asked: Asked, hello: Visited): Promise<string | undefined> {
  await judgeRealms(asked, hello);
  if (hello.status !== 401) return undefined;
  const challenges = challengesIn(hello.challenges);
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
  if (bearer !== undefined) return tokenOf(asked, bearer);
  return challenges.some(({ scheme }) => scheme === 'basic') ? basic(asked.auth) : undefined;
}

async function tokenOf(asked: Asked, { params }: Challenge): Promise<string | undefined> {
  const realm = placeOf(params.get('realm') ?? '');
  if (realm === undefined) return undefined;
  const service = params.get('service');
  if (service !== undefined) realm.searchParams.set('service', service);
  realm.searchParams.set('scope', `repository:${asked.reference.repository}:pull`);
  if (asked.auth !== undefined) realm.searchParams.set('account', asked.auth.username);
  // A person on the way may name a token server too: the login goes to one that the registry itself has named.
  const isNamed = asked.greeter.isVerified() && asked.visitor.isVerified();
  const authorization = isNamed ? basic(asked.auth) : undefined;
  const visited = await asked.visitor.visit(realm, { authorization, bytesMax: TOKEN_BYTES_MAX });
  const given = visited.status === 200 ? token.safeParse(parsed(visited.body)).data : undefined;
  const text = given?.token ?? given?.access_token;
  return text === undefined ? undefined : `Bearer ${text}`;
}

/** Every place to which a registry may send the engine for a token. */
async function judgeRealms(asked: Asked, { challenges }: Visited): Promise<void> {
  for (const realm of realmsIn(challenges)) await asked.visitor.judge(placeOf(realm) ?? refuse(asked));
}

/** Of a manifest that the registry does not give, the engine is not told: it might hear something else, and be led elsewhere. */
async function read(asked: Asked, url: URL, authorization: string | undefined): Promise<Manifest> {
  const visited = await asked.visitor.visit(url, { accept: TYPES, authorization, bytesMax: MANIFEST_BYTES_MAX });
  await judgeRealms(asked, visited);
  if (visited.status !== 200) throw notGiven(asked.image, visited);
  return manifestSchema.safeParse(parsed(visited.body)).data ?? {}; // one that is none of these, the engine refuses
}

async function each(places: Place[], visit: (place: Place) => Promise<void>): Promise<void> {
  const left = [...places];
  const walk = async () => {
    for (let place = left.shift(); place !== undefined; place = left.shift()) await visit(place);
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
    return undefined; // which no schema takes
  }
}

/** What an engine of this platform may take of an index. An entry that does not say for whom it is may be for everybody. */
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
  /** Of the first format. */
  fsLayers: z
    .array(z.object({ blobSum: digest }).transform(({ blobSum }): Descriptor => ({ digest: blobSum })))
    .optional(),
});
type Manifest = z.infer<typeof manifestSchema>;
