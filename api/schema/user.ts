import type { UserRow } from '../../db/schema.ts';
import { builder } from './builder.ts';
import { NotificationPreferenceEnum } from './enums.ts';
import { costsOfList, STATEMENT_COST } from './field-cost.ts';
import { Node } from './node.ts';
import { API_TOKENS_MAX, ApiToken } from './token.ts';

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
      extensions: costsOfList(API_TOKENS_MAX, STATEMENT_COST),
      resolve: (user, _, { load }) => load.apiTokens(user.id),
    }),
    administrator: t.exposeBoolean('administrator', {
      description: 'Whether it administers the installation: the first account does.',
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
