import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { encodeEvent } from '../../domain/events.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { startExecution } from '../../workers/execution/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { heartbeat, schedule } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { memoryParts } from '../support/workers.ts';
import { countOf, untilCount } from './support.ts';

const CHECKS_MAX = 8;

let database: TestDatabase;
let endpoint: Server;
const hanging = new Set<() => void>();
beforeAll(async () => {
  database = await testDatabase();
  endpoint = createServer((request, response) => {
    const answer = () => void response.end('here');
    if (request.url === '/hangs') hanging.add(answer);
    else answer();
  }).listen(0, '127.0.0.1');
});
afterAll(async () => {
  endpoint.closeAllConnections();
  endpoint.close();
  await database.close();
});

/**
 * Starts scheduling and an execution worker with few places for checks. Returns helpers that create
 * workflows.
 */
async function open(checksPerUserMax?: number) {
  const parts = memoryParts(database.db);
  const workers: Worker[] = [
    await startExecution({ ...parts, checksMax: CHECKS_MAX, checksPerUserMax }),
    await startScheduling(parts),
  ];
  return {
    async create(userId: string, path: string, count: number) {
      const { port } = endpoint.address() as AddressInfo;
      for (let n = 0; n < count; n += 1) {
        await createWorkflow(database.db, {
          userId,
          name: 'test',
          payload: { kind: 'HEARTBEAT', endpoint: `http://127.0.0.1:${port}${path}`, timeout_seconds: 60 },
          schedule: { everyMinutes: 60 },
          maxConsecutiveJobFailuresAllowed: 3,
        });
      }
      await parts.cache.publish(SCHEDULE_CHANNEL, '');
    },
    async close() {
      for (const worker of workers.reverse()) await worker.close();
      await parts.bus.close();
      await parts.cache.close();
    },
  };
}

const users = async (...names: string[]) => Promise.all(names.map((name) => testUser(database.db, name)));
const counts = (userId: string, status: string, count: number) =>
  untilCount(database.db, 'jobs', userId, status, count);
function answerAll(): void {
  for (const answer of hanging) answer();
  hanging.clear();
}

test('P11: one user’s slow checks leave places to other users, and run one after the other', async () => {
  const [greedy = '', second = '', third = ''] = await users('greedy', 'second', 'third');
  const { create, close } = await open();
  await create(greedy, '/hangs', 20);
  await counts(greedy, 'RUNNING', 6); // of 8 places
  await create(second, '/quick', 5);
  await counts(second, 'COMPLETED', 5);
  await create(second, '/hangs', 5);
  await counts(second, 'RUNNING', 1);
  await create(third, '/quick', 2);
  await counts(third, 'COMPLETED', 2);
  expect(await countOf(database.db, 'jobs', greedy, 'RUNNING')).toBe(6);

  const answering = setInterval(answerAll, 20);
  await counts(greedy, 'COMPLETED', 20);
  await counts(second, 'COMPLETED', 10);
  clearInterval(answering);
  await close();
});

test('RUNNING_HEARTBEATS_PER_USER limits the checks of one user that a worker runs at once', async () => {
  const [greedy = ''] = await users('greedy');
  const { create, close } = await open(2);
  await create(greedy, '/hangs', 6);
  await counts(greedy, 'RUNNING', 2);
  const [modest = ''] = await users('modest');
  await create(modest, '/quick', 1);
  await counts(modest, 'COMPLETED', 1);
  expect(await countOf(database.db, 'jobs', greedy, 'RUNNING')).toBe(2);
  const answering = setInterval(answerAll, 20);
  await counts(greedy, 'COMPLETED', 6);
  clearInterval(answering);
  await close();
});

test('jobs that were set aside go to another worker when this one stops', async () => {
  const [greedy = ''] = await users('greedy');
  const parts = memoryParts(database.db);
  const first = await startExecution({ ...parts, owner: 'first', checksMax: 2 });
  const scheduling = await startScheduling(parts);
  const { port } = endpoint.address() as AddressInfo;
  for (let n = 0; n < 3; n += 1) {
    await createWorkflow(database.db, {
      userId: greedy,
      name: 'test',
      payload: { kind: 'HEARTBEAT', endpoint: `http://127.0.0.1:${port}/hangs`, timeout_seconds: 60 },
      schedule: { everyMinutes: 60 },
      maxConsecutiveJobFailuresAllowed: 3,
    });
  }
  await parts.cache.publish(SCHEDULE_CHANNEL, '');
  await counts(greedy, 'RUNNING', 1);
  await counts(greedy, 'QUEUED', 2);
  const second = await startExecution({ ...parts, owner: 'second', checksMax: 8 });
  const closing = first.close();
  await counts(greedy, 'RUNNING', 3);
  const answering = setInterval(answerAll, 20);
  await closing;
  await counts(greedy, 'COMPLETED', 3);
  clearInterval(answering);
  for (const worker of [scheduling, second]) await worker.close();
  await parts.bus.close();
  await parts.cache.close();
});

test('an event that comes twice, or names no users as in older versions, never occupies a slot permanently', async () => {
  const [ann = ''] = await users('ann');
  const parts = memoryParts(database.db);
  const worker = await startExecution({ ...parts, checksMax: 1 });
  for (let n = 1; n <= 3; n += 1) {
    await heartbeat(database.db, ann);
    const ids = await schedule(database.db);
    const twice = [...ids, ...ids];
    const named = encodeEvent({ type: 'JOBS_QUEUED', kind: 'HEARTBEAT', ids: twice, users: twice.map(() => ann) });
    const unnamed = encodeEvent({ type: 'JOBS_QUEUED', kind: 'HEARTBEAT', ids: twice });
    await parts.bus.publish('workflows', [{ value: n % 2 ? named : unnamed }, { value: named }]);
    await counts(ann, 'COMPLETED', n);
  }
  await worker.close();
  await parts.bus.close();
  await parts.cache.close();
});
