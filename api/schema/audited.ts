import { GraphQLError } from 'graphql';
import { type NewAuditEvent, recordAudit } from '../../db/accounts/audit.ts';
import { isTokenValid } from '../../db/accounts/tokens.ts';
import { lockUser } from '../../db/accounts/user-limits.ts';
import type { Db } from '../../db/client.ts';
import { auditChanges, auditSentence } from '../../domain/account/audit.ts';
import { includesScope, type TokenScope } from '../../domain/account/token-scope.ts';
import { MUTATIONS_PER_USER_PER_HOUR } from '../../domain/limits.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { countAttempt } from '../auth/attempts.ts';
import { type Context, sessionViewerOf, viewerOf } from '../context.ts';
import { failure, unauthenticated } from '../errors.ts';
import type { UserErrorShape } from './user-error.ts';

/** Who may call a mutation: anybody, a token with a scope, or a session alone. */
export type Needs = 'NOTHING' | TokenScope | 'SESSION';

/** The arguments of a mutation whose `input` is of this type. */
export interface Input<Ref extends { $inferInput: unknown }> {
  input: Ref['$inferInput'];
}

/** The mutations whose calls are audited: a test compares them with the schema. */
export const auditedMutations = new Set<string>();

/**
 * The resolver of a mutation, which looks first whether the caller may, and leaves a row in the audit whatever comes of it. A change makes its row
 * in its own transaction, by `audit.change`; a refusal is counted.
 */
export function audited<Args extends object, Result extends { userErrors: UserErrorShape[] }>(
  action: string,
  needs: Needs,
  resolve: (args: Args, context: Context, audit: Audit) => Promise<Result>,
): (root: unknown, args: Args, context: Context) => Promise<Result> {
  auditedMutations.add(action);
  return async (_, args, context) => {
    const given = needs === 'NOTHING' ? {} : args; // who is not signed in gives credentials alone
    const audit = new Audit(action, needs, given, context);
    try {
      checkNeeds(action, needs, context);
      await countMutation(action, needs, context);
      const result = await resolve(args, context, audit);
      const [refusal] = result.userErrors;
      if (refusal) audit.refuse(refusal.code);
      else await audit.end();
      return result;
    } catch (error) {
      if (error instanceof GraphQLError && REFUSALS.has(error.extensions.code))
        audit.refuse(String(error.extensions.code));
      throw error;
    }
  };
}

/** Errors that say no, rather than that something failed. */
const REFUSALS = new Set<unknown>(['FORBIDDEN', 'UNAUTHENTICATED', 'RATE_LIMITED', 'BAD_REQUEST', 'NOT_FOUND']);

function checkNeeds(action: string, needs: Needs, context: Context): void {
  if (needs === 'NOTHING') return;
  if (needs === 'SESSION') {
    sessionViewerOf(context);
    return;
  }
  const viewer = viewerOf(context);
  if (!includesScope(viewer.scope, needs)) {
    throw failure('FORBIDDEN', `${action} needs a token with the scope ${needs}: this one has ${viewer.scope}.`);
  }
}

/**
 * Each change leaves rows that stay for long, one in the audit at least: this bounds how fast one account can fill the database. A call without an
 * account has bounds of its own.
 */
async function countMutation(action: string, needs: Needs, context: Context): Promise<void> {
  if (needs === 'NOTHING' || ENDING.has(action)) return;
  const { mutationsPerUserPerHour: points = MUTATIONS_PER_USER_PER_HOUR } = context.services.settings;
  await countAttempt(context.services, `mutations:${viewerOf(context).user.id}`, points, 3_600);
}

/**
 * What keeps an intruder out: a person who has a stolen token must not be able to use up the owner's calls of these. Each ends something that was
 * made before, and the making is counted; changePassword has a bound of its own.
 */
const ENDING = new Set(['changePassword', 'revokeApiToken', 'revokeSession', 'signOut', 'signOutEverywhere']);

/** What is written of one call of a mutation. */
export class Audit {
  readonly #action: string;
  readonly #context: Context;
  /** Undefined of a sign-in, which is nobody's act before it has succeeded. */
  readonly #viewer: Context['viewer'];
  readonly #changes: ReturnType<typeof auditChanges>;
  #userId: string | null;
  #done: NewAuditEvent | undefined;

  constructor(action: string, needs: Needs, args: object, context: Context) {
    this.#action = action;
    this.#context = context;
    this.#viewer = needs === 'NOTHING' ? undefined : context.viewer;
    this.#changes =
      'input' in args && typeof args.input === 'object' && args.input !== null ? auditChanges(args.input) : [];
    this.#userId = this.#viewer?.user.id ?? null;
  }

  /** Names the account that the call concerns, where nobody is signed in. Gives the id back. */
  concerns(userId: string): string {
    this.#userId = userId;
    return userId;
  }

  /**
   * Makes `change`, with its row in the same transaction. `objectOf` gives the id of what it has changed, null where that has none, undefined where
   * nothing was changed.
   *
   * Changes of one user come one after the other, and what ends a token is such a change, or locks the user too: the token is valid until the change
   * is committed, and nothing is changed with a token after its end was answered.
   */
  change<Result>(
    db: Db,
    change: (tx: Db) => Promise<Result>,
    objectOf: (result: Result) => string | null | undefined,
  ): Promise<Result> {
    const viewer = this.#viewer;
    return db.transaction(async (tx) => {
      if (viewer) {
        await lockUser(tx, viewer.user.id);
        if (!(await isTokenValid(tx, viewer.tokenId))) throw unauthenticated(); // a statement of its own, which sees what the lock waited for
      }
      const result = await change(tx);
      const objectId = objectOf(result);
      if (objectId === undefined) return result;
      const event = { ...this.#event('DONE'), objectId, changes: this.#changes };
      await recordAudit(tx, event);
      this.#done = event;
      return result;
    });
  }

  refuse(code: string): void {
    this.#context.services.refusals.note({ ...this.#event('REFUSED'), code });
  }

  /** To be called when all is committed. A call that has changed nothing, because it was made before, leaves a row as well. */
  async end(): Promise<void> {
    const { db, log } = this.#context.services;
    if (this.#done === undefined) {
      this.#done = { ...this.#event('DONE'), changes: this.#changes };
      await recordAudit(db, this.#done);
    }
    log.info({ event: 'audit', ...this.#done }, auditSentence(this.#done));
  }

  #event<Outcome extends 'DONE' | 'REFUSED'>(outcome: Outcome) {
    const { client } = this.#context;
    const viewer = this.#viewer;
    return {
      action: this.#action,
      outcome,
      userId: this.#userId,
      actorId: viewer?.user.id ?? null,
      tokenId: viewer?.tokenId ?? null,
      tokenKind: viewer?.kind ?? null,
      tokenName: viewer?.tokenName ?? null,
      address: outcome === 'DONE' ? client.address : addressKey(client.address),
    };
  }
}
