import type { Parsed, Problem } from '../problem.ts';
import { byteCount, isBlank, textProblem } from '../text.ts';
import { givenSecret, writtenSecret } from './pairs.ts';
import type { GivenSecret, SealedSecret } from './secret.ts';

/**
 * A login to the registry of a private image, or to a proxy. `S` stands for a secret, as in
 * payload.ts.
 */
export interface RegistryAuth<S = SealedSecret> {
  username: string;
  password: string | S;
}

const USERNAME_BYTES_MAX = 255;
const PASSWORD_BYTES_MAX = 16 * 1024; // cloud registries take whole key files as a password
const KEYS = ['username', 'password'];

/**
 * Reads a login as it was written. The password is a secret, whether the document says
 * so or not. `{"secret": true}` alone, the form in which it is read back, keeps the stored one.
 */
export function readLogin(written: unknown, subject: string): Parsed<RegistryAuth<GivenSecret>> {
  if (typeof written !== 'object' || written === null || Array.isArray(written))
    return { problems: [{ path: [], message: `${subject} must be an object: username and password.` }] };
  const { username, password: given } = asLogin(written);
  const problems: Problem[] = Object.keys(written)
    .filter((key) => !KEYS.includes(key))
    .map((key) => ({ path: [key], message: `"${key}" is not a key of this object. Known are ${KEYS.join(', ')}.` }));

  const name = checked(username, 'username', 'The user name', USERNAME_BYTES_MAX);
  problems.push(...(name.problems ?? []));
  if (name.value !== undefined && isBlank(name.value))
    problems.push({ path: ['username'], message: 'The user name must not be empty or blank.' });

  const secret = writtenSecret(given);
  const isKept = secret !== undefined && secret.value === undefined;
  const password = isKept
    ? undefined
    : checked(secret === undefined ? given : secret.value, 'password', 'The password', PASSWORD_BYTES_MAX);
  problems.push(...(password?.problems ?? []));

  if (problems.length > 0 || name.value === undefined) return { problems };
  return { value: { username: name.value, password: givenSecret(password?.value) } };
}

function asLogin(written: object): { username: unknown; password: unknown } {
  const entries = new Map<string, unknown>(Object.entries(written));
  return { username: entries.get('username'), password: entries.get('password') };
}

/** The messages never show the value. */
function checked(value: unknown, key: string, subject: string, bytesMax: number): Parsed<string> {
  const one = (message: string) => ({ problems: [{ path: [key], message }] });
  if (value === undefined) return one(`${subject} is missing: it must be text.`);
  if (typeof value !== 'string') return one(`${subject} must be text.`);
  const problem = textProblem(value);
  if (problem) return one(`${subject} ${problem}.`);
  if (byteCount(value) > bytesMax) return one(`${subject} must be at most ${bytesMax} bytes.`);
  return { value };
}
