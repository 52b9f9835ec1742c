import { sql } from 'drizzle-orm';
import { type Connection, connect } from '../../db/client.ts';

export interface BenchDatabase extends Connection {
  url: string;
}

/** An empty database for the benchmark on the server of DATABASE_URL. `close` drops it. */
export async function benchDatabase(label: string): Promise<BenchDatabase> {
  const serverUrl = process.env.DATABASE_URL ?? '';
  const name = `cvbench_${label}_${process.pid}`;
  const admin = connect(serverUrl, { max: 1, application: 'chronoverse-bench' });
  await admin.db.execute(sql.raw(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  await admin.db.execute(sql.raw(`CREATE DATABASE ${name}`));
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const connection = connect(url.href, { max: 2, application: 'chronoverse-bench' });
  return {
    ...connection,
    url: url.href,
    close: async () => {
      await connection.close();
      await admin.db.execute(sql.raw(`DROP DATABASE ${name} WITH (FORCE)`));
      await admin.close();
    },
  };
}

/** Makes `count` random schedules due now, and no others, as if their last jobs had ended. */
export async function makeDue(database: BenchDatabase, count: number): Promise<void> {
  await database.db.execute(sql`TRUNCATE jobs`);
  await database.db.execute(
    sql`UPDATE schedules SET wake_at = next_run_at, last_job_id = NULL WHERE last_job_id IS NOT NULL`,
  );
  await database.db.execute(sql`
    UPDATE schedules SET next_run_at = now(), wake_at = now(), last_job_id = NULL WHERE workflow_id IN (
      SELECT workflow_id FROM schedules ORDER BY random() LIMIT ${count})`);
}
