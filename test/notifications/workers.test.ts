import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { notifications, workflows } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { decodeChanged, userChannel } from '../../domain/hints.ts';
import type { Worker } from '../../workers/shared/parts.ts';
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

test('workers send a hint for a workflow if only its failure count has changed, up or down', async () => {
  const { db } = database;
  const ann = await testUser(db, 'ann');
  const hinted: string[] = [];
  const listen = (message: string) => void hinted.push(...(decodeChanged(message).workflows ?? []));
  const unsubscribe = await parts.cache.subscribe(userChannel(ann), listen, () => undefined);
  const server = createServer((socket) => socket.end());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  const { workflow } = await createWorkflow(db, {
    userId: ann,
    name: 'now and then',
    payload: { kind: 'HEARTBEAT', endpoint: `tcp://127.0.0.1:${port}` },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 3,
  });
  await parts.cache.publish('schedule', '');
  const failures = async () => {
    const [row] = await db.select().from(workflows).where(eq(workflows.id, workflow.id));
    return row?.consecutiveJobFailuresCount;
  };
  await until('the hint of a failure', async () => hinted.length > 0);
  expect(hinted).toEqual([workflow.id]);
  expect(await failures()).toBe(1);

  await once(server.listen(port, '127.0.0.1'), 'listening');
  await runWorkflow(db, { userId: ann, id: workflow.id });
  await parts.cache.publish('schedule', '');
  await until('the hint of a success', async () => hinted.length > 1);
  expect(hinted).toEqual([workflow.id, workflow.id]);
  expect(await failures()).toBe(0);
  server.close();
  unsubscribe();
});

test('workers send hints for the notifications of a last failure, and roll up the totals of ended jobs', async () => {
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
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  });
  await parts.cache.publish('schedule', '');
  await until('two notifications are hinted at', async () => hinted.size === 2);
  const rows = await db.select().from(notifications).where(eq(notifications.userId, ann)).orderBy(notifications.id);
  expect(rows.map(({ id }) => id).sort()).toEqual([...hinted].sort());
  expect(rows.map(({ kind }) => kind)).toEqual(['JOB_FAILED', 'WORKFLOW_TERMINATED']);
  expect(rows[0]?.detail).toMatch(/127\.0\.0\.1/);

  await until('what has ended is folded', async () => (await db.execute(sql`SELECT FROM totals_pending`)).length === 0);
  const folded = await db.execute(sql`
    SELECT count::integer AS count FROM totals WHERE scope_id = ${workflow.id} AND what = 'FAILED'`);
  expect([...folded]).toEqual([{ count: 1 }]);
  unsubscribe();
});
