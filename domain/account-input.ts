import { PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN } from './limits.ts';
import type { Problem } from './problem.ts';
import { characterCount, textProblem } from './text.ts';

/** Who may make an account over the network: anybody, nobody but the first (who administers), or nobody. */
export const SIGN_UP_MODES = ['open', 'first', 'closed'] as const;
export type SignUpMode = (typeof SIGN_UP_MODES)[number];

/** An address as it is stored and compared: accounts differ in more than case. */
export function normalizedEmail(email: string): string {
  return email.toLowerCase();
}

/** Everything that is wrong with what someone wants to sign up with. */
export function credentialProblems({ email, password }: { email: string; password: string }): Problem[] {
  const problems: Problem[] = [];
  if (email.length > EMAIL_LENGTH_MAX || !EMAIL.test(email)) {
    problems.push({ path: ['email'], message: 'The email must be an address like "ann@example.com".' });
  }
  const problem = textProblem(password);
  const count = characterCount(password);
  if (problem) problems.push({ path: ['password'], message: `The password ${problem}.` });
  else if (count < PASSWORD_LENGTH_MIN || count > PASSWORD_LENGTH_MAX) {
    problems.push({
      path: ['password'],
      message: `The password must have ${PASSWORD_LENGTH_MIN} to ${PASSWORD_LENGTH_MAX} characters, not ${count}.`,
    });
  }
  return problems;
}

const EMAIL_LENGTH_MAX = 254; // what an SMTP path can carry
// The rule of <input type="email"> in the HTML standard.
const EMAIL =
  /^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;
