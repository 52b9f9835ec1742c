import { eq, sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Connection, connect } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { settleMarkers, storedLines } from '../../db/logs/markers.ts';
import { jobs } from '../../db/schema.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { runningJob } from '../support/jobs.ts';
import { numberedChunk } from '../support/lines.ts';
import { until } from '../support/time.ts';

let database: TestDatabase;
let settler: Connection;
let writer: Connection;
beforeAll(async () => {
  database = await testDatabase();
  settler = connect(database.url, { max: 1, application: 'settler' });
  writer = connect(database.url, { max: 1, application: 'writer' });
});
afterAll(async () => {
  await settler.close();
  await writer.close();
  await database.close();
});

test('the statement that counts stored lines chooses no partitions at run time, and reads each by its key', async () => {
  const rows = await database.db.execute<{ 'QUERY PLAN': string }>(sql`
    EXPLAIN (ANALYZE, TIMING OFF) SELECT ${storedLines(sql`asked.id`)} FROM (VALUES (gen_random_uuid()), (gen_random_uuid())) asked (id)`);
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).not.toMatch(/never executed|Subplans Removed|Seq Scan/);
  expect(plan.match(/Index Cond: \(source_id = ANY/g)?.length).toBeGreaterThan(2);
});

test('P4: the lines of each log are counted correctly even if some rows change while the statement waits for them', async () => {
  const { db } = database;
  const ann = { id: await testUser(db, 'ann'), email: '', token: '' };
  for (let round = 0; round < 6; round++) {
    const ids: string[] = [];
    for (let n = 0; n < 10; n++) {
      const id = v7({ msecs: Date.now() + (n % 2) * DAY_MS }); // lines in two partitions
      await db
        .update(jobs)
        .set({ id })
        .where(eq(jobs.id, await runningJob({ db }, ann)));
      ids.push(id);
    }
    for (const [n, id] of ids.entries()) await insertChunks(db, [await numberedChunk(id, 1, n + 1)]);
    const changed = ids.filter((_, n) => (n + round) % 3 === 0).map((id) => `'${id}'`);
    let settled: Promise<unknown> | undefined;
    await writer.db.transaction(async (tx) => {
      await tx.execute(sql.raw(`UPDATE jobs SET lease_expires_at = now() WHERE id IN (${changed})`));
      settled = settleMarkers(
        settler.db,
        ids.map((sourceId) => ({ kind: 'attempt-marker', sourceId, epoch: 2 })),
      );
      await until('it waits', async () => {
        const [row] = await db.execute(sql`
          SELECT FROM pg_stat_activity WHERE application_name = 'settler' AND wait_event_type = 'Lock'`);
        return row !== undefined;
      });
    });
    await settled;
    const rows = new Map((await db.select().from(jobs)).map((row) => [row.id, row.logLineCount]));
    expect(ids.map((id) => rows.get(id))).toEqual(ids.map((_, n) => n + 1));
  }
});
