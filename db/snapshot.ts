import { sql } from 'drizzle-orm';
import type { Db } from './client.ts';

/**
 * Runs `read` with a view of the database that shows one moment to all of its statements. Each of
 * them is cancelled (57014) when it takes too long, because the view holds a connection.
 */
export function inSnapshot<T>(db: Db, read: (snapshot: Db) => Promise<T>): Promise<T> {
  const limited = async (snapshot: Db) => {
    // It goes ahead of what is read on the same connection, so nothing waits for its answer.
    const limit = snapshot.execute(LIMIT).then(() => undefined);
    const [result] = await Promise.all([read(snapshot), limit]);
    return result;
  };
  return db.transaction(limited, { isolationLevel: 'repeatable read', accessMode: 'read only' });
}

const STATEMENT_SECONDS_MAX = 10;
const LIMIT = sql.raw(`SET /* limitStatements */ LOCAL statement_timeout = '${STATEMENT_SECONDS_MAX}s'`);
