import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { startExecution } from '../../workers/execution/worker.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { logOf } from '../pings/support.ts';
import { jobIn } from '../support/jobs.ts';
import { letPass, until } from '../support/time.ts';
import { loopbackPolicy, quiet, testSealer } from '../support/workers.ts';
import { createWorkflow, type Person, query, type TestApi, withAnnAndBob } from './support.ts';

describe('a job that its run policy retries', () => {
  let api: TestApi;
  let ann: Person;
  withAnnAndBob((made) => {
    ({ api, ann } = made);
  });
  let workers: Worker[];
  let endpoint: Server;
  /** How each next request is answered: with a status, or after so many milliseconds with 200. */
  let answers: { status?: number; afterMs?: number }[];
  beforeAll(async () => {
    endpoint = createServer((_, response) => {
      const { status = 200, afterMs = 0 } = answers.shift() ?? {};
      setTimeout(() => response.writeHead(status).end(), afterMs);
    }).listen(0, '127.0.0.1');
    const { db, bus, cache } = api;
    const parts = { db, bus, cache, log: quiet, owner: 'test', sealer: testSealer, allow: loopbackPolicy() };
    workers = [await startJoblogs(parts), await startExecution(parts), await startScheduling(parts)];
  });
  afterAll(async () => {
    for (const worker of workers) await worker.close();
    endpoint.closeAllConnections();
    endpoint.close();
  });

  async function create(retry: object) {
    const { workflow, userErrors } = await createWorkflow(api, ann, {
      payload: {
        heartbeat: { endpoint: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`, timeoutSeconds: 1 },
      },
      runPolicy: { retry },
    });
    expect(userErrors).toEqual([]);
    return workflow.id;
  }
  async function read(id: string) {
    const document = `{ job(id: "${id}") { status attempt retryCount retryAt failureReason failureMessage startedAt } }`;
    return (await query(api, document, { token: ann.token })).data.job;
  }

  test('shows until its retry why it failed and when it is tried again, and afterwards how often it was', async () => {
    answers = [{ status: 503 }];
    const id = await create({ maxRetries: 2, delaySeconds: 3_600 });
    const failed = await until('the retry', async () => {
      const job = await jobIn(api.db, id, 'PENDING');
      return job.retryAt === null ? undefined : job;
    });
    const waiting = await read(failed.id);
    expect(waiting).toMatchObject({
      status: 'PENDING',
      attempt: 1,
      retryCount: 1,
      failureReason: null,
      startedAt: null,
    });
    expect(waiting.failureMessage).toMatch(/503/);
    const inSeconds = (Date.parse(waiting.retryAt) - Date.now()) / 1_000;
    expect(inSeconds).toBeGreaterThan(3_600 * 0.9 - 60);
    expect(inSeconds).toBeLessThan(3_600 * 1.1);
    await letPass(api.db, id, 3_600 * 1.1);
    await api.cache.publish(SCHEDULE_CHANNEL, '');
    await jobIn(api.db, id, 'COMPLETED');
    expect(await read(failed.id)).toMatchObject({ attempt: 2, retryCount: 1, retryAt: null, failureMessage: null });
    const lines = (await logOf(api, ann, failed.id)).trimEnd().split('\n');
    const second = lines.indexOf(`Attempt 2 begins, because one before it failed: ${waiting.failureMessage}`);
    expect(lines.slice(0, second).join('\n')).toMatch(/^GET .*503/s);
    expect(lines[second + 1]).toBe(lines[0]);
  });

  test('has the whole time-out in each attempt', async () => {
    answers = [{ afterMs: 10_000 }, { afterMs: 600 }];
    const id = await create({ maxRetries: 1, delaySeconds: 0 });
    const job = await jobIn(api.db, id, 'COMPLETED');
    expect(await read(job.id)).toMatchObject({ attempt: 2, retryCount: 1, failureMessage: null });
    expect(await logOf(api, ann, job.id)).toMatch(/^Attempt 2 begins, because one before it failed: .*1 s/m);
  });
});
