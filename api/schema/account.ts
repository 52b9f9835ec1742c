import { changePassword, createUser, findUserByEmail, hasAccounts } from '../../db/accounts/accounts.ts';
import { createSession } from '../../db/accounts/sessions.ts';
import { revokeToken } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import type { UserRow } from '../../db/schema.ts';
import {
  credentialProblems,
  newCredentialProblems,
  newPasswordProblems,
  normalizedEmail,
} from '../../domain/account/account-input.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { countAttempt, uncountedInOutage } from '../auth/attempts.ts';
import { hashToken, newToken } from '../auth/tokens.ts';
import type { Context } from '../context.ts';
import { failure } from '../errors.ts';
import { ACCOUNT_LIMITS, SESSION_DAYS, SESSIONS_MAX } from '../settings.ts';
import { builder } from './builder.ts';
import { PASSWORD_COST } from './cost.ts';
import { NotificationPreferenceEnum } from './enums.ts';
import { mutation, publicMutation } from './mutation.ts';
import { Node } from './node.ts';
import { invalid, refused } from './user-error.ts';

export const User = builder.objectRef<UserRow>('User');
User.implement({
  description: 'An account.',
  interfaces: [Node],
  fields: (t) => ({
    email: t.exposeString('email', { description: 'The email that the account signs in with, in lower case.' }),
    notificationPreference: t.field({
      type: NotificationPreferenceEnum,
      description: 'Which notifications the user gets. ALERTS until the user changes it.',
      resolve: ({ notificationPreference }) => notificationPreference,
    }),
    administrator: t.exposeBoolean('administrator', {
      description: 'Whether the account administers the installation. The first account does.',
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the account was created.',
      resolve: (user) => user.createdAt,
    }),
  }),
});

builder.queryField('viewer', (t) =>
  t.field({
    type: User,
    nullable: true,
    description: 'The account that is signed in. Null if the request has no token.',
    resolve: (_, __, { viewer }) => viewer?.user,
  }),
);

const NEW_PASSWORD_DESCRIPTION =
  '8 to 200 characters. Common passwords, sequences of characters and the email itself are refused.';
const TOKEN_DESCRIPTION = 'The token of the new session. It is valid for 30 days, or until the session ends.';

publicMutation('signUp', {
  description:
    'Creates an account and signs it in. Browsers also get the session as a cookie. The first account becomes the administrator. FORBIDDEN if the operator has closed sign-up, whatever the email.',
  cost: PASSWORD_COST,
  input: (t) => ({
    email: t.string({ required: true, description: 'An address like "ann@example.com". Case makes no difference.' }),
    password: t.string({ required: true, description: NEW_PASSWORD_DESCRIPTION }),
  }),
  payload: {
    user: { type: User, description: 'The new account.' },
    token: { type: 'String', description: TOKEN_DESCRIPTION },
  },
  resolve: async (call) => {
    const { input, context, audit } = call;
    const { services, client } = context;
    const { signUp = 'first' } = services.settings;
    if (signUp === 'closed') throw signUpClosed();
    const { signUpsPerAddressPerHour: points } = { ...ACCOUNT_LIMITS, ...services.settings.limits };
    return uncountedInOutage(services, async (count) => {
      await count(`sign-up:address:${addressKey(client.address)}`, points, 3_600);
      // Before anything of the input is looked at, because the answer must not say which emails
      // exist. In an outage this fails, before a password costs anything.
      const isFirst = !(await hasAccounts(services.db));
      const onlyFirst = signUp === 'first';
      if (onlyFirst && !isFirst) throw signUpClosed();
      const problems = await newCredentialProblems(input);
      if (problems.length > 0) return invalid(problems);
      const passwordHash = await services.passwords.hash(input.password);
      const account = { email: normalizedEmail(input.email), passwordHash };
      const user = await call.change(
        (tx) => createUser(tx, account, { onlyFirst }),
        (made) => (typeof made === 'string' ? undefined : audit.concerns(made.id)),
      );
      if (user === 'CLOSED') throw signUpClosed();
      if (user === 'EXISTS') return alreadyExists();
      const session = await beginSession(context, user, (create) => create(services.db));
      return session ?? alreadyExists(); // the operator changed the account within milliseconds
    });
  },
});

function alreadyExists() {
  return refused({
    code: 'ALREADY_EXISTS',
    message: 'There is an account with this email: sign in.',
    path: ['email'],
  });
}

function signUpClosed() {
  return failure(
    'FORBIDDEN',
    'Signing up is closed here, by the setting SIGN_UP: ask who runs this server for an account (chronoverse users create EMAIL).',
  );
}

publicMutation('signIn', {
  description:
    'Begins a session. Browsers also get it as a cookie. The answer does not say which accounts exist or are disabled.',
  cost: PASSWORD_COST,
  input: (t) => ({
    email: t.string({ required: true, description: 'The email of the account. Case makes no difference.' }),
    password: t.string({ required: true, description: 'The password of the account.' }),
  }),
  payload: {
    user: { type: User, description: 'The account that is now signed in.' },
    token: { type: 'String', description: TOKEN_DESCRIPTION },
  },
  resolve: async (call) => {
    const { input, context, audit } = call;
    const { services, client } = context;
    const email = normalizedEmail(input.email);
    const address = addressKey(client.address);
    // Credentials that no account can have are checked like others, so that they take as long.
    const possible = credentialProblems({ email, password: input.password }).length === 0;
    return uncountedInOutage(services, async (count) => {
      const user = await countedUser(context, count, { email, address, possible });
      if (user) audit.concerns(user.id);
      const matches = await services.passwords.matches(user?.passwordHash, possible ? input.password : '');
      if (!user || !matches || user.disabledAt !== null) return badCredentials();
      const session = await beginSession(context, user, (create) => call.change(create, (made) => made?.id));
      return session ?? badCredentials();
    });
  },
});

/**
 * The account with this email, once the try is counted: by address, by account and address, and, if
 * the account never signed in from the address, by account alone. So wrong passwords keep out their
 * sender. Many addresses together are slowed by the last limit, which does not apply to the owner's
 * own. An email without an account is counted the same.
 */
async function countedUser(
  { services }: Context,
  count: (key: string, points: number, windowSeconds: number) => Promise<void>,
  { email, address, possible }: { email: string; address: string; possible: boolean },
) {
  const limits = { ...ACCOUNT_LIMITS, ...services.settings.limits };
  const account = hashToken(email).toString('hex');
  await count(`sign-in:address:${address}`, limits.signInsPerAddressPerMinute, 60);
  await count(`sign-in:account:${account}:${address}`, limits.signInsPerAccountPerMinute, 60);
  const found = possible ? await findUserByEmail(services.db, email, address) : undefined;
  if (!found?.isKnownAddress) {
    await count(`sign-in:strangers:${account}`, limits.signInsPerAccountFromStrangersPerMinute, 60);
  }
  return found?.user;
}

function badCredentials() {
  return refused({ code: 'BAD_CREDENTIALS', message: 'No account has this email and password.', path: null });
}

type CreateSession = (db: Db) => ReturnType<typeof createSession>;

/**
 * Begins a session of `user`, whose password was just given; `run` runs its statement. Undefined if
 * the password was changed, or the account disabled, in the meantime.
 */
async function beginSession(
  { client }: Context,
  user: UserRow,
  run: (create: CreateSession) => ReturnType<CreateSession>,
): Promise<{ user: UserRow; token: string } | undefined> {
  const token = newToken('SESSION');
  const wanted = {
    userId: user.id,
    passwordHash: user.passwordHash,
    hash: hashToken(token),
    expiresAt: new Date(Date.now() + SESSION_DAYS * 86_400_000),
    address: addressKey(client.address),
    userAgent: printable(client.userAgent),
  };
  const session = await run((db) => createSession(db, wanted, { countMax: SESSIONS_MAX }));
  if (session === undefined) return undefined;
  client.setSession(token);
  return { user, token };
}

const USER_AGENT_LENGTH_MAX = 200;

/** A header as it may be shown: clients can write anything into it. */
function printable(userAgent: string | undefined): string | null {
  const text = userAgent?.replace(/[^\x20-\x7e]/g, '?').slice(0, USER_AGENT_LENGTH_MAX);
  return text || null;
}

mutation('signOut', 'READ', {
  description:
    'Ends the session that sends this, and everything open under it. CONFLICT with an API token: revoke that with `revokeApiToken`.',
  payload: {},
  resolve: async ({ viewer: { tokenId, kind, user }, context, change }) => {
    if (kind === 'API') {
      const message = 'This is an API token, not a session: use revokeApiToken.';
      return refused({ code: 'CONFLICT', message, path: null });
    }
    await change(
      (tx) => revokeToken(tx, { userId: user.id, id: tokenId, kind }),
      (revoked) => revoked?.id,
    );
    context.client.setSession(undefined);
    return {};
  },
});

mutation('changePassword', 'SESSION', {
  description:
    'Gives the account a new password and ends all of its other sessions at once. Whatever is open under them ends within 5 seconds. API tokens stay valid. Needs a session: FORBIDDEN with an API token.',
  cost: PASSWORD_COST,
  input: (t) => ({
    current: t.string({ required: true, description: 'The password that the account has now.' }),
    new: t.string({ required: true, description: NEW_PASSWORD_DESCRIPTION }),
  }),
  payload: { user: { type: User, description: 'The account.' } },
  resolve: async ({ input, viewer: { user, tokenId }, context: { services }, change }) => {
    const { passwords, settings } = services;
    const { passwordChangesPerMinute: points } = { ...ACCOUNT_LIMITS, ...settings.limits };
    await countAttempt(services, `change-password:${user.id}`, points, 60);
    if (!(await passwords.matches(user.passwordHash, input.current))) return wrongPassword();
    const problems = await newPasswordProblems(input.new, { email: user.email, field: 'new' });
    if (problems.length > 0) return invalid(problems);
    const passwordHash = await passwords.hash(input.new);
    const password = { userId: user.id, former: user.passwordHash, passwordHash, keptSession: tokenId };
    const changed = await change(
      (tx) => changePassword(tx, password),
      (account) => account?.id,
    );
    return changed ? { user: changed } : wrongPassword(); // another call changed it meanwhile
  },
});

function wrongPassword() {
  const message = "This is not the account's password: give the one that it has now.";
  return refused({ code: 'BAD_CREDENTIALS', message, path: ['current'] });
}
