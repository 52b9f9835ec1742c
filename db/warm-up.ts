import type { Db } from './client.ts';

/** So many loops and sets of a worker use a connection at once when it has little to do. */
const CONNECTIONS = 4;
/**
 * The database makes a new plan for each of the first five runs of a prepared statement, and then
 * decides whether to keep one (choose_custom_plan in PostgreSQL's plancache.c).
 */
const RUNS = 6;

/**
 * Opens connections of the pool and runs `statements` on each of them, until the database keeps
 * their plans. Without that, they cost the first jobs of a process 10 to 40 ms.
 */
export async function warmUp(db: Db, statements: (db: Db) => Promise<unknown>): Promise<void> {
  await Promise.all(
    Array.from({ length: CONNECTIONS }, () =>
      db.transaction(async (tx) => {
        for (let run = 0; run < RUNS; run++) await statements(tx);
      }),
    ),
  );
}
