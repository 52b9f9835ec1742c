import { PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN } from '../limits.ts';
import type { Problem } from '../problem.ts';
import { characterCount, textProblem } from '../text.ts';
import { guessableProblem } from './guessable.ts';

/**
 * Who may make an account over the network: anyone, only the first user (who becomes an
 * administrator), or no one.
 */
export const SIGN_UP_MODES = ['open', 'first', 'closed'] as const;
export type SignUpMode = (typeof SIGN_UP_MODES)[number];

/** The form in which an address is stored and compared. Accounts must differ in more than case. */
export function normalizedEmail(email: string): string {
  return email.toLowerCase();
}

/** Every reason why no account can have this email or this password. */
export function credentialProblems({ email, password }: { email: string; password: string }): Problem[] {
  return [...emailProblems(email), ...passwordProblems(password, 'password')];
}

/**
 * Everything that is wrong with the email and the password of a new account. The password must also
 * be hard to guess.
 */
export async function newCredentialProblems({ email, password }: { email: string; password: string }) {
  return [...emailProblems(email), ...(await newPasswordProblems(password, { email, field: 'password' }))];
}

/**
 * Everything that is wrong with a password that a user chooses now. `field` names the field of the
 * input that holds it.
 */
export async function newPasswordProblems(
  password: string,
  { email, field }: { email: string; field: string },
): Promise<Problem[]> {
  const problems = passwordProblems(password, field);
  if (problems.length > 0) return problems;
  const guessable = await guessableProblem(password, email);
  return guessable === undefined ? [] : [{ path: [field], message: `The password ${guessable}.` }];
}

export function emailProblems(email: string): Problem[] {
  if (isEmail(email)) return [];
  return [{ path: ['email'], message: 'The email must be an address like "ann@example.com".' }];
}

/** Whether `text` is one address, and nothing else. */
export function isEmail(text: string): boolean {
  return text.length <= EMAIL_LENGTH_MAX && EMAIL.test(text);
}

function passwordProblems(password: string, field: string): Problem[] {
  const problem = textProblem(password);
  if (problem) return [{ path: [field], message: `The password ${problem}.` }];
  const count = characterCount(password);
  if (count >= PASSWORD_LENGTH_MIN && count <= PASSWORD_LENGTH_MAX) return [];
  const wanted = `${PASSWORD_LENGTH_MIN} to ${PASSWORD_LENGTH_MAX} characters`;
  return [{ path: [field], message: `The password must have ${wanted}, not ${count}.` }];
}

const EMAIL_LENGTH_MAX = 254; // what an SMTP path can carry
// The rule of <input type="email"> in the HTML standard.
const EMAIL =
  /^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;
