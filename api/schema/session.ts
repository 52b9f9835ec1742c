import { endAllSessions } from '../../db/accounts/sessions.ts';
import { revokeToken } from '../../db/accounts/tokens.ts';
import type { TokenRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { SESSIONS_MAX } from '../settings.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { mutation } from './mutation.ts';
import { Node } from './node.ts';
import { notFound } from './user-error.ts';

export const Session = builder.objectRef<TokenRow>('Session');
Session.implement({
  description: 'A sign-in of a browser or a program, valid until it expires or is ended.',
  interfaces: [Node],
  fields: (t) => ({
    current: t.boolean({
      description: 'Whether this is the session that sends the request.',
      resolve: ({ id }, _, { viewer }) => viewer?.tokenId === id,
    }),
    address: t.exposeString('address', {
      nullable: true,
      description:
        'The address of the sign-in: an IPv4 address, or the /64 of an IPv6 address. Null for sessions of versions that did not store it.',
    }),
    userAgent: t.exposeString('userAgent', {
      nullable: true,
      description:
        'The User-Agent header of the sign-in, at most 200 characters. Null if it had none. Clients can send anything here.',
    }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the session was last used, to the minute. Null if it never was.',
      resolve: ({ lastUsedAt }) => lastUsedAt,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the session expires, unless it is ended before.',
      resolve: ({ expiresAt }) => expiresAt,
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the session began.',
      resolve: ({ createdAt }) => createdAt,
    }),
  }),
});

builder.objectField(User, 'sessions', (t) =>
  t.field({
    type: [Session],
    description: `The valid sessions, newest first. An account has at most ${SESSIONS_MAX}.`,
    extensions: cost({ base: STATEMENT_COST, itemsMax: SESSIONS_MAX }),
    resolve: (user, _, { load }) => load.sessions(user.id),
  }),
);

mutation('revokeSession', 'SESSION', {
  description:
    'Ends one of your sessions at once. Whatever is open under it ends within 5 seconds. Needs a session: FORBIDDEN with an API token.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the session.' }) }),
  payload: { session: { type: Session, description: 'The session, as it was.' } },
  resolve: async ({ input: { id }, viewer: { user, tokenId }, context, change }) => {
    const session = isId(id)
      ? await change(
          (tx) => revokeToken(tx, { userId: user.id, id: id.toLowerCase(), kind: 'SESSION' }),
          (revoked) => revoked?.id,
        )
      : undefined;
    if (session === undefined) return notFound('session');
    if (session.id === tokenId) context.client.setSession(undefined);
    return { session };
  },
});

mutation('signOutEverywhere', 'SESSION', {
  description:
    'Ends all of your sessions at once, including this one. Whatever is open under them ends within 5 seconds. API tokens stay valid: revoke them with `revokeApiToken`. Needs a session: FORBIDDEN with an API token.',
  payload: {
    sessionsEnded: {
      type: 'Int',
      required: true,
      description: 'How many sessions ended, including the one that sent this.',
    },
  },
  resolve: async ({ viewer: { user }, context, change }) => {
    const sessionsEnded = await change(
      (tx) => endAllSessions(tx, user.id),
      () => user.id,
    );
    context.client.setSession(undefined);
    return { sessionsEnded };
  },
});
