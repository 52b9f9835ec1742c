import { createUser, hasAccounts } from '../../db/accounts/accounts.ts';
import { newCredentialProblems, normalizedEmail } from '../../domain/account/account-input.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { countAttempt } from '../auth/attempts.ts';
import { failure } from '../errors.ts';
import { ACCOUNT_LIMITS } from '../settings.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { costs, PASSWORD_COST } from './field-cost.ts';
import { beginSession, type SignedIn, signedInPayload } from './signed-in.ts';
import { invalid, refused } from './user-error.ts';

const SignUpInput = builder.inputType('SignUpInput', {
  description: 'What a new account signs in with.',
  fields: (t) => ({
    email: t.string({ required: true, description: 'An address like "ann@example.com". Case makes no difference.' }),
    password: t.string({
      required: true,
      description: '8 to 200 characters. Common ones, rows of characters and the email itself are refused.',
    }),
  }),
});

const SignUpPayload = signedInPayload('SignUpPayload', 'The new account.');

builder.mutationField('signUp', (t) =>
  t.field({
    type: SignUpPayload,
    extensions: costs(PASSWORD_COST),
    description:
      'Makes an account and signs it in; a browser is given the cookie of the session. The first account becomes the administrator. Where the operator has closed signing up, FORBIDDEN, whatever the email.',
    args: { input: t.arg({ type: SignUpInput, required: true, description: 'The credentials.' }) },
    resolve: audited(
      'signUp',
      'NOTHING',
      async ({ input }: Input<typeof SignUpInput>, context, audit): Promise<SignedIn> => {
        const { services, client } = context;
        const { signUp = 'first' } = services.settings;
        if (signUp === 'closed') throw signUpClosed();
        const { signUpsPerAddressPerHour: points } = { ...ACCOUNT_LIMITS, ...services.settings.limits };
        await countAttempt(context.services, `sign-up:address:${addressKey(client.address)}`, points, 3_600);
        const onlyFirst = signUp === 'first';
        if (onlyFirst && (await hasAccounts(services.db))) throw signUpClosed(); // before anything is looked at, which might tell
        const problems = await newCredentialProblems(input);
        if (problems.length > 0) return invalid(problems);
        const passwordHash = await services.passwords.hash(input.password);
        const account = { email: normalizedEmail(input.email), passwordHash };
        const user = await audit.change(
          services.db,
          (tx) => createUser(tx, account, { onlyFirst }),
          (made) => (typeof made === 'string' ? undefined : audit.concerns(made.id)),
        );
        if (user === 'CLOSED') throw signUpClosed();
        if (user === 'EXISTS') return alreadyExists();
        return (await beginSession(context, user)) ?? alreadyExists(); // the operator changed it within milliseconds
      },
    ),
  }),
);

function alreadyExists(): SignedIn {
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
