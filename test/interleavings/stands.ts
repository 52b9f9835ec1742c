import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { sleep } from './real-time.ts';

/**
 * Makes a statement stand between its snapshot and its first lock: a condition in its WHERE waits for an advisory lock. What commits
 * meanwhile is not seen by it, and nothing of it is locked yet.
 */
export interface Stands {
  /** For the WHERE of the actor's statements. */
  condition(actor: number): string;
  /** The actor's next statement is to stand. */
  close(actor: number): Promise<void>;
  /** Resolves when it stands. */
  standing(actor: number, signal: AbortSignal): Promise<void>;
  /** It goes on. */
  open(actor: number): Promise<void>;
}

const ASK_MS = 1;

/** `db` has one connection: the locks are that connection's. */
export async function openStands(db: Db): Promise<Stands> {
  // Volatile, and without a column: the planner evaluates it once, when the first row is looked for.
  await db.execute(`
    CREATE FUNCTION stand(actor integer) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
      PERFORM pg_advisory_lock_shared(actor), pg_advisory_unlock_shared(actor);
      RETURN true;
    END $$`);
  return {
    condition: (actor) => `(SELECT stand(${actor}))`,
    close: async (actor) => void (await db.execute(sql`SELECT pg_advisory_lock(${actor})`)),
    open: async (actor) => void (await db.execute(sql`SELECT pg_advisory_unlock(${actor})`)),
    async standing(actor, signal) {
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
