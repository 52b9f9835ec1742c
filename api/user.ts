import { createSession, createUser, findUserByEmail, revokeToken } from '../db/accounts.ts';
import type { UserRow } from '../db/schema.ts';
import { credentialProblems, normalizedEmail } from '../domain/account-input.ts';
import { addressKey } from '../domain/address-key.ts';
import { builder } from './builder.ts';
import { type Context, viewerOf } from './context.ts';
import { NotificationPreferenceEnum } from './enums.ts';
import { failure } from './errors.ts';
import { hashToken, newToken } from './identity.ts';
import { Node } from './node.ts';
import { ACCOUNT_LIMITS, SESSION_DAYS } from './settings.ts';
import { ApiToken } from './token.ts';
import { invalid, refused, UserError, type UserErrorShape } from './user-error.ts';

export const User = builder.objectRef<UserRow>('User');
User.implement({
  description: 'An account.',
  interfaces: [Node],
  fields: (t) => ({
    email: t.exposeString('email', { description: 'What it signs in with, in lower case.' }),
    notificationPreference: t.field({
      type: NotificationPreferenceEnum,
      description: 'What it is told of; ALERTS until that is changed.',
      resolve: ({ notificationPreference }) => notificationPreference,
    }),
    apiTokens: t.field({
      type: [ApiToken],
      description: 'The API tokens that were made and not revoked, oldest first.',
      resolve: (user, _, { load }) => load.apiTokens(user.id),
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was made.', resolve: (user) => user.createdAt }),
  }),
});

builder.queryField('viewer', (t) =>
  t.field({
    type: User,
    nullable: true,
    description: 'Who is signed in; null when nobody is.',
    resolve: (_, __, { viewer }) => viewer?.user,
  }),
);

interface SignedIn {
  user?: UserRow;
  token?: string;
  userErrors: UserErrorShape[];
}

const SignUpInput = builder.inputType('SignUpInput', {
  description: 'What a new account signs in with.',
  fields: (t) => ({
    email: t.string({ required: true, description: 'An address like "ann@example.com". Case makes no difference.' }),
    password: t.string({ required: true, description: '8 to 200 characters.' }),
  }),
});

const SignUpPayload = builder.objectRef<SignedIn>('SignUpPayload').implement({
  description: 'What `signUp` answers.',
  fields: (t) => ({
    user: t.field({ type: User, nullable: true, description: 'The new account.', resolve: ({ user }) => user }),
    token: t.exposeString('token', {
      nullable: true,
      description: 'Of a session: valid for 30 days, unless signed out.',
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('signUp', (t) =>
  t.field({
    type: SignUpPayload,
    description: 'Makes an account and signs it in; a browser is given the cookie of the session.',
    args: { input: t.arg({ type: SignUpInput, required: true, description: 'The credentials.' }) },
    resolve: async (_, { input }, context): Promise<SignedIn> => {
      const { services, client } = context;
      const { signUpsPerAddressPerHour: points } = { ...ACCOUNT_LIMITS, ...services.settings.limits };
      await limit(context, `sign-up:address:${addressKey(client.address)}`, points, 3_600);
      const problems = credentialProblems(input);
      if (problems.length > 0) return invalid(problems);
      const passwordHash = await services.passwords.hash(input.password);
      const user = await createUser(services.db, { email: normalizedEmail(input.email), passwordHash });
      if (user) return signedIn(context, user);
      return refused({
        code: 'ALREADY_EXISTS',
        message: 'There is an account with this email: sign in.',
        path: ['email'],
      });
    },
  }),
);

const SignInInput = builder.inputType('SignInInput', {
  description: 'What an account signs in with.',
  fields: (t) => ({
    email: t.string({ required: true, description: "The account's email. Case makes no difference." }),
    password: t.string({ required: true, description: "The account's password." }),
  }),
});

const SignInPayload = builder.objectRef<SignedIn>('SignInPayload').implement({
  description: 'What `signIn` answers.',
  fields: (t) => ({
    user: t.field({ type: User, nullable: true, description: 'Who is signed in now.', resolve: ({ user }) => user }),
    token: t.exposeString('token', {
      nullable: true,
      description: 'Of a session: valid for 30 days, unless signed out.',
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('signIn', (t) =>
  t.field({
    type: SignInPayload,
    description: 'Begins a session; a browser is given its cookie. It does not tell which accounts exist.',
    args: { input: t.arg({ type: SignInInput, required: true, description: 'The credentials.' }) },
    resolve: async (_, { input }, context): Promise<SignedIn> => {
      const { services, client } = context;
      const limits = { ...ACCOUNT_LIMITS, ...services.settings.limits };
      const email = normalizedEmail(input.email);
      await limit(context, `sign-in:address:${addressKey(client.address)}`, limits.signInsPerAddressPerMinute, 60);
      await limit(
        context,
        `sign-in:account:${hashToken(email).toString('hex')}`,
        limits.signInsPerAccountPerMinute,
        60,
      );
      // What cannot be an account's is looked at like what can, so that it takes as long.
      const possible = credentialProblems({ email, password: input.password }).length === 0;
      const user = possible ? await findUserByEmail(services.db, email) : undefined;
      const matches = await services.passwords.matches(user?.passwordHash, possible ? input.password : '');
      if (user && matches) return signedIn(context, user);
      return refused({ code: 'BAD_CREDENTIALS', message: 'No account has this email and password.', path: null });
    },
  }),
);

const SignOutPayload = builder.objectRef<{ userErrors: UserErrorShape[] }>('SignOutPayload').implement({
  description: 'What `signOut` answers.',
  fields: (t) => ({
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('signOut', (t) =>
  t.field({
    type: SignOutPayload,
    description:
      'Ends the session that this is sent with, and what is open under it. An API token is ended by `revokeApiToken`.',
    resolve: async (_, __, context) => {
      const { tokenId, kind, user } = viewerOf(context);
      if (kind === 'API') {
        return refused({
          code: 'CONFLICT',
          message: 'This is an API token, not a session: use revokeApiToken.',
          path: null,
        });
      }
      await revokeToken(context.services.db, { userId: user.id, id: tokenId, kind });
      context.client.setSession(undefined);
      return { userErrors: [] };
    },
  }),
);

async function signedIn({ services, client }: Context, user: UserRow): Promise<SignedIn> {
  const token = newToken('SESSION');
  const expiresAt = new Date(Date.now() + SESSION_DAYS * 86_400_000);
  await createSession(services.db, { userId: user.id, hash: hashToken(token), expiresAt });
  client.setSession(token);
  return { user, token, userErrors: [] };
}

async function limit({ services }: Context, key: string, points: number, windowSeconds: number): Promise<void> {
  const seconds = await services.cache.limit(key, points, windowSeconds);
  if (seconds > 0) {
    const wait = Math.ceil(seconds);
    throw failure('RATE_LIMITED', `Too many tries: try again in ${wait} seconds.`, { retryAfterSeconds: wait });
  }
}
