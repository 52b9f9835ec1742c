import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { notifications } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows.ts';
import { decodeChanged, userChannel } from '../../domain/hints.ts';
import type { Worker } from '../../workers/parts.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts, startHeartbeatWorkers } from '../support/workers.ts';

let database: TestDatabase;
let workers: Worker;
let parts: ReturnType<typeof memoryParts>;
beforeAll(async () => {
  database = await testDatabase();
  parts = memoryParts(database.db);
  workers = await startHeartbeatWorkers(parts);
});
afterAll(async () => {
  await workers.close();
  await database.close();
});

test('workers hint at the notifications of a job that fails for the last time, and fold what has ended', async () => {
  const { db } = database;
  const ann = await testUser(db, 'ann');
  const hinted = new Set<string>();
  const listen = (message: string) => {
    for (const id of decodeChanged(message).notifications ?? []) hinted.add(id);
  };
  const unsubscribe = await parts.cache.subscribe(userChannel(ann), listen, () => undefined);
  const { workflow } = await createWorkflow(db, {
    userId: ann,
    name: 'nobody there',
    payload: { kind: 'HEARTBEAT', endpoint: 'tcp://127.0.0.1:1' },
    intervalMinutes: 60,
    maxConsecutiveJobFailuresAllowed: 1,
  });
  await parts.cache.publish('schedule', '');
  await until('two notifications are hinted at', async () => hinted.size === 2);
  const rows = await db.select().from(notifications).orderBy(notifications.id);
  expect(rows.map(({ id }) => id).sort()).toEqual([...hinted].sort());
  expect(rows.map(({ kind }) => kind)).toEqual(['JOB_FAILED', 'WORKFLOW_TERMINATED']);
  expect(rows[0]?.detail).toMatch(/127\.0\.0\.1/);

  await until('what has ended is folded', async () => (await db.execute(sql`SELECT FROM totals_pending`)).length === 0);
  const folded = await db.execute(sql`
    SELECT count::integer AS count FROM totals WHERE scope_id = ${workflow.id} AND what = 'FAILED'`);
  expect([...folded]).toEqual([{ count: 1 }]);
  unsubscribe();
});
