import { imagesOf } from '../dockerfile/dockerfile.ts';
import { parseImageReference } from '../images/image-reference.ts';
import { readUrl } from '../network/read-url.ts';
import type { GivenPayload, Payload } from './payload.ts';
import type { SecretSection } from './secret.ts';

/**
 * Why an update does not keep a stored secret, or undefined. No one can read a secret back, so no
 * one may send it elsewhere without knowing it. A header goes to its endpoint by the same way, and
 * so does a key with its certificate. A password goes with its user name to its registry or proxy,
 * and a variable to programs of the same images.
 */
export function destinationProblem(section: SecretSection, given: GivenPayload, stored: Payload): string | undefined {
  switch (section) {
    case 'headers':
      return isSameRoute(given, stored) ? undefined : `is kept only for ${SAME_ROUTE}`;
    case 'client_certificate':
      return isSameRoute(given, stored) && same(clientOf(given), clientOf(stored))
        ? undefined
        : `is kept only for the same certificate, and for ${SAME_ROUTE}`;
    case 'proxy_auth':
      return same(proxyOf(given), proxyOf(stored)) ? undefined : 'is kept only for the same proxy and user name';
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
  const url = readUrl(endpoint);
  return url && `${url.protocol}//${url.host}`;
}

const SAME_ROUTE =
  'the same scheme, host and port of the endpoint, reached in the same way (connect_to, proxy, host_header, tls_server_name, tls_ca, tls_verify)';

/**
 * Any of these fields can lead a secret to another server, or let another one pass for the same.
 */
function isSameRoute(given: GivenPayload, stored: Payload): boolean {
  const trustsMore = isUnverified(given) && !isUnverified(stored);
  return !trustsMore && same(routeOf(given), routeOf(stored));
}

function isUnverified(payload: GivenPayload | Payload): boolean {
  return payload.kind === 'HEARTBEAT' && payload.tls_verify === false;
}

function routeOf(payload: GivenPayload | Payload): string | undefined {
  const origin = originOf(payload);
  if (origin === undefined || payload.kind !== 'HEARTBEAT') return undefined;
  const { connect_to, proxy, host_header, tls_server_name, tls_ca } = payload;
  return JSON.stringify([origin, connect_to, proxy, host_header, tls_server_name, tls_ca]);
}

function clientOf(payload: GivenPayload | Payload): string | undefined {
  return payload.kind === 'HEARTBEAT' ? payload.client_certificate?.certificate : undefined;
}

function proxyOf(payload: GivenPayload | Payload): string | undefined {
  if (payload.kind !== 'HEARTBEAT') return undefined;
  return payload.proxy && JSON.stringify([payload.proxy, payload.proxy_auth?.username]);
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
