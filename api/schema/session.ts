import { endAllSessions } from '../../db/accounts/sessions.ts';
import { revokeToken } from '../../db/accounts/tokens.ts';
import type { TokenRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { sessionViewerOf } from '../context.ts';
import { SESSIONS_MAX } from '../settings.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { costsOfList, STATEMENT_COST } from './field-cost.ts';
import { Node } from './node.ts';
import { User } from './user.ts';
import { notFound, UserError, type UserErrorShape } from './user-error.ts';

export const Session = builder.objectRef<TokenRow>('Session');
Session.implement({
  description: 'What a sign-in began: a browser or a program that has the token of it.',
  interfaces: [Node],
  fields: (t) => ({
    current: t.boolean({
      description: 'Whether it is the one that asks.',
      resolve: ({ id }, _, { viewer }) => viewer?.tokenId === id,
    }),
    address: t.exposeString('address', {
      nullable: true,
      description:
        'From where it was begun: an IPv4 address, or the /64 of an IPv6 one. Null for those of before this was stored.',
    }),
    userAgent: t.exposeString('userAgent', {
      nullable: true,
      description: 'What the program that began it called itself: 200 characters at most. It may say what it likes.',
    }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was last used, to the minute.',
      resolve: ({ lastUsedAt }) => lastUsedAt,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Until when it is valid, unless it is ended before.',
      resolve: ({ expiresAt }) => expiresAt,
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was begun.', resolve: ({ createdAt }) => createdAt }),
  }),
});

builder.objectField(User, 'sessions', (t) =>
  t.field({
    type: [Session],
    description: 'The sessions that are valid, newest first: 100 at most.',
    extensions: costsOfList(SESSIONS_MAX, STATEMENT_COST),
    resolve: (user, _, { load }) => load.sessions(user.id),
  }),
);

interface Revoked {
  session?: TokenRow;
  userErrors: UserErrorShape[];
}

const RevokeSessionInput = builder.inputType('RevokeSessionInput', {
  description: 'A session to end.',
  fields: (t) => ({ id: t.id({ required: true, description: 'Its id.' }) }),
});

const RevokeSessionPayload = builder.objectRef<Revoked>('RevokeSessionPayload').implement({
  description: 'What `revokeSession` answers.',
  fields: (t) => ({
    session: t.field({
      type: Session,
      nullable: true,
      description: 'The session, as it was.',
      resolve: ({ session }) => session,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is wrong with the input.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('revokeSession', (t) =>
  t.field({
    type: RevokeSessionPayload,
    description:
      'Ends one of your sessions at once; what is open under it ends within 5 seconds. It takes a session: FORBIDDEN with an API token.',
    args: { input: t.arg({ type: RevokeSessionInput, required: true, description: 'Which session.' }) },
    resolve: audited(
      'revokeSession',
      'SESSION',
      async ({ input: { id } }: Input<typeof RevokeSessionInput>, context, audit): Promise<Revoked> => {
        const { user, tokenId } = sessionViewerOf(context);
        const session = isId(id)
          ? await audit.change(
              context.services.db,
              (tx) => revokeToken(tx, { userId: user.id, id: id.toLowerCase(), kind: 'SESSION' }),
              (revoked) => revoked?.id,
            )
          : undefined;
        if (session === undefined) return notFound('session');
        if (session.id === tokenId) context.client.setSession(undefined);
        return { session, userErrors: [] };
      },
    ),
  }),
);

interface SignedOut {
  sessionsEnded: number;
  userErrors: UserErrorShape[];
}

const SignOutEverywherePayload = builder.objectRef<SignedOut>('SignOutEverywherePayload').implement({
  description: 'What `signOutEverywhere` answers.',
  fields: (t) => ({
    sessionsEnded: t.exposeInt('sessionsEnded', { description: 'How many sessions it ended, the present one too.' }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is wrong with the call.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('signOutEverywhere', (t) =>
  t.field({
    type: SignOutEverywherePayload,
    description:
      'Ends all of your sessions at once, this one too; what is open under them ends within 5 seconds. API tokens stay: `revokeApiToken` ends those. It takes a session: FORBIDDEN with an API token.',
    resolve: audited('signOutEverywhere', 'SESSION', async (_: object, context, audit): Promise<SignedOut> => {
      const { user } = sessionViewerOf(context);
      const sessionsEnded = await audit.change(
        context.services.db,
        (tx) => endAllSessions(tx, user.id),
        () => user.id,
      );
      context.client.setSession(undefined);
      return { sessionsEnded, userErrors: [] };
    }),
  }),
);
