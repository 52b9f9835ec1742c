import type { GivenPayload, Payload } from './payload.ts';

/**
 * The JSON document of a payload: the kind first, then the keys in one order, so that equal payloads print alike. Of a secret it says
 * that it is one, and no more.
 */
export function printPayload(payload: Payload | GivenPayload): string {
  const values = new Map<string, unknown>(Object.entries(payload));
  return JSON.stringify(
    Object.fromEntries(KEYS.flatMap((key) => (values.has(key) ? [[key, values.get(key)]] : []))),
    (_, value: unknown) => (isSecret(value) ? { secret: true } : value),
  );
}

/** Of all that a payload holds, secrets alone are objects that say so. */
function isSecret(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'secret' in value && value.secret === true;
}

/** Of every kind of payload; a key that is missing here does not compile. */
const ORDER: Record<KeyOf<Payload>, number> = {
  kind: 0,
  endpoint: 1,
  method: 2,
  headers: 3,
  body: 4,
  expected_status: 5,
  body_contains: 6,
  follow_redirects: 7,
  image: 8,
  command: 9,
  args: 10,
  env: 11,
  working_dir: 12,
  timeout_seconds: 13,
  volumes: 14,
  resources: 15,
  network: 16,
  registry_auth: 17,
  build: 18,
  min_tls_days_left: 19,
};
const KEYS = Object.entries(ORDER)
  .sort(([, a], [, b]) => a - b)
  .map(([key]) => key);

type KeyOf<T> = T extends unknown ? keyof T : never;
