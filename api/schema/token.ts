import { createApiToken, revokeToken } from '../../db/accounts/tokens.ts';
import type { TokenRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { API_TOKEN_DAYS_MAX, DAY_MS, NAME_LENGTH_MAX } from '../../domain/limits.ts';
import type { Problem } from '../../domain/problem.ts';
import { nameProblems } from '../../domain/workflow-input.ts';
import { hashToken, newToken } from '../auth/tokens.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { TokenScopeEnum } from './enums.ts';
import { mutation } from './mutation.ts';
import { Node } from './node.ts';
import { invalid, notFound, refused } from './user-error.ts';

/** `User.apiTokens` has no pages. */
const API_TOKENS_MAX = 100;

export const ApiToken = builder.objectRef<TokenRow>('ApiToken');
ApiToken.implement({
  description: 'A token for programs. Its secret is shown once, when it is created, and is stored nowhere.',
  interfaces: [Node],
  fields: (t) => ({
    name: t.string({ description: 'The name that its owner gave it.', resolve: (token) => token.name ?? '' }),
    scope: t.field({ type: TokenScopeEnum, description: 'What the token may do.', resolve: ({ scope }) => scope }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the token was last used, to the minute. Null if it never was.',
      resolve: (token) => token.lastUsedAt,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the token expires. Null if it never does.',
      resolve: (token) => token.expiresAt,
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the token was created.',
      resolve: (token) => token.createdAt,
    }),
  }),
});

builder.objectField(User, 'apiTokens', (t) =>
  t.field({
    type: [ApiToken],
    description: `The API tokens that are not revoked, oldest first. An account has at most ${API_TOKENS_MAX}.`,
    extensions: cost({ base: STATEMENT_COST, itemsMax: API_TOKENS_MAX }),
    resolve: (user, _, { load }) => load.apiTokens(user.id),
  }),
);

mutation('createApiToken', 'SESSION', {
  description: 'Creates a token for a program. Needs a session: FORBIDDEN with an API token.',
  input: (t) => ({
    name: t.string({ required: true, description: 'What the token is for: 1 to 255 characters.' }),
    scope: t.field({ type: TokenScopeEnum, description: 'What the token may do. Defaults to WRITE.' }),
    expiresAt: t.field({
      type: 'DateTime',
      description:
        'When the token expires. Defaults to the latest allowed time, which is a year from now unless the operator changed API_TOKEN_DAYS_MAX.',
    }),
  }),
  payload: {
    apiToken: { type: ApiToken, description: 'The new token.' },
    secret: {
      type: 'String',
      description: 'The secret to send as `Authorization: Bearer SECRET`. It cannot be read again.',
    },
  },
  resolve: async ({ input, viewer: { user }, context, change }) => {
    const { apiTokenDaysMax: daysMax = API_TOKEN_DAYS_MAX } = context.services.settings;
    const latest = daysMax === 0 ? null : new Date(Date.now() + daysMax * DAY_MS);
    const expiresAt = input.expiresAt ?? latest;
    const problems: Problem[] = nameProblems(input.name, NAME_LENGTH_MAX);
    if (expiresAt && expiresAt.getTime() <= Date.now()) {
      problems.push({ path: ['expiresAt'], message: 'The expiry must be in the future.' });
    }
    if (input.expiresAt && latest && input.expiresAt.getTime() > latest.getTime() + CLOCK_MS) {
      problems.push({
        path: ['expiresAt'],
        message: `A token may be valid for ${daysMax} days at most: the expiry must be ${latest.toISOString()} or before.`,
      });
    }
    if (problems.length > 0) return invalid(problems);
    const secret = newToken('API');
    const { name, scope } = input;
    const token = { userId: user.id, name, hash: hashToken(secret), scope: scope ?? 'WRITE', expiresAt } as const;
    const apiToken = await change(
      (tx) => createApiToken(tx, token, { countMax: API_TOKENS_MAX }),
      (made) => (typeof made === 'string' ? undefined : made.id),
    );
    if (apiToken !== 'FULL') return { apiToken, secret };
    const message = `An account may have ${API_TOKENS_MAX} API tokens: revoke one first.`;
    return refused({ code: 'LIMIT_EXCEEDED', message, path: null });
  },
});

mutation('revokeApiToken', 'WRITE', {
  description: 'Revokes an API token at once. Whatever is open under it ends within 5 seconds.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the token.' }) }),
  payload: { apiToken: { type: ApiToken, description: 'The token, as it was.' } },
  resolve: async ({ input: { id }, viewer: { user }, change }) => {
    const apiToken = isId(id)
      ? await change(
          (tx) => revokeToken(tx, { userId: user.id, id: id.toLowerCase(), kind: 'API' }),
          (revoked) => revoked?.id,
        )
      : undefined;
    return apiToken ? { apiToken } : notFound('API token');
  },
});

/** The clock of a client that adds a year by itself may be ahead. */
const CLOCK_MS = 60_000;
