import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { createPasswords } from '../api/auth/passwords.ts';
import { createUser } from '../db/accounts/accounts.ts';
import type { Db } from '../db/client.ts';
import type { DataDir } from '../platform/data-dir.ts';
import { createDemoClient } from './demo-client.ts';

export interface DemoCredentials {
  email: string;
  password: string;
}

const PASSWORD_BYTES = 12;
const kept = z.object({ email: z.string(), password: z.string() });

/**
 * The demo's user, whose credentials stay in the data folder. The first start makes the account in
 * the database, because sign-up may be closed.
 */
export async function keepDemoUser(db: Db, dataDir: DataDir): Promise<DemoCredentials> {
  const text = await dataDir.keep('demo-user.json', () =>
    JSON.stringify({ email: 'demo@example.com', password: randomBytes(PASSWORD_BYTES).toString('base64url') }),
  );
  const { email, password } = kept.parse(JSON.parse(text));
  // Changes nothing if the user exists.
  await createUser(db, { email, passwordHash: await createPasswords().hash(password) });
  return { email, password };
}

/** Signs the demo's user in over the network, and returns the token of its session. */
export async function signInToDemo(url: string, input: DemoCredentials): Promise<string> {
  const client = createDemoClient(url);
  const { signIn } = await client.request(
    'mutation ($input: SignInInput!) { signIn(input: $input) { token } }',
    { input },
    z.object({ signIn: z.object({ token: z.string().nullable() }) }),
  );
  if (signIn.token !== null) return signIn.token;
  throw new Error(
    `${input.email} cannot sign in: it is disabled, or has another password than demo-user.json in the demo's data folder says. Give it that one with chronoverse users set-password ${input.email}, where DATA_DIR names that folder`,
  );
}
