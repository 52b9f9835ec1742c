import { createApiToken, revokeToken } from '../../db/accounts/tokens.ts';
import type { TokenRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { API_TOKEN_DAYS_MAX, NAME_LENGTH_MAX } from '../../domain/limits.ts';
import type { Problem } from '../../domain/problem.ts';
import { nameProblems } from '../../domain/workflow-input.ts';
import { hashToken, newToken } from '../auth/tokens.ts';
import { viewerOf } from '../context.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { TokenScopeEnum } from './enums.ts';
import { Node } from './node.ts';
import { invalid, notFound, refused, UserError, type UserErrorShape } from './user-error.ts';

export const ApiToken = builder.objectRef<TokenRow>('ApiToken');
ApiToken.implement({
  description: 'A token for programs. Its secret was shown once, when it was made, and is stored nowhere.',
  interfaces: [Node],
  fields: (t) => ({
    name: t.string({ description: 'What it is for.', resolve: (token) => token.name ?? '' }),
    scope: t.field({ type: TokenScopeEnum, description: 'What it may do.', resolve: ({ scope }) => scope }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was last used, to the minute.',
      resolve: (token) => token.lastUsedAt,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'When it expires. Null if it never does, which only tokens of earlier versions do, and those of installations without API_TOKEN_DAYS_MAX.',
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
    scope: t.field({ type: TokenScopeEnum, description: 'What it may do. WRITE unless given.' }),
    expiresAt: t.field({
      type: 'DateTime',
      description:
        'When it expires: at most a year from now, unless the operator says otherwise. Without it, the latest that may be.',
    }),
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
    description:
      'Makes a token for a program, which may then do what its scope says. Only a session may make one, no API token.',
    args: { input: t.arg({ type: CreateApiTokenInput, required: true, description: 'The token.' }) },
    resolve: audited(
      'createApiToken',
      'SESSION',
      async ({ input }: Input<typeof CreateApiTokenInput>, context, audit): Promise<Created> => {
        const { user } = viewerOf(context);
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
        const { name, scope = null } = input;
        const token = { userId: user.id, name, hash: hashToken(secret), scope: scope ?? 'WRITE', expiresAt };
        const apiToken = await audit.change(
          context.services.db,
          (tx) => createApiToken(tx, token, { countMax: API_TOKENS_MAX }),
          (made) => (typeof made === 'string' ? undefined : made.id),
        );
        if (apiToken !== 'FULL') return { apiToken, secret, userErrors: [] };
        const message = `An account may have ${API_TOKENS_MAX} API tokens: revoke one first.`;
        return refused({ code: 'LIMIT_EXCEEDED', message, path: null });
      },
    ),
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
    resolve: audited(
      'revokeApiToken',
      'WRITE',
      async (
        { input: { id } }: Input<typeof RevokeApiTokenInput>,
        context,
        audit,
      ): Promise<Omit<Created, 'secret'>> => {
        const { user } = viewerOf(context);
        const apiToken = isId(id)
          ? await audit.change(
              context.services.db,
              (tx) => revokeToken(tx, { userId: user.id, id: id.toLowerCase(), kind: 'API' }),
              (revoked) => revoked?.id,
            )
          : undefined;
        return apiToken ? { apiToken, userErrors: [] } : notFound('API token');
      },
    ),
  }),
);

const DAY_MS = 86_400_000;
const CLOCK_MS = 60_000; // a client that adds a year by its own clock may be ahead
export const API_TOKENS_MAX = 100; // `User.apiTokens` has no pages
