import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jobs } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts, startHeartbeatWorkers } from '../support/workers.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('a drain returns a check that does not end, without counting the attempt, and another worker runs it', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  const { db } = database;
  const first = await startHeartbeatWorkers(memoryParts(db));
  const { workflow } = await createWorkflow(db, {
    userId: await testUser(db, 'ann'),
    name: 'slow',
    payload: {
      kind: 'HEARTBEAT',
      endpoint: `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`,
      timeout_seconds: 300,
    },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  });
  const read = async () => (await db.select().from(jobs).where(eq(jobs.workflowId, workflow.id)))[0];
  await until('it runs', async () => (await read())?.status === 'RUNNING');

  const started = Date.now();
  await first.close();
  // The check itself would end after 300 s.
  expect(Date.now() - started).toBeLessThan(60_000);
  expect(await read()).toMatchObject({ status: 'PENDING', attempt: 1, uncountedAttempts: 1, leaseToken: null });

  const second = await startHeartbeatWorkers(memoryParts(db));
  await until('it runs again', async () => (await read())?.status === 'RUNNING');
  expect(await read()).toMatchObject({ attempt: 2, uncountedAttempts: 1 });
  silent.closeAllConnections();
  silent.close();
  await second.close();
});
