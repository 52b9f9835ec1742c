import type { Db } from './client.ts';

/** So many loops and sets of a worker use a connection at once when it has little to do. */
const CONNECTIONS = 4;
/**
 * The first run reads what the database must know of the tables, and both compile JavaScript.
 */
const RUNS = 2;

/**
 * Opens connections of the pool and runs `statements` on each of them, so that they are prepared.
 * Without that, they cost the first jobs of a process 10 to 40 ms.
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
