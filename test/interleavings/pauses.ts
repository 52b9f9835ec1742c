import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { sleep } from './real-time.ts';

/**
 * Pauses a statement between its snapshot and its first lock: a condition in its WHERE waits for an
 * advisory lock. Until then the statement sees no later commits and has locked nothing.
 */
export interface Pauses {
  /** The condition for the WHERE of the actor's statements. */
  condition(actor: number): string;
  /** Makes the actor's next statement pause. */
  arm(actor: number): Promise<void>;
  /** Resolves when the statement has paused. */
  waitUntilPaused(actor: number, signal: AbortSignal): Promise<void>;
  /** Lets the statement continue. */
  resume(actor: number): Promise<void>;
}

const ASK_MS = 1;

/** `db` must have a single connection, because that connection holds the locks. */
export async function openPauses(db: Db): Promise<Pauses> {
  // The condition is volatile and uses no column, so the planner evaluates it once, when the
  // statement looks for the first row.
  await db.execute(`
    CREATE FUNCTION pause_statement(actor integer) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
      PERFORM pg_advisory_lock_shared(actor), pg_advisory_unlock_shared(actor);
      RETURN true;
    END $$`);
  return {
    condition: (actor) => `(SELECT pause_statement(${actor}))`,
    arm: async (actor) => void (await db.execute(sql`SELECT pg_advisory_lock(${actor})`)),
    resume: async (actor) => void (await db.execute(sql`SELECT pg_advisory_unlock(${actor})`)),
    async waitUntilPaused(actor, signal) {
      for (;;) {
        const rows = await db.execute(sql`
          SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = ${actor} AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`);
        if (rows.length > 0 || signal.aborted) return;
        await sleep(ASK_MS);
      }
    },
  };
}
