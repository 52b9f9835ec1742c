import { GraphQLError } from 'graphql';
import { type NewAuditEvent, recordAudit } from '../../db/accounts/audit.ts';
import { isTokenValid } from '../../db/accounts/tokens.ts';
import { lockUser } from '../../db/accounts/user-limits.ts';
import type { Db } from '../../db/client.ts';
import { auditChanges, auditSentence } from '../../domain/account/audit.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import type { Context } from '../context.ts';
import { unauthenticated } from '../errors.ts';
import type { UserErrorShape } from './user-error.ts';

/**
 * What the audit stores of one call of a mutation: a row in the transaction of each change, and a
 * count of refusals.
 */
export class Audit {
  readonly #action: string;
  readonly #context: Context;
  /** Undefined for a sign-in, which nobody did before it has succeeded. */
  readonly #viewer: Context['viewer'];
  readonly #changes: ReturnType<typeof auditChanges>;
  #userId: string | null;
  #done: NewAuditEvent | undefined;

  constructor(action: string, { viewer, input }: { viewer?: Context['viewer']; input?: unknown }, context: Context) {
    this.#action = action;
    this.#context = context;
    this.#viewer = viewer;
    this.#changes = typeof input === 'object' && input !== null ? auditChanges(input) : [];
    this.#userId = viewer?.user.id ?? null;
  }

  /** Runs the call, and records whether it was done or refused. */
  async record<Answer extends { userErrors?: UserErrorShape[] }>(run: () => Promise<Answer>): Promise<Answer> {
    try {
      const answer = await run();
      const [refusal] = answer.userErrors ?? [];
      if (refusal) this.#refuse(refusal.code);
      else await this.#end();
      return answer;
    } catch (error) {
      if (error instanceof GraphQLError && REFUSALS.has(error.extensions.code))
        this.#refuse(String(error.extensions.code));
      throw error;
    }
  }

  /** Names the account that the call concerns, if nobody is signed in. Returns its id. */
  concerns(userId: string): string {
    this.#userId = userId;
    return userId;
  }

  /**
   * Makes `change` and writes its row in one transaction. `objectOf` returns the id of the changed
   * object, null if that has no id, and undefined if nothing changed.
   *
   * The changes of one user run one after the other. Whatever ends a token is such a change, or
   * locks the user too: the token stays valid until the change commits, and changes nothing once
   * its end was answered.
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
        // A statement of its own, because it must see what the lock waited for.
        if (!(await isTokenValid(tx, viewer.tokenId))) throw unauthenticated();
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

  #refuse(code: string): void {
    this.#context.services.refusals.note({ ...this.#event('REFUSED'), code });
  }

  /**
   * Runs after the commit. A call that changed nothing, because it was made before, leaves a row as
   * well.
   */
  async #end(): Promise<void> {
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

/** Errors that refuse a call. All others mean that something failed. */
const REFUSALS = new Set<unknown>(['FORBIDDEN', 'UNAUTHENTICATED', 'RATE_LIMITED', 'BAD_REQUEST', 'NOT_FOUND']);
