import type { ContainerPayload, HeartbeatPayload, Payload } from './payload.ts';
import type { RegistryAuth } from './registry-auth.ts';
import type { SecretSection } from './secret.ts';

/** Returns what replaces a value that may be a secret. */
export type Change<From, To> = (section: SecretSection, name: string, value: string | From) => string | To;

/** Passes each value that may be a secret through `change`. Nothing else of the payload changes. */
export function mapSecrets<From, To>(payload: Payload<From>, change: Change<From, To>): Payload<To> {
  return payload.kind === 'HEARTBEAT' ? mapHeartbeat(payload, change) : mapContainer(payload, change);
}

export function mapHeartbeat<From, To>(
  { headers, ...rest }: HeartbeatPayload<From>,
  change: Change<From, To>,
): HeartbeatPayload<To> {
  return headers === undefined ? rest : { ...rest, headers: mapPairs('headers', headers, change) };
}

export function mapContainer<From, To>(
  { env, registry_auth: auth, ...rest }: ContainerPayload<From>,
  change: Change<From, To>,
): ContainerPayload<To> {
  return {
    ...rest,
    ...(env === undefined ? {} : { env: mapPairs('env', env, change) }),
    ...(auth === undefined ? {} : { registry_auth: mapLogin(auth, change) }),
  };
}

export function mapLogin<From, To>(auth: RegistryAuth<From>, change: Change<From, To>): RegistryAuth<To> {
  return { username: auth.username, password: change('registry_auth', 'password', auth.password) };
}

function mapPairs<From, To>(
  section: 'env' | 'headers',
  pairs: Record<string, string | From>,
  change: Change<From, To>,
): Record<string, string | To> {
  return Object.fromEntries(Object.entries(pairs).map(([name, value]) => [name, change(section, name, value)]));
}
