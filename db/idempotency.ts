import { sql } from 'drizzle-orm';
import { IDEMPOTENCY_SECONDS } from '../domain/limits.ts';
import { array, seconds } from './arrays.ts';
import type { Db } from './client.ts';

/** A call that its client may send again. */
export interface Repeatable {
  userId: string;
  mutation: 'createWorkflow' | 'updateWorkflow' | 'rebuildWorkflow' | 'runWorkflow';
  key: string;
  /**
   * Digests of the input under the present key and under former keys: the first call may have used
   * a former one.
   */
  inputDigests: [present: Buffer, ...former: Buffer[]];
}

export type Once<Result> =
  | { outcome: 'DONE'; result: Result }
  /** The call was done before. `objectId` is the object that it returned then. */
  | { outcome: 'REPEATED'; objectId: string }
  /** The key was used with another input. */
  | { outcome: 'CONFLICT' };

/**
 * Runs `change` unless a call with the same key has done it. The row of the key is written in the
 * same transaction. A second call waits for the first to commit, or does the work if the first
 * failed. A change that was refused returns no object and stores no key.
 *
 * The lock of the key comes before all others, and no call has two keys, so no two calls deadlock.
 */
export async function once<Result>(
  db: Db,
  call: Repeatable,
  change: (tx: Db) => Promise<Result>,
  objectOf: (result: Result) => string | undefined,
): Promise<Once<Result>> {
  const { userId, mutation, key, inputDigests } = call;
  const [digest] = inputDigests;
  const isThisKey = sql`user_id = ${userId} AND mutation = ${mutation} AND key = ${key}`;
  return db.transaction(async (tx): Promise<Once<Result>> => {
    const taken = await tx.execute(sql`
      INSERT /* once */ INTO idempotency_keys AS old (user_id, mutation, key, input_hash) VALUES (${userId}, ${mutation}, ${key}, ${digest})
      ON CONFLICT (user_id, mutation, key) DO UPDATE
        SET input_hash = excluded.input_hash, object_id = NULL, created_at = excluded.created_at
        WHERE old.created_at <= now() - ${seconds(IDEMPOTENCY_SECONDS)}
      RETURNING 1`);
    if (taken.length === 0) {
      // A separate statement: its snapshot includes what the first call has committed.
      const [first] = await tx.execute<{ same: boolean; object_id: string | null }>(sql`
        SELECT /* once */ input_hash = ANY(${array(inputDigests, 'bytea')}) AS same, object_id FROM idempotency_keys WHERE ${isThisKey}`);
      if (!first?.same || first.object_id === null) return { outcome: 'CONFLICT' };
      return { outcome: 'REPEATED', objectId: first.object_id };
    }
    const result = await change(tx);
    const objectId = objectOf(result);
    await tx.execute(
      objectId === undefined
        ? sql`DELETE /* once */ FROM idempotency_keys WHERE ${isThisKey}`
        : sql`UPDATE /* once */ idempotency_keys SET object_id = ${objectId} WHERE ${isThisKey}`,
    );
    return { outcome: 'DONE', result };
  });
}

/** Removes expired keys, at most KEYS_PER_SWEEP_MAX, and returns their number. */
export async function sweepIdempotencyKeys(db: Db): Promise<number> {
  const rows = await db.execute(sql`
    DELETE /* sweepIdempotencyKeys */ FROM idempotency_keys WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM idempotency_keys WHERE created_at <= now() - ${seconds(IDEMPOTENCY_SECONDS)}
      ORDER BY created_at LIMIT ${KEYS_PER_SWEEP_MAX} FOR UPDATE SKIP LOCKED))
    RETURNING 1`);
  return rows.length;
}

const KEYS_PER_SWEEP_MAX = 10_000;
