import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { CANCEL_CHANNEL, encodeIds, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobIn } from '../support/jobs.ts';
import { readLines } from '../support/lines.ts';
import { memoryParts, startHeartbeatWorkers } from '../support/workers.ts';

let database: TestDatabase;
let ann: string;
let workers: Worker;
let cache: Cache;
let endpoint: Server;
let status = 200;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  endpoint = createServer((request, response) => {
    if (request.url !== '/hangs') response.writeHead(status).end('here');
  }).listen(0, '127.0.0.1');
  const parts = memoryParts(database.db);
  cache = parts.cache;
  workers = await startHeartbeatWorkers(parts);
});
afterAll(async () => {
  await workers.close();
  endpoint.closeAllConnections();
  endpoint.close();
  await database.close();
});

function url(path: string): string {
  return `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}${path}`;
}

async function create(payload: { endpoint?: string; timeout_seconds?: number }, failuresAllowed = 3): Promise<string> {
  const { workflow } = await createWorkflow(database.db, {
    userId: ann,
    name: 'test',
    payload: { kind: 'HEARTBEAT', ...payload },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: failuresAllowed,
  });
  await cache.publish(SCHEDULE_CHANNEL, '');
  return workflow.id;
}

const job = (workflowId: string, nth: number, inStatus: string) => jobIn(database.db, workflowId, inStatus, nth);

async function lines(sourceId: string): Promise<string[]> {
  return (await readLines(database.db, sourceId)).map(({ number, stream, text }) => `${number} ${stream} ${text}`);
}

test('a new heartbeat runs at once: PENDING, QUEUED, RUNNING, COMPLETED, and its lines are stored when it has ended', async () => {
  const done = await job(await create({}), 0, 'COMPLETED');
  expect(done).toMatchObject({ trigger: 'AUTOMATIC', attempt: 1, logLineCount: 1, leaseToken: null });
  expect([done.createdAt, done.queuedAt, done.startedAt, done.completedAt].map(Number)).toEqual(
    [done.createdAt, done.queuedAt, done.startedAt, done.completedAt].map(Number).sort(),
  );
  expect(await lines(done.id)).toEqual([expect.stringMatching(/^1 STDOUT database up .* bus up .* cache up/)]);
});

test('a good answer COMPLETES a job, a bad one FAILS it with what was seen, and the threshold terminates the workflow', async () => {
  const id = await create({ endpoint: url('/') }, 2);
  await job(id, 0, 'COMPLETED');
  status = 500;
  for (const nth of [1, 2]) {
    await runWorkflow(database.db, { userId: ann, id });
    await cache.publish(SCHEDULE_CHANNEL, '');
    expect(await job(id, nth, 'FAILED')).toMatchObject({
      failureReason: 'CHECK_FAILED',
      failureMessage: expect.stringContaining('500'),
    });
  }
  status = 200;
  const [workflow] = await database.db.select().from(workflows).where(eq(workflows.id, id));
  expect(workflow).toMatchObject({ terminationReason: 'FAILURES', consecutiveJobFailuresCount: 2 });
});

test('a running check is stopped by its cancellation and by its workflow’s termination', async () => {
  const id = await create({ endpoint: url('/hangs'), timeout_seconds: 300 });
  const first = await job(id, 0, 'RUNNING');
  await cancelJob(database.db, { userId: ann, id: first.id });
  await cache.publish(CANCEL_CHANNEL, encodeIds([first.id]));
  await job(id, 0, 'CANCELED');
  await runWorkflow(database.db, { userId: ann, id });
  await cache.publish(SCHEDULE_CHANNEL, '');
  await job(id, 1, 'RUNNING');
  const terminated = await terminateWorkflow(database.db, { userId: ann, id });
  await cache.publish(CANCEL_CHANNEL, encodeIds(terminated?.effects.stopping.jobIds ?? []));
  await job(id, 1, 'CANCELED');
});

test('a check that exceeds its time-out FAILS as TIMEOUT', async () => {
  const id = await create({ endpoint: url('/hangs'), timeout_seconds: 1 });
  expect(await job(id, 0, 'FAILED')).toMatchObject({ failureReason: 'TIMEOUT' });
});

test('a workflow whose hint was lost is found within seconds', async () => {
  const { workflow } = await createWorkflow(database.db, {
    userId: ann,
    name: 'unheard of',
    payload: { kind: 'HEARTBEAT' },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  });
  await job(workflow.id, 0, 'COMPLETED');
});

test('of many at once, each job ends once, with its line', async () => {
  const ids = await Promise.all(Array.from({ length: 100 }, () => create({})));
  for (const id of ids) expect(await lines((await job(id, 0, 'COMPLETED')).id)).toHaveLength(1);
});
