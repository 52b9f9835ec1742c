import type { InputFieldMap, InputShapeFromFields, ShapeFromTypeParam, TypeParam } from '@pothos/core';
import type { Identity } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import { includesScope, type TokenScope } from '../../domain/account/token-scope.ts';
import { MUTATIONS_PER_USER_PER_HOUR } from '../../domain/limits.ts';
import { countAttempt } from '../auth/attempts.ts';
import { type Context, sessionViewerOf, viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import { Audit } from './audit.ts';
import { builder } from './builder.ts';
import { CHANGE_COST, cost } from './cost.ts';
import { UserError, type UserErrorShape } from './user-error.ts';

type Types = typeof builder.$inferSchemaTypes;
type InputFields<Fields> = (t: PothosSchemaTypes.InputFieldBuilder<Types, 'InputObject'>) => Fields;

/** A field of a payload. Null when the mutation failed, unless it is `required`. */
interface PayloadField {
  type: TypeParam<Types>;
  description: string;
  required?: true;
  /** How many items a list has at most. */
  itemsMax?: number;
}

/** What a mutation returns: the fields of its payload, or the problems that the caller can fix. */
export type Answer<Payload extends Record<string, PayloadField>> = {
  [Name in keyof Payload]?: ShapeFromTypeParam<Types, Payload[Name]['type'], false> | undefined;
} & { userErrors?: UserErrorShape[] };

/** One call of a mutation. */
export interface Call<Input> {
  input: Input;
  context: Context;
  audit: Audit;
  /**
   * Makes a change and writes it to the audit in one transaction. `objectOf` returns the id of the
   * changed object, null if that has no id, and undefined if nothing changed.
   */
  change<Result>(
    change: (tx: Db) => Promise<Result>,
    objectOf: (result: Result) => string | null | undefined,
  ): Promise<Result>;
}

/** A call by someone who is signed in. */
export interface SignedInCall<Input> extends Call<Input> {
  viewer: Identity;
}

interface Definition<Fields extends InputFieldMap, Payload extends Record<string, PayloadField>> {
  description: string;
  /** What the mutation costs beside CHANGE_COST. */
  cost?: number;
  /** The fields of `input`. Without it the mutation has no argument. */
  input?: InputFields<Fields>;
  payload: Payload;
  /** How many problems the payload lists at most, where that is more than a few. */
  userErrorsMax?: number;
}

/**
 * Adds a mutation for callers with this scope, or for sessions alone, to the schema: `xInput`,
 * `xPayload` and the field `x`. Every call is checked, counted against the quota, and leaves a row
 * in the audit.
 */
export function mutation<Fields extends InputFieldMap, Payload extends Record<string, PayloadField>>(
  name: string,
  needs: TokenScope | 'SESSION',
  definition: Definition<Fields, Payload> & {
    resolve(call: SignedInCall<InputShapeFromFields<Fields>>): Promise<Answer<Payload>>;
  },
): void {
  add(name, definition, async (input, context) => {
    const audit = new Audit(name, { viewer: context.viewer, input }, context);
    return audit.record(async () => {
      const viewer = permitted(name, needs, context);
      await countMutation(name, viewer, context);
      return definition.resolve({ ...callOf(input, context, audit), viewer });
    });
  });
}

/**
 * Adds a mutation that needs no token, and has limits of its own. The audit stores no part of its
 * input, which holds credentials.
 */
export function publicMutation<Fields extends InputFieldMap, Payload extends Record<string, PayloadField>>(
  name: string,
  definition: Definition<Fields, Payload> & {
    resolve(call: Call<InputShapeFromFields<Fields>>): Promise<Answer<Payload>>;
  },
): void {
  add(name, definition, async (input, context) => {
    const audit = new Audit(name, {}, context);
    return audit.record(() => definition.resolve(callOf(input, context, audit)));
  });
}

/** The names of all mutations that were added here: a test compares them with the schema. */
export const mutations = new Set<string>();

type Result = Readonly<Record<string, unknown>> & { userErrors: UserErrorShape[] };

function add<Fields extends InputFieldMap, Payload extends Record<string, PayloadField>>(
  name: string,
  { description, cost: base = 0, input: fields, payload, userErrorsMax }: Definition<Fields, Payload>,
  run: (input: InputShapeFromFields<Fields>, context: Context) => Promise<Answer<Payload>>,
): void {
  mutations.add(name);
  const typeName = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  const input = fields && builder.inputType(`${typeName}Input`, { description: `The input of \`${name}\`.`, fields });
  const payloadType = builder.objectRef<Result>(`${typeName}Payload`).implement({
    description: `The result of \`${name}\`.`,
    fields: (t) => ({
      ...Object.fromEntries(
        Object.entries(payload).map(([field, { type, description, required = false, itemsMax }]) => [
          field,
          t.field({
            type,
            nullable: !required,
            description,
            extensions: cost({ itemsMax }),
            // Sound, because `Answer` gives each field of a payload the shape of its type.
            resolve: (result) => result[field] as never,
          }),
        ]),
      ),
      userErrors: t.field({
        type: [UserError],
        description: 'Problems that the caller can fix. Empty when the mutation succeeded.',
        extensions: cost({ itemsMax: userErrorsMax }),
        resolve: ({ userErrors }) => userErrors,
      }),
    }),
  });
  builder.mutationField(name, (t) =>
    t.field({
      type: payloadType,
      description,
      extensions: cost({ base: CHANGE_COST + base }),
      args: input ? { input: t.arg({ type: input, required: true, description: `Parameters of \`${name}\`.` }) } : {},
      resolve: async (_, args, context): Promise<Result> => {
        // Sound, because the engine has read the argument by `fields`.
        const input = args.input as InputShapeFromFields<Fields>;
        const answer = await run(input, context);
        return { ...answer, userErrors: answer.userErrors ?? [] };
      },
    }),
  );
}

function callOf<Input>(input: Input, context: Context, audit: Audit): Call<Input> {
  const { db } = context.services;
  return { input, context, audit, change: (change, objectOf) => audit.change(db, change, objectOf) };
}

/** The caller, if they may call this mutation. Throws UNAUTHENTICATED or FORBIDDEN. */
function permitted(name: string, needs: TokenScope | 'SESSION', context: Context): Identity {
  if (needs === 'SESSION') return sessionViewerOf(context);
  const viewer = viewerOf(context);
  if (includesScope(viewer.scope, needs)) return viewer;
  throw failure('FORBIDDEN', `${name} needs a token with the scope ${needs}: this one has ${viewer.scope}.`);
}

/**
 * Limits how fast one account can fill the database: each change leaves rows that stay for long, at
 * least one in the audit. Throws RATE_LIMITED.
 */
async function countMutation(name: string, { user }: Identity, { services }: Context): Promise<void> {
  if (UNCOUNTED.has(name)) return;
  const { mutationsPerUserPerHour: points = MUTATIONS_PER_USER_PER_HOUR } = services.settings;
  await countAttempt(services, `mutations:${user.id}`, points, 3_600);
}

/**
 * Mutations that keep an intruder out: a person with a stolen token must not be able to use up the
 * owner's calls of these. Each ends something whose creation was counted; changePassword has a
 * limit of its own.
 */
const UNCOUNTED = new Set(['changePassword', 'revokeApiToken', 'revokeSession', 'signOut', 'signOutEverywhere']);
