import type { TokenRow } from '../db/schema.ts';
import { createApiToken, revokeToken } from '../db/tokens.ts';
import { isId } from '../domain/ids.ts';
import { NAME_LENGTH_MAX } from '../domain/limits.ts';
import type { Problem } from '../domain/problem.ts';
import { nameProblems } from '../domain/workflow-input.ts';
import { builder } from './builder.ts';
import { viewerOf } from './context.ts';
import { hashToken, newToken } from './identity.ts';
import { Node } from './node.ts';
import { invalid, notFound, refused, UserError, type UserErrorShape } from './user-error.ts';

export const ApiToken = builder.objectRef<TokenRow>('ApiToken');
ApiToken.implement({
  description: 'A token for programs. Its secret was shown once, when it was made, and is stored nowhere.',
  interfaces: [Node],
  fields: (t) => ({
    name: t.string({ description: 'What it is for.', resolve: (token) => token.name ?? '' }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was last used, to the minute.',
      resolve: (token) => token.lastUsedAt,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Until when it is valid; null: until it is revoked.',
      resolve: (token) => token.expiresAt,
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was made.', resolve: (token) => token.createdAt }),
  }),
});

interface Created {
  apiToken?: TokenRow;
  secret?: string;
  userErrors: UserErrorShape[];
}

const CreateApiTokenInput = builder.inputType('CreateApiTokenInput', {
  description: 'A token to be made.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'What it is for: 1 to 255 characters.' }),
    expiresAt: t.field({ type: 'DateTime', description: 'Until when it is valid. Without, until it is revoked.' }),
  }),
});

const CreateApiTokenPayload = builder.objectRef<Created>('CreateApiTokenPayload').implement({
  description: 'What `createApiToken` answers.',
  fields: (t) => ({
    apiToken: t.field({
      type: ApiToken,
      nullable: true,
      description: 'The new token.',
      resolve: ({ apiToken }) => apiToken,
    }),
    secret: t.exposeString('secret', {
      nullable: true,
      description: 'What is sent as `Authorization: Bearer SECRET`. It is shown this once.',
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('createApiToken', (t) =>
  t.field({
    type: CreateApiTokenPayload,
    description: 'Makes a token for a program, which may then do whatever the viewer may.',
    args: { input: t.arg({ type: CreateApiTokenInput, required: true, description: 'The token.' }) },
    resolve: async (_, { input }, context): Promise<Created> => {
      const { user } = viewerOf(context);
      const expiresAt = input.expiresAt ?? null;
      const problems: Problem[] = nameProblems(input.name, NAME_LENGTH_MAX);
      if (expiresAt && expiresAt.getTime() <= Date.now()) {
        problems.push({ path: ['expiresAt'], message: 'The expiry must be in the future.' });
      }
      if (problems.length > 0) return invalid(problems);
      const secret = newToken('API');
      const token = { userId: user.id, name: input.name, hash: hashToken(secret), expiresAt };
      const apiToken = await createApiToken(context.services.db, token, { countMax: API_TOKENS_MAX });
      if (apiToken) return { apiToken, secret, userErrors: [] };
      const message = `An account may have ${API_TOKENS_MAX} API tokens: revoke one first.`;
      return refused({ code: 'LIMIT_EXCEEDED', message, path: null });
    },
  }),
);

const RevokeApiTokenInput = builder.inputType('RevokeApiTokenInput', {
  description: 'A token to be ended.',
  fields: (t) => ({ id: t.id({ required: true, description: 'Its id.' }) }),
});

const RevokeApiTokenPayload = builder.objectRef<Omit<Created, 'secret'>>('RevokeApiTokenPayload').implement({
  description: 'What `revokeApiToken` answers.',
  fields: (t) => ({
    apiToken: t.field({
      type: ApiToken,
      nullable: true,
      description: 'The token, as it was.',
      resolve: ({ apiToken }) => apiToken,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('revokeApiToken', (t) =>
  t.field({
    type: RevokeApiTokenPayload,
    description: 'Ends a token at once; what is open under it ends within seconds.',
    args: { input: t.arg({ type: RevokeApiTokenInput, required: true, description: 'Which token.' }) },
    resolve: async (_, { input: { id } }, context) => {
      const { user } = viewerOf(context);
      const apiToken = isId(id)
        ? await revokeToken(context.services.db, { userId: user.id, id: id.toLowerCase(), kind: 'API' })
        : undefined;
      return apiToken ? { apiToken, userErrors: [] } : notFound('API token');
    },
  }),
);

const API_TOKENS_MAX = 100; // `User.apiTokens` has no pages
