import { isAllowed, NETWORK_WORDS, type NetworkPolicy, parseAllow } from '../network/networks.ts';
import { readUrl } from '../network/read-url.ts';
import { type ImageReference, parseImageReference } from './image-reference.ts';

/** Which registries the engine may contact: the parsed setting REGISTRY_ALLOW. */
export interface RegistryPolicy {
  /**
   * The registries that the operator names, as `authorityOf` writes them. They are trusted wherever
   * they are.
   */
  names: ReadonlySet<string>;
  /** The networks that must contain the addresses of every other registry. */
  networks: NetworkPolicy;
}

export const DOCKER_HUB = 'docker.io';
const HUB_NAMES = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);
const NOTHING: NetworkPolicy = { words: new Set(), networks: [] };

/**
 * The policy that `text` describes ("public,registry.corp:5000,10.20.0.0/16"), or a sentence that
 * says what is wrong with it.
 */
export function parseRegistryAllow(text: string): RegistryPolicy | string {
  const names = new Set<string>();
  const others: string[] = [];
  for (const entry of text.split(',').map((part) => part.trim())) {
    const name = entry === '' || isNetwork(entry) ? undefined : readName(entry);
    if (name === undefined) others.push(entry);
    else names.add(name);
  }
  const left = others.filter((entry) => entry !== '');
  if (left.length === 0)
    return names.size > 0 ? { names, networks: NOTHING } : 'No registry is named: say for example "public".';
  const wrong = left.find((entry) => !isNetwork(entry));
  if (wrong !== undefined) {
    const problem = String(parseAllow(wrong));
    if (!problem.includes(' is none of ')) return problem;
    return `"${wrong}" is none of ${NETWORK_WORDS.join(', ')}, no network such as 10.0.0.0/8, and no registry such as ghcr.io or registry.example:5000.`;
  }
  const networks = parseAllow(left.join(','));
  return typeof networks === 'string' ? networks : { names, networks };
}

/**
 * The host and port of a registry, or of a place that a registry sends the engine to, in the one
 * form in which they are compared. The host is what resolvers make of it: 2130706433, 0x7f.1,
 * 0177.0.0.1 and 127.1 are the address 127.0.0.1. Undefined when `registry` names no host.
 */
export function authorityOf(registry: string): string | undefined {
  if (HUB_NAMES.has(registry.toLowerCase())) return DOCKER_HUB;
  if (!/^[\w.-]+(:\d{1,5})?$|^\[[\da-f:.]+\](:\d{1,5})?$/i.test(registry)) return undefined;
  const url = readUrl(`https://${registry}`);
  return url && url.hostname !== '' ? url.host : undefined;
}

/**
 * Whether the engine may contact a registry without a look at its addresses: the operator names it,
 * or it is Docker Hub and `public` is allowed.
 */
export function isTrustedRegistry({ names, networks }: RegistryPolicy, registry: string): boolean {
  const authority = authorityOf(registry);
  if (authority === undefined) return false;
  return names.has(authority) || (authority === DOCKER_HUB && networks.words.has('public'));
}

/**
 * Whether the engine may contact a name with these addresses. Each must be allowed, because the
 * engine may take any of them.
 */
export function areAllowed({ networks }: RegistryPolicy, addresses: string[]): boolean {
  return addresses.length > 0 && addresses.every((address) => isAllowed(networks, address));
}

/** The image patterns of the setting LOCAL_IMAGES. */
export type ImagePatterns = readonly { repository: RegExp; tag: RegExp }[];

const PATTERNS_MAX = 100;

/**
 * The patterns in `text` ("alpine:*,registry.corp/base/*"), or a sentence that says what is wrong
 * with them.
 */
export function parseImagePatterns(text: string): ImagePatterns | string {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (entries.length > PATTERNS_MAX) return `There are more than ${PATTERNS_MAX} patterns.`;
  const wrong = entries.find((entry) => !/^[A-Za-z0-9._\-/:*[\]]+$/.test(entry));
  if (wrong !== undefined) return `"${wrong}" is no pattern of an image such as "alpine:*", "team/*" or "*".`;
  return entries.map((entry) => {
    const colon = entry.indexOf(':', entry.lastIndexOf('/') + 1);
    const repository = colon === -1 ? entry : entry.slice(0, colon);
    return { repository: wildcards(repository), tag: wildcards(colon === -1 ? '*' : entry.slice(colon + 1)) };
  });
}

/** These patterns, and one for `image` itself. */
export function withImage(patterns: ImagePatterns, image: string): ImagePatterns {
  const [name = ''] = image.split('@');
  const more = parseImagePatterns(image.includes('@') ? `${name.replace(/:[^/:]*$/, '')}:*` : name);
  return typeof more === 'string' ? patterns : [...patterns, ...more];
}

/**
 * Whether one of the patterns covers `image`. An image that is named by its digest has any tag, so
 * only a pattern for all tags covers it.
 */
export function matchesImage(patterns: ImagePatterns, image: string): boolean {
  const { reference } = parseImageReference(image);
  if (reference === undefined) return false;
  const tag = reference.digest === undefined ? reference.tag : undefined;
  return patterns.some(
    (pattern) =>
      namesOf(reference).some((name) => pattern.repository.test(name)) &&
      (tag === undefined ? pattern.tag.source === ANYTHING : pattern.tag.test(tag)),
  );
}

const ANYTHING = '^.*$';

/**
 * The ways to write a repository. A repository of Docker Hub may omit the registry, and one of
 * Docker Hub's own images `library/` too.
 */
function namesOf({ registry, repository }: ImageReference): string[] {
  const full = `${registry}/${repository}`;
  return registry === DOCKER_HUB ? [full, repository, repository.replace(/^library\//, '')] : [full];
}

function wildcards(pattern: string): RegExp {
  const parts = pattern.split(/\*+/).map((part) => part.replace(/[.[\]]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`);
}

function isNetwork(entry: string): boolean {
  return typeof parseAllow(entry) !== 'string';
}

/**
 * The registry in `entry`, or undefined when an image reference would not recognise one: it has no
 * dot and no port, and is not localhost.
 */
function readName(entry: string): string | undefined {
  if (/\s|\/|@/.test(entry) || !(/[.:]/.test(entry) || entry.toLowerCase() === 'localhost')) return undefined;
  return authorityOf(entry);
}
