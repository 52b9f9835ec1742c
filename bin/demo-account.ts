import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { DataDir } from '../platform/data-dir.ts';
import { createDemoClient } from './demo-client.ts';

export interface DemoAccount {
  email: string;
  password: string;
  token: string;
}

const PASSWORD_BYTES = 12;
const kept = z.object({ email: z.string(), password: z.string() });
const payload = z.object({ token: z.string().nullable(), userErrors: z.array(z.object({ message: z.string() })) });

/** Signs the demo's user in, whose credentials are kept in the data folder; the first time, signs it up. */
export async function signInToDemo(url: string, dataDir: DataDir): Promise<DemoAccount> {
  const text = await dataDir.keep('demo-user.json', () =>
    JSON.stringify({ email: 'demo@example.com', password: randomBytes(PASSWORD_BYTES).toString('base64url') }),
  );
  const input = kept.parse(JSON.parse(text));
  const client = createDemoClient(url);
  const { signIn } = await client.request(
    'mutation ($input: SignInInput!) { signIn(input: $input) { token userErrors { message } } }',
    { input },
    z.object({ signIn: payload }),
  );
  if (signIn.token !== null) return { ...input, token: signIn.token };
  const { signUp } = await client.request(
    'mutation ($input: SignUpInput!) { signUp(input: $input) { token userErrors { message } } }',
    { input },
    z.object({ signUp: payload }),
  );
  if (signUp.token !== null) return { ...input, token: signUp.token };
  const why = signUp.userErrors.map(({ message }) => message).join(' ');
  throw new Error(`${input.email} could neither sign in nor sign up: ${why}`);
}
