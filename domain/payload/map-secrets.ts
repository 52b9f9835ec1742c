import type { ContainerPayload, HeartbeatPayload, Payload } from './payload.ts';
import type { RegistryAuth } from './registry-auth.ts';
import type { SecretSection } from './secret.ts';
import type { ClientCertificate } from './tls-schema.ts';

/** Returns what replaces a value that may be a secret. */
export type Change<From, To> = (section: SecretSection, name: string, value: string | From) => string | To;

/** Passes each value that may be a secret through `change`. Nothing else of the payload changes. */
export function mapSecrets<From, To>(payload: Payload<From>, change: Change<From, To>): Payload<To> {
  return payload.kind === 'HEARTBEAT' ? mapHeartbeat(payload, change) : mapContainer(payload, change);
}

export function mapHeartbeat<From, To>(
  { headers, client_certificate: client, proxy_auth: login, ...rest }: HeartbeatPayload<From>,
  change: Change<From, To>,
): HeartbeatPayload<To> {
  return {
    ...rest,
    ...(headers === undefined ? {} : { headers: mapPairs('headers', headers, change) }),
    ...(client === undefined ? {} : { client_certificate: mapClient(client, change) }),
    ...(login === undefined ? {} : { proxy_auth: mapLogin('proxy_auth', login, change) }),
  };
}

export function mapContainer<From, To>(
  { env, registry_auth: auth, ...rest }: ContainerPayload<From>,
  change: Change<From, To>,
): ContainerPayload<To> {
  return {
    ...rest,
    ...(env === undefined ? {} : { env: mapPairs('env', env, change) }),
    ...(auth === undefined ? {} : { registry_auth: mapLogin('registry_auth', auth, change) }),
  };
}

export function mapLogin<From, To>(
  section: 'registry_auth' | 'proxy_auth',
  { username, password }: RegistryAuth<From>,
  change: Change<From, To>,
): RegistryAuth<To> {
  return { username, password: change(section, 'password', password) };
}

function mapClient<From, To>(
  { certificate, key }: ClientCertificate<From>,
  change: Change<From, To>,
): ClientCertificate<To> {
  return { certificate, key: change('client_certificate', 'key', key) };
}

function mapPairs<From, To>(
  section: 'env' | 'headers',
  pairs: Record<string, string | From>,
  change: Change<From, To>,
): Record<string, string | To> {
  return Object.fromEntries(Object.entries(pairs).map(([name, value]) => [name, change(section, name, value)]));
}
