import { createSession } from '../../db/accounts/sessions.ts';
import type { Db } from '../../db/client.ts';
import type { UserRow } from '../../db/schema.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { hashToken, newToken } from '../auth/tokens.ts';
import type { Context } from '../context.ts';
import { SESSION_DAYS, SESSIONS_MAX } from '../settings.ts';
import type { Audit } from './audited.ts';
import { builder } from './builder.ts';
import { User } from './user.ts';
import { UserError, type UserErrorShape } from './user-error.ts';

/** What signing up and signing in answer. */
export interface SignedIn {
  user?: UserRow;
  token?: string;
  userErrors: UserErrorShape[];
}

/** The type that a mutation which signs in answers with. */
export function signedInPayload(name: `${'SignIn' | 'SignUp'}Payload`, userDescription: string) {
  const mutation = name === 'SignInPayload' ? 'signIn' : 'signUp';
  return builder.objectRef<SignedIn>(name).implement({
    description: `What \`${mutation}\` answers.`,
    fields: (t) => ({
      user: t.field({ type: User, nullable: true, description: userDescription, resolve: ({ user }) => user }),
      token: t.exposeString('token', {
        nullable: true,
        description: 'Of a session: valid for 30 days, unless signed out.',
      }),
      userErrors: t.field({
        type: [UserError],
        description: 'What is wrong with the input.',
        resolve: ({ userErrors }) => userErrors,
      }),
    }),
  });
}

/**
 * Begins a session of `user`, whose password was just given. Undefined where the password was changed, or the account disabled, in the
 * meantime. With `audit` it is what the call does, and not only what comes after it.
 */
export async function beginSession(
  { services, client }: Context,
  user: UserRow,
  audit?: Audit,
): Promise<SignedIn | undefined> {
  const token = newToken('SESSION');
  const wanted = {
    userId: user.id,
    passwordHash: user.passwordHash,
    hash: hashToken(token),
    expiresAt: new Date(Date.now() + SESSION_DAYS * 86_400_000),
    address: addressKey(client.address),
    userAgent: shown(client.userAgent),
  };
  const create = (db: Db) => createSession(db, wanted, { countMax: SESSIONS_MAX });
  const session = audit ? await audit.change(services.db, create, (made) => made?.id) : await create(services.db);
  if (session === undefined) return undefined;
  client.setSession(token);
  return { user, token, userErrors: [] };
}

const USER_AGENT_LENGTH_MAX = 200;

/** A header as it may be shown: a client writes into it whatever it likes. */
function shown(userAgent: string | undefined): string | null {
  const text = userAgent?.replace(/[^\x20-\x7e]/g, '?').slice(0, USER_AGENT_LENGTH_MAX);
  return text || null;
}
