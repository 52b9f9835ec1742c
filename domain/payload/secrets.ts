import { PAIRS_BYTES_MAX } from '../limits.ts';
import type { Parsed, Problem } from '../problem.ts';
import { byteCount } from '../text.ts';
import type { PayloadInput } from './input.ts';
import type { GivenPayload, Payload } from './payload.ts';
import { type GivenSecret, type SealedSecret, type Sealer, type SecretSection, secretPlace } from './secret.ts';
import { destinationProblem } from './secret-destination.ts';

export type Stored = string | SealedSecret;
type Given = string | GivenSecret;

/**
 * `given` as it is to be stored. A secret without a value, or with the value that is stored already, keeps the stored ciphertext, so
 * that an update which changes nothing is seen to change nothing. Without a value it must go where it went before. Problems have the path section and name: `placeProblems` says
 * where the author wrote them.
 */
export function sealPayload(
  sealer: Sealer,
  { workflowId, given, stored }: { workflowId: string; given: GivenPayload; stored?: Payload },
): Parsed<Payload> {
  const problems: Problem[] = [];

  function sealOne(section: SecretSection, name: string, value: GivenSecret, before: Stored | undefined): SealedSecret {
    const place = secretPlace(workflowId, section, name);
    const kept = typeof before === 'object' ? before : undefined;
    if (value.value === undefined) {
      const moved = kept && stored && destinationProblem(section, given, stored);
      if (kept !== undefined && moved === undefined) return kept;
      const message = moved
        ? `The stored value ${moved}: give it a value again.`
        : 'A secret without a value keeps the stored one, and there is none: give it a value.';
      problems.push({ path: [section, name], message });
      return { secret: true, sealed: '' };
    }
    if (kept !== undefined && opened(sealer, kept, place) === value.value) return kept;
    return { secret: true, sealed: sealer.seal(value.value, place) };
  }

  function sealPairs(section: 'env' | 'headers', pairs: Record<string, Given>, before: Record<string, Stored> = {}) {
    const same = (name: string) => (section === 'headers' ? name.toLowerCase() : name);
    const known = new Map(Object.entries(before).map(([name, value]) => [same(name), value]));
    const sealed = Object.entries(pairs).map(([name, value]): [string, Stored] => [
      name,
      typeof value === 'string' ? value : sealOne(section, name, value, known.get(same(name))),
    ]);
    // Values that are kept were not counted when the input was read: together they could outgrow what may be given at once.
    const bytes = sealed.reduce((sum, [name, value]) => {
      const text = typeof value === 'string' ? value : opened(sealer, value, secretPlace(workflowId, section, name));
      return sum + byteCount(name) + byteCount(text ?? '');
    }, 0);
    if (bytes > PAIRS_BYTES_MAX)
      problems.push({
        path: [section],
        message: `Names and values together, those kept included, must be at most ${PAIRS_BYTES_MAX} bytes.`,
      });
    return Object.fromEntries(sealed);
  }

  const payload = ((): Payload => {
    if (given.kind === 'HEARTBEAT') {
      const { headers, ...rest } = given;
      const before = stored?.kind === 'HEARTBEAT' ? stored.headers : undefined;
      return headers === undefined ? rest : { ...rest, headers: sealPairs('headers', headers, before) };
    }
    const { env, registry_auth: auth, ...rest } = given;
    const before = stored?.kind === 'CONTAINER' ? stored : undefined;
    const sealed: Payload = env === undefined ? rest : { ...rest, env: sealPairs('env', env, before?.env) };
    if (auth === undefined) return sealed;
    const password =
      typeof auth.password === 'string' ? { secret: true as const, value: auth.password } : auth.password;
    const login = sealOne('registry_auth', 'password', password, before?.registry_auth?.password);
    return { ...sealed, registry_auth: { username: auth.username, password: login } };
  })();
  return problems.length === 0 ? { value: payload } : { problems };
}

/** The problems of `sealPayload` with paths from the fields of the payload's input on. */
export function placeProblems(input: PayloadInput, problems: Problem[]): Problem[] {
  return problems.map(({ path, message }) => {
    const [section = '', name] = path;
    if (typeof input.json === 'string') return { path: ['json', ...path], message };
    const alternative = section === 'headers' ? 'heartbeat' : 'container';
    if (section === 'registry_auth') return { path: [alternative, 'registryAuth', ...path.slice(1)], message };
    const pairs = (section === 'headers' ? input.heartbeat?.headers : input.container?.env) ?? [];
    const index = pairs.findIndex((pair) => pair.name === name);
    return { path: [alternative, section, ...(index === -1 ? [] : [String(index), 'value'])], message };
  });
}

/** Opens the secrets of one workflow's payload, and remembers them, so that they can be masked. Throws an UnreadableSecret. */
export function openingOf(sealer: Sealer, workflowId: string) {
  const secrets: string[] = [];

  function open(section: SecretSection, name: string, value: Stored): string {
    if (typeof value === 'string') return value;
    const text = sealer.open(value.sealed, secretPlace(workflowId, section, name));
    secrets.push(text);
    return text;
  }

  function openPairs(section: 'env' | 'headers', pairs: Record<string, Stored>): Record<string, string> {
    return Object.fromEntries(Object.entries(pairs).map(([name, value]) => [name, open(section, name, value)]));
  }

  return { secrets, open, openPairs };
}

/** Every sealed secret of a payload, passed through `change`: with the same ones the payload comes out as it was. */
export function changeSealed(
  workflowId: string,
  payload: Payload,
  change: (sealed: string, place: string) => string,
): Payload {
  const one = (section: SecretSection, name: string, value: Stored): Stored =>
    typeof value === 'string'
      ? value
      : { secret: true, sealed: change(value.sealed, secretPlace(workflowId, section, name)) };
  const all = (section: 'env' | 'headers', pairs: Record<string, Stored>) =>
    Object.fromEntries(Object.entries(pairs).map(([name, value]) => [name, one(section, name, value)]));
  if (payload.kind === 'HEARTBEAT')
    return payload.headers === undefined ? payload : { ...payload, headers: all('headers', payload.headers) };
  const { env, registry_auth: auth } = payload;
  return {
    ...payload,
    ...(env === undefined ? {} : { env: all('env', env) }),
    ...(auth === undefined
      ? {}
      : { registry_auth: { ...auth, password: one('registry_auth', 'password', auth.password) } }),
  };
}

function opened(sealer: Sealer, { sealed }: SealedSecret, place: string): string | undefined {
  try {
    return sealer.open(sealed, place);
  } catch {
    return undefined; // under a key that we do not have: then it is not known to be the same
  }
}
