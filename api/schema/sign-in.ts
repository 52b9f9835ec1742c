import { findUserByEmail } from '../../db/accounts/accounts.ts';
import { revokeToken } from '../../db/accounts/tokens.ts';
import { credentialProblems, normalizedEmail } from '../../domain/account/account-input.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { countAttempt } from '../auth/attempts.ts';
import { hashToken } from '../auth/tokens.ts';
import { type Context, viewerOf } from '../context.ts';
import { ACCOUNT_LIMITS } from '../settings.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { costs, PASSWORD_COST } from './field-cost.ts';
import { beginSession, type SignedIn, signedInPayload } from './signed-in.ts';
import { refused, UserError, type UserErrorShape } from './user-error.ts';

const SignInInput = builder.inputType('SignInInput', {
  description: 'What an account signs in with.',
  fields: (t) => ({
    email: t.string({ required: true, description: "The account's email. Case makes no difference." }),
    password: t.string({ required: true, description: "The account's password." }),
  }),
});

const SignInPayload = signedInPayload('SignInPayload', 'Who is signed in now.');

builder.mutationField('signIn', (t) =>
  t.field({
    type: SignInPayload,
    extensions: costs(PASSWORD_COST),
    description:
      'Begins a session; a browser is given its cookie. It tells neither which accounts exist nor which are disabled.',
    args: { input: t.arg({ type: SignInInput, required: true, description: 'The credentials.' }) },
    resolve: audited(
      'signIn',
      'NOTHING',
      async ({ input }: Input<typeof SignInInput>, context, audit): Promise<SignedIn> => {
        const { services, client } = context;
        const email = normalizedEmail(input.email);
        const address = addressKey(client.address);
        // What cannot be an account's is looked at like what can, so that it takes as long.
        const possible = credentialProblems({ email, password: input.password }).length === 0;
        const user = await countedUser(context, email, address, possible);
        if (user) audit.concerns(user.id);
        const matches = await services.passwords.matches(user?.passwordHash, possible ? input.password : '');
        if (user && matches && user.disabledAt === null)
          return (await beginSession(context, user, audit)) ?? badCredentials();
        return badCredentials();
      },
    ),
  }),
);

/**
 * The account with this email, once the try is counted: by address, by account and address, and, where the account never signed in from the
 * address, by account alone. So wrong passwords keep out who sends them; many addresses together are slowed by the last bound, which does not
 * hold for the owner's own. An email without account is counted the same.
 */
async function countedUser(context: Context, email: string, address: string, possible: boolean) {
  const limits = { ...ACCOUNT_LIMITS, ...context.services.settings.limits };
  const account = hashToken(email).toString('hex');
  await countAttempt(context.services, `sign-in:address:${address}`, limits.signInsPerAddressPerMinute, 60);
  await countAttempt(context.services, `sign-in:account:${account}:${address}`, limits.signInsPerAccountPerMinute, 60);
  const found = possible ? await findUserByEmail(context.services.db, email, address) : undefined;
  if (!found?.isKnownAddress) {
    await countAttempt(
      context.services,
      `sign-in:strangers:${account}`,
      limits.signInsPerAccountFromStrangersPerMinute,
      60,
    );
  }
  return found?.user;
}

function badCredentials(): SignedIn {
  return refused({ code: 'BAD_CREDENTIALS', message: 'No account has this email and password.', path: null });
}

const SignOutPayload = builder.objectRef<{ userErrors: UserErrorShape[] }>('SignOutPayload').implement({
  description: 'What `signOut` answers.',
  fields: (t) => ({
    userErrors: t.field({
      type: [UserError],
      description: 'What is wrong with the call.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('signOut', (t) =>
  t.field({
    type: SignOutPayload,
    description:
      'Ends the session that this is sent with, and what is open under it. An API token is ended by `revokeApiToken`.',
    resolve: audited(
      'signOut',
      'READ',
      async (_: object, context, audit): Promise<{ userErrors: UserErrorShape[] }> => {
        const { tokenId, kind, user } = viewerOf(context);
        if (kind === 'API') {
          return refused({
            code: 'CONFLICT',
            message: 'This is an API token, not a session: use revokeApiToken.',
            path: null,
          });
        }
        await audit.change(
          context.services.db,
          (tx) => revokeToken(tx, { userId: user.id, id: tokenId, kind }),
          (revoked) => revoked?.id,
        );
        context.client.setSession(undefined);
        return { userErrors: [] };
      },
    ),
  }),
);
