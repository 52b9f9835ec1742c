import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { requirePart } from '../support/parts.ts';
import { ask, cleanUp, type Running, startProcess } from '../support/processes.ts';

const untested = 'processes apart over real servers';
const kafka = requirePart('kafka', untested);
const redis = requirePart('redis', untested);

const job = z.object({ status: z.string(), logs: z.object({ nodes: z.array(z.object({ text: z.string() })) }) });
const found = z.object({ workflow: z.object({ latestJob: job.nullable() }) });

describe.skipIf(kafka === undefined || redis === undefined)('separate processes', () => {
  let database: TestDatabase;
  let env: Record<string, string>;

  beforeAll(async () => {
    database = await testDatabase();
    const prefix = `test-${randomBytes(4).toString('hex')}.`;
    env = {
      DATABASE_URL: database.url,
      KAFKA_BROKERS: kafka ?? '',
      REDIS_URL: redis ?? '',
      KAFKA_TOPIC_PREFIX: prefix,
      REDIS_PREFIX: prefix,
      SECRET_KEY: '00'.repeat(32),
      PORT: '0',
      SIGN_UP: 'open', // each test has a user of its own
      DATA_DIR: '/nowhere/to/be/made', // unused
    };
  });
  afterEach(cleanUp);
  afterAll(() => database.close());

  async function signUp(url: string): Promise<string> {
    const email = `ann-${randomBytes(4).toString('hex')}@example.com`;
    const query = `mutation { signUp(input: { email: "${email}", password: "correct horse" }) { token } }`;
    return z.object({ signUp: z.object({ token: z.string() }) }).parse(await ask(url, query)).signUp.token;
  }

  async function createHeartbeat(url: string, token: string): Promise<string> {
    const query = `mutation { createWorkflow(input: { name: "x", payload: { heartbeat: {} }, interval: 60,
      maxConsecutiveJobFailuresAllowed: 1 }) { workflow { id } } }`;
    const made = z.object({ createWorkflow: z.object({ workflow: z.object({ id: z.string() }) }) });
    return made.parse(await ask(url, query, { token })).createWorkflow.workflow.id;
  }

  async function latestJob(url: string, token: string, id: string) {
    const query = 'query ($id: ID!) { workflow(id: $id) { latestJob { status logs { nodes { text } } } } }';
    return found.parse(await ask(url, query, { token, variables: { id } })).workflow.latestJob;
  }

  async function stopAll(processes: Running[]): Promise<void> {
    const exits = await Promise.all(processes.map((process) => process.kill('SIGTERM')));
    expect(exits).toEqual(processes.map(() => ({ code: 0, signal: null })));
  }

  test('run a workflow together, each in two copies, and end with 0 on request', async () => {
    const apis = [startProcess(['api'], env), startProcess(['api'], env)];
    const workers = [
      startProcess(['worker', 'scheduling'], env),
      startProcess(['worker', 'execution', 'joblogs'], env),
      startProcess(['worker', 'scheduling', 'execution', 'joblogs'], env),
    ];
    const [url = '', other = ''] = await Promise.all(apis.map((api) => api.ready()));
    await Promise.all(workers.map((worker) => worker.ready()));

    const token = await signUp(url);
    const id = await createHeartbeat(url, token);
    await expect
      .poll(() => latestJob(other, token, id), { timeout: 20_000 })
      .toMatchObject({ status: 'COMPLETED', logs: { nodes: [{ text: expect.stringContaining('bus up') }] } });
    const ready = workers.map((worker) => worker.log.find(({ event }) => event === 'ready')?.workers);
    expect(ready).toEqual([['scheduling'], ['execution', 'joblogs'], ['scheduling', 'execution', 'joblogs']]);
    await stopAll([...apis, ...workers]);
  }, 60_000);

  test('continue in another copy when one is killed', async () => {
    const api = startProcess(['api'], env);
    const all = ['worker', 'scheduling', 'execution', 'joblogs'];
    const [first, second] = [startProcess(all, env), startProcess(all, env)];
    const url = await api.ready();
    await Promise.all([first.ready(), second.ready()]);
    await first.kill('SIGKILL');

    const token = await signUp(url);
    const id = await createHeartbeat(url, token);
    await expect.poll(() => latestJob(url, token, id), { timeout: 40_000 }).toMatchObject({ status: 'COMPLETED' });
    await stopAll([api, second]);
  }, 90_000);
});
