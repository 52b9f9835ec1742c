import { PAIRS_BYTES_MAX } from '../limits.ts';
import type { Parsed, Problem } from '../problem.ts';
import { byteCount } from '../text.ts';
import { mapSecrets } from './map-secrets.ts';
import type { GivenPayload, Payload } from './payload.ts';
import {
  type GivenSecret,
  SECRETS_ALONE,
  type SealedSecret,
  type Sealer,
  type SecretSection,
  secretPlace,
} from './secret.ts';
import { destinationProblem } from './secret-destination.ts';
import { camelCase, type PayloadInput } from './typed-input.ts';

/**
 * Returns the stored form of `given`. A secret without a value, or with the value that is stored
 * already, keeps the stored ciphertext. So an update that changes nothing is seen to change
 * nothing. A secret without a value must go where it went before. The path of a problem is section
 * and name; `placeProblems` says where the author wrote it.
 */
export function sealPayload(
  sealer: Sealer,
  { workflowId, given, stored }: { workflowId: string; given: GivenPayload; stored?: Payload },
): Parsed<Payload> {
  const problems: Problem[] = [];
  const before = new Map<string, SealedSecret>();
  if (stored)
    mapSecrets(stored, (section, name, value) => remember(before, secretPlace(workflowId, section, name), value));

  function sealOne(section: SecretSection, name: string, value: string | GivenSecret): string | SealedSecret {
    const isPlain = typeof value === 'string' && !SECRETS_ALONE.includes(section);
    if (isPlain) return value;
    const text = typeof value === 'string' ? value : value.value;
    const place = secretPlace(workflowId, section, name);
    const kept = before.get(place);
    if (text === undefined) {
      const moved = kept && stored && destinationProblem(section, given, stored);
      if (kept !== undefined && moved === undefined) return kept;
      const message = moved
        ? `The stored value ${moved}: give it a value again.`
        : 'A secret without a value keeps the stored one, and there is none: give it a value.';
      problems.push({ path: [section, name], message });
      return { secret: true, sealed: '' };
    }
    if (kept !== undefined && opened(sealer, kept, place) === text) return kept;
    return { secret: true, sealed: sealer.seal(text, place) };
  }

  // Reading the input did not count the values that are kept. Together they could outgrow what may
  // be given at once.
  const bytes = { env: 0, headers: 0, registry_auth: 0, client_certificate: 0, proxy_auth: 0 };
  const payload = mapSecrets(given, (section, name, value) => {
    const sealed = sealOne(section, name, value);
    const text = typeof sealed === 'string' ? sealed : opened(sealer, sealed, secretPlace(workflowId, section, name));
    bytes[section] += byteCount(name) + byteCount(text ?? '');
    return sealed;
  });
  for (const section of ['env', 'headers'] as const)
    if (bytes[section] > PAIRS_BYTES_MAX)
      problems.push({
        path: [section],
        message: `Names and values together, those kept included, must be at most ${PAIRS_BYTES_MAX} bytes.`,
      });
  return problems.length === 0 ? { value: payload } : { problems };
}

function remember(before: Map<string, SealedSecret>, place: string, value: string | SealedSecret) {
  if (typeof value === 'object') before.set(place, value);
  return value;
}

/** The problems of `sealPayload`, with paths that begin at the fields of the payload's input. */
export function placeProblems(input: PayloadInput, problems: Problem[]): Problem[] {
  return problems.map(({ path, message }) => {
    const [section = '', name] = path;
    if (typeof input.json === 'string') return { path: ['json', ...path], message };
    const alternative = section === 'env' || section === 'registry_auth' ? 'container' : 'heartbeat';
    if (section !== 'env' && section !== 'headers') return { path: [alternative, ...path.map(camelCase)], message };
    const pairs = (section === 'headers' ? input.heartbeat?.headers : input.container?.env) ?? [];
    const index = pairs.findIndex((pair) => pair.name === name);
    return { path: [alternative, section, ...(index === -1 ? [] : [String(index), 'value'])], message };
  });
}

/**
 * Opens the secrets of one workflow's payload, and remembers them for the mask. Throws an
 * UnreadableSecret.
 */
export function openingOf(sealer: Sealer, workflowId: string) {
  const secrets: string[] = [];
  return {
    secrets,
    open(section: SecretSection, name: string, value: string | SealedSecret): string {
      if (typeof value === 'string') return value;
      const text = sealer.open(value.sealed, secretPlace(workflowId, section, name));
      secrets.push(text);
      return text;
    },
  };
}

/**
 * Passes every sealed secret of a payload through `change`. If all of them stay the same, it
 * returns the payload itself.
 */
export function changeSealed(
  workflowId: string,
  payload: Payload,
  change: (sealed: string, place: string) => string,
): Payload {
  let isChanged = false;
  const changed = mapSecrets<SealedSecret, SealedSecret>(payload, (section, name, value) => {
    if (typeof value === 'string') return value;
    const sealed = change(value.sealed, secretPlace(workflowId, section, name));
    isChanged ||= sealed !== value.sealed;
    return { secret: true, sealed };
  });
  return isChanged ? changed : payload;
}

function opened(sealer: Sealer, { sealed }: SealedSecret, place: string): string | undefined {
  try {
    return sealer.open(sealed, place);
  } catch {
    return undefined; // under a key that we do not have: the text may be another one
  }
}
