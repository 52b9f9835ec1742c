import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { returnJobs } from '../../db/jobs/leases.ts';
import { jobs } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts, startHeartbeatWorkers } from '../support/workers.ts';

/** A single user gets three of these places. */
const CHECKS_MAX = 4;

const answers: ServerResponse[] = [];
const endpoint = createServer((_, response) => answers.push(response)).listen(0, '127.0.0.1');
let database: TestDatabase;
let ann: string;
let parts: ReturnType<typeof memoryParts>;
let workers: Worker;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  parts = memoryParts(database.db);
  workers = await startHeartbeatWorkers({ ...parts, checksMax: CHECKS_MAX });
});
afterAll(async () => {
  endpoint.closeAllConnections();
  endpoint.close();
  await workers.close();
  await database.close();
});

async function create(): Promise<string> {
  const { workflow } = await createWorkflow(database.db, {
    userId: ann,
    name: 'slow',
    payload: {
      kind: 'HEARTBEAT',
      endpoint: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`,
      timeout_seconds: 300,
    },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 3,
  });
  await parts.cache.publish(SCHEDULE_CHANNEL, '');
  return workflow.id;
}

const asked = (count: number) => until(`${count} checks ask`, async () => answers[count - 1]);

test('a worker that gets the next attempt of a job stops the previous attempt, and keeps nothing of it', async () => {
  const id = await create();
  const first = await asked(1);
  const gone = once(first, 'close');
  const read = async () => (await database.db.select().from(jobs).where(eq(jobs.workflowId, id)))[0];
  const running = await read();
  // The lease is lost. The worker notices at its next renewal, seconds after it got the next
  // attempt.
  await returnJobs(database.db, [{ id: running?.id ?? '', leaseToken: running?.leaseToken ?? '' }]);
  await parts.cache.publish(SCHEDULE_CHANNEL, '');
  const second = await asked(2);
  await gone;
  expect(await read()).toMatchObject({ status: 'RUNNING', attempt: 2 });
  second.end('here');
  await until('it ends', async () => (await read())?.status === 'COMPLETED');
  expect(await read()).toMatchObject({ attempt: 2, uncountedAttempts: 1 });

  await Promise.all(Array.from({ length: CHECKS_MAX - 1 }, create));
  await asked(2 + CHECKS_MAX - 1); // all at once: no slot is still occupied
  for (const answer of answers) answer.end('here');
});
