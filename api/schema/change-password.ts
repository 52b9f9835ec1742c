import { changePassword } from '../../db/accounts/accounts.ts';
import type { UserRow } from '../../db/schema.ts';
import { newPasswordProblems } from '../../domain/account/account-input.ts';
import { countAttempt } from '../auth/attempts.ts';
import { sessionViewerOf } from '../context.ts';
import { ACCOUNT_LIMITS } from '../settings.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { costs, PASSWORD_COST } from './field-cost.ts';
import { User } from './user.ts';
import { invalid, refused, UserError, type UserErrorShape } from './user-error.ts';

interface Changed {
  user?: UserRow;
  userErrors: UserErrorShape[];
}

const ChangePasswordInput = builder.inputType('ChangePasswordInput', {
  description: 'The password that the account has, and the one that it is given.',
  fields: (t) => ({
    current: t.string({ required: true, description: 'The password that the account has now.' }),
    new: t.string({
      required: true,
      description: '8 to 200 characters. Common ones, rows of characters and the email itself are refused.',
    }),
  }),
});

const ChangePasswordPayload = builder.objectRef<Changed>('ChangePasswordPayload').implement({
  description: 'What `changePassword` answers.',
  fields: (t) => ({
    user: t.field({ type: User, nullable: true, description: 'The account.', resolve: ({ user }) => user }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is wrong with the input.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('changePassword', (t) =>
  t.field({
    type: ChangePasswordPayload,
    extensions: costs(PASSWORD_COST),
    description:
      'Gives the account another password, and ends all of its sessions but the present one: at once, and what is open under them within 5 seconds. API tokens stay. It takes a session: FORBIDDEN with an API token.',
    args: { input: t.arg({ type: ChangePasswordInput, required: true, description: 'Both passwords.' }) },
    resolve: audited(
      'changePassword',
      'SESSION',
      async ({ input }: Input<typeof ChangePasswordInput>, context, audit): Promise<Changed> => {
        const { user, tokenId } = sessionViewerOf(context);
        const { db, passwords, settings } = context.services;
        const { passwordChangesPerMinute: points } = { ...ACCOUNT_LIMITS, ...settings.limits };
        await countAttempt(context.services, `change-password:${user.id}`, points, 60);
        if (!(await passwords.matches(user.passwordHash, input.current))) return wrongPassword();
        const problems = await newPasswordProblems(input.new, { email: user.email, field: 'new' });
        if (problems.length > 0) return invalid(problems);
        const passwordHash = await passwords.hash(input.new);
        const change = { userId: user.id, former: user.passwordHash, passwordHash, keptSession: tokenId };
        const changed = await audit.change(
          db,
          (tx) => changePassword(tx, change),
          (account) => account?.id,
        );
        return changed ? { user: changed, userErrors: [] } : wrongPassword(); // another one was set meanwhile
      },
    ),
  }),
);

function wrongPassword(): Changed {
  const message = "This is not the account's password: give the one that it has now.";
  return refused({ code: 'BAD_CREDENTIALS', message, path: ['current'] });
}
