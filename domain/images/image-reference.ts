/** The full name of an image, as a registry is asked for it. */
export interface ImageReference {
  /** Host and port of the registry; `docker.io` where none was named. */
  registry: string;
  /** `library/alpine` where `alpine` was written. */
  repository: string;
  /** Absent only when a digest is given without a tag. */
  tag?: string;
  digest?: string;
}

export type ParsedReference =
  | { reference: ImageReference; problem?: undefined }
  | { reference?: undefined; problem: string };

/**
 * Parses an image reference by the grammar of the distribution project, as the Docker command reads
 * it: `[registry[:port]/]path[:tag][@algorithm:hex]`. The problem is the end of a sentence that
 * begins with the faulty text.
 */
export function parseImageReference(text: string): ParsedReference {
  if (text === '') return wrong('must name an image, like "alpine:3"');
  if (/\s/.test(text)) return wrong('must not contain white space');
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    return wrong('must be an image reference like "registry.example/app:1", not a URL');

  const [beforeDigest = '', digest, ...more] = text.split('@');
  if (more.length > 0) return wrong('must contain at most one "@", before the digest');
  if (digest !== undefined && !DIGEST.test(digest)) {
    return wrong(
      'has a malformed digest: after "@" comes an algorithm, ":" and its hex digits, like "@sha256:" and 64 digits',
    );
  }

  const lastSlash = beforeDigest.lastIndexOf('/');
  const colon = beforeDigest.indexOf(':', lastSlash + 1);
  const name = colon === -1 ? beforeDigest : beforeDigest.slice(0, colon);
  const tag = colon === -1 ? undefined : beforeDigest.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) {
    return wrong('has a malformed tag: 1 to 128 letters, digits, "_", "." or "-", not beginning with "." or "-"');
  }

  const { registry, repository } = splitName(name);
  if (registry !== undefined && !REGISTRY.test(registry)) {
    return wrong(`names a malformed registry "${registry}": a host name or address, with an optional port, is right`);
  }
  if (repository.split('/').some((component) => !COMPONENT.test(component)))
    return wrong(repositoryProblem(repository));
  if (`${registry ?? ''}/${repository}`.length > NAME_LENGTH_MAX) {
    return wrong(`has a name of more than ${NAME_LENGTH_MAX} characters before its tag`);
  }
  if (registry === undefined && IMAGE_ID.test(name)) return wrong(NO_ID);

  const full = registry === undefined || registry === 'index.docker.io' ? DEFAULT_REGISTRY : registry;
  return {
    reference: {
      registry: full,
      repository: full === DEFAULT_REGISTRY && !repository.includes('/') ? `library/${repository}` : repository,
      ...(tag !== undefined || digest === undefined ? { tag: tag ?? 'latest' } : {}),
      ...(digest === undefined ? {} : { digest }),
    },
  };
}

/** The registry that an image is pulled from, or undefined when `image` is no image reference. */
export function registryOf(image: string): string | undefined {
  return parseImageReference(image).reference?.registry;
}

/**
 * One spelling for each name: `docker.io/library/alpine:3`. A digest decides, whatever tag stands
 * beside it. Text that is no image reference stays as it is.
 */
export function fullName(image: string): string {
  const { reference } = parseImageReference(image);
  if (reference === undefined) return image;
  const { registry, repository, tag, digest } = reference;
  const name = `${registry}/${repository}`;
  return digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`;
}

/**
 * The registry of built images. No network has this name, so nothing with this name can be pulled.
 */
export const BUILT_REGISTRY = 'chronoverse.invalid';

/**
 * What is wrong with a reference that a user wrote, or undefined. An image that a build made
 * belongs to one workflow alone: it may hold what its owner shows to no one else.
 */
export function imageProblem(text: string): string | undefined {
  if (ID_PREFIX.test(text)) return 'could be the beginning of an image id: add a tag, like ":latest"';
  if (DIGEST_ALONE.test(text)) return NO_ID;
  const { reference, problem } = parseImageReference(text);
  if (reference?.registry.toLowerCase().replace(/:\d+$/, '') !== BUILT_REGISTRY) return problem;
  return 'is one that a build has made: only the workflow that it was made for runs it';
}

const NO_ID =
  'is an image id, which only one Docker engine knows: give the name of an image, like "alpine:3" or "alpine@sha256:..."';
const DEFAULT_REGISTRY = 'docker.io';
const NAME_LENGTH_MAX = 255;

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const HOST_LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const REGISTRY = new RegExp(`^(?:${HOST_LABEL}(?:\\.${HOST_LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?$`);
const IMAGE_ID = /^[a-f0-9]{64}$/;
/**
 * When the engine finds no image of that name, it tries the name as the beginning of an id. It
 * looks up names of one letter only as names.
 */
const ID_PREFIX = /^[a-f0-9]{2,63}$/;
const DIGEST_ALONE = /^sha(?:256|384|512):|\/sha(?:256|384|512):[a-f0-9]{12,}$/i;

/**
 * The first component is a registry when it cannot be a part of a path: it has a dot, a colon or
 * upper case, or it is localhost.
 */
function splitName(name: string): { registry?: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, slash);
  if (slash === -1 || !(/[.:A-Z]/.test(first) || first === 'localhost')) return { repository: name };
  return { registry: first, repository: name.slice(slash + 1) };
}

function repositoryProblem(repository: string): string {
  if (repository.split('/').every((component) => COMPONENT.test(component.toLowerCase()))) {
    return `must be in lower case before its tag: "${repository.toLowerCase()}"`;
  }
  return 'must be a valid image reference, like "alpine:3" or "registry.example:5000/team/app@sha256:..."';
}

function wrong(problem: string): ParsedReference {
  return { problem };
}
