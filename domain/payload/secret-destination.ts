import { imagesOf } from '../dockerfile/dockerfile.ts';
import { parseImageReference } from '../images/image-reference.ts';
import type { GivenPayload, Payload } from './payload.ts';
import type { SecretSection } from './secret.ts';

/**
 * Why an update does not keep a stored secret, or undefined. No one can read a secret back, so no
 * one may send it elsewhere without knowing it. A header goes to its endpoint, a password with its
 * user name to its registry, and a variable to programs of the same images.
 */
export function destinationProblem(section: SecretSection, given: GivenPayload, stored: Payload): string | undefined {
  switch (section) {
    case 'headers':
      return same(originOf(given), originOf(stored))
        ? undefined
        : 'is kept only for the same scheme, host and port of the endpoint';
    case 'registry_auth':
      return same(loginOf(given), loginOf(stored)) ? undefined : 'is kept only for the same registry and user name';
    case 'env': {
      const before = new Set(repositoriesOf(stored));
      const after = repositoriesOf(given);
      return after.length > 0 && after.every((repository) => before.has(repository))
        ? undefined
        : 'is kept only for the same image repository (with a build, the repositories that its Dockerfile names)';
    }
  }
}

/**
 * An undefined side means that the payload names no destination: a secret had none, and has a new
 * one now.
 */
function same(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && one === other;
}

function originOf(payload: GivenPayload | Payload): string | undefined {
  if (payload.kind !== 'HEARTBEAT') return undefined;
  const { endpoint = '' } = payload;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  return url && `${url.protocol}//${url.host}`;
}

function loginOf(payload: GivenPayload | Payload): string | undefined {
  const [image] = namedImages(payload);
  const registry = image && parseImageReference(image).reference?.registry.toLowerCase();
  const auth = payload.kind === 'CONTAINER' ? payload.registry_auth : undefined;
  return registry && JSON.stringify([registry, auth?.username]);
}

function repositoriesOf(payload: GivenPayload | Payload): string[] {
  return namedImages(payload).map((image) => {
    const { reference } = parseImageReference(image);
    return reference === undefined ? image : `${reference.registry.toLowerCase()}/${reference.repository}`;
  });
}

function namedImages(payload: GivenPayload | Payload): string[] {
  if (payload.kind !== 'CONTAINER') return [];
  return payload.image === undefined ? imagesOf(payload.build?.dockerfile ?? '') : [payload.image];
}
