import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { returnJobs } from '../../db/jobs/leases.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { startExecution } from '../../workers/execution/worker.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { jobIn } from '../support/jobs.ts';
import { readLines } from '../support/lines.ts';
import { letPass, until } from '../support/time.ts';
import { loopbackPolicy, quiet, testSealer } from '../support/workers.ts';
import { createWorkflow, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const FOLLOW = 'subscription ($id: ID!) { jobLogs(jobId: $id) { lines { number attempt text } } }';
const HEADER = 'open-sesame-4711';

interface Line {
  number: number;
  attempt: number;
  text: string;
}

let api: TestApi;
let ann: Person;
let client: ReturnType<typeof socketOf>;
let workers: Worker[];
/** The requests that wait for an answer. */
const asked: ServerResponse[] = [];
const endpoint = createServer((_, response) => asked.push(response)).listen(0, '127.0.0.1');
/** Whether the bus loses the acknowledgement of lines that it has taken. */
let losesAcknowledgements = false;

beforeAll(async () => {
  api = await testApi();
  ann = await person(api);
  client = socketOf(api, ann.token);
  workers = [await startScheduling(parts()), await startJoblogs(parts())];
});
afterAll(async () => {
  endpoint.closeAllConnections();
  endpoint.close();
  await client.dispose();
  for (const worker of workers) await worker.close();
  await api.close();
});
beforeEach(() => {
  asked.length = 0;
  losesAcknowledgements = false;
});

function parts() {
  const { db, cache } = api;
  const bus: Bus = {
    ...api.bus,
    async publish(topic, messages) {
      await api.bus.publish(topic, messages);
      if (topic === 'job_logs' && losesAcknowledgements) throw new Error('The acknowledgement is lost.');
    },
  };
  return { db, bus, cache, log: quiet, owner: 'test', sealer: testSealer, allow: loopbackPolicy() };
}

/** A running check that has asked the endpoint, which does not answer. */
async function waitingCheck(path = '') {
  const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/${path}`;
  const headers = [{ name: 'x-key', value: HEADER, secret: true }];
  const payload = { heartbeat: { endpoint: url, headers, timeoutSeconds: 60 } };
  const { workflow } = await createWorkflow(api, ann, { payload, interval: 60 });
  await until('it asks the endpoint', async () => asked.length === 1);
  const { id } = await jobIn(api.db, workflow.id, 'RUNNING');
  return { id, workflowId: workflow.id as string };
}

function follow(id: string) {
  const values = client.iterate<{ jobLogs: { lines: Line[] } }>({ query: FOLLOW, variables: { id } });
  const { take, rest } = taker(values);
  return {
    /** The next lines, at least `count`. */
    take: async (count: number) => {
      const lines: Line[] = [];
      while (lines.length < count) lines.push(...((await take()).data?.jobLogs.lines ?? []));
      return lines;
    },
    rest: async () => (await rest()).flatMap(({ data }) => data?.jobLogs.lines ?? []),
  };
}

const numbers = (lines: Line[]) => lines.map(({ number }) => number);
const upTo = (last: number) => Array.from({ length: last }, (_, n) => n + 1);

test('its lines arrive while it waits, masked, and the end adds those that are new', async () => {
  const worker = await startExecution(parts());
  const { id, workflowId } = await waitingCheck(HEADER);
  const stream = follow(id);
  const live = await stream.take(2);
  expect(live.map(({ text }) => text)).toEqual([
    expect.stringMatching(/^GET http:\/\/127\.0\.0\.1:\d+\/\*\*\*$/),
    expect.stringMatching(/^Connected to /),
  ]);
  expect((await jobIn(api.db, workflowId, 'RUNNING')).id).toBe(id);
  asked[0]?.end('here');
  const lines = [...live, ...(await stream.rest())];
  const ended = await jobIn(api.db, workflowId, 'COMPLETED');
  expect(numbers(lines)).toEqual(upTo(ended.logLineCount));
  expect(lines).toMatchObject((await readLines(api.db, id)).map(({ number, text }) => ({ number, text })));
  expect(lines.at(-1)?.text).toMatch(/^200 OK: /);
  await worker.close();
});

test('no line comes twice when the bus took lines and its acknowledgement was lost', async () => {
  const worker = await startExecution(parts());
  losesAcknowledgements = true;
  const { id, workflowId } = await waitingCheck();
  const stream = follow(id);
  const live = await stream.take(2);
  losesAcknowledgements = false;
  asked[0]?.end('here');
  const lines = [...live, ...(await stream.rest())];
  expect(numbers(lines)).toEqual(upTo((await jobIn(api.db, workflowId, 'COMPLETED')).logLineCount));
  expect((await readLines(api.db, id)).map(({ text }) => text)).toEqual(lines.map(({ text }) => text));
  await worker.close();
});

test('the attempt after one that was returned goes on behind the lines that it left', async () => {
  const first = await startExecution(parts());
  const { id, workflowId } = await waitingCheck();
  const stream = follow(id);
  const live = await stream.take(2);
  expect(numbers(live)).toEqual([1, 2]);
  await first.close(AbortSignal.abort()); // returns the check
  const second = await startExecution(parts());
  await until('it asks again', async () => asked.length === 2);
  live.push(...(await stream.take(2)));
  expect(live.map(({ number, attempt }) => [number, attempt])).toEqual([1, 2, 3, 4].map((n) => [n, n < 3 ? 1 : 2]));
  asked[1]?.end('here');
  const lines = [...live, ...(await stream.rest())];
  const ended = await jobIn(api.db, workflowId, 'COMPLETED');
  expect(ended).toMatchObject({ attempt: 2, uncountedAttempts: 1 });
  expect(numbers(lines)).toEqual(upTo(ended.logLineCount));
  expect(numbers(lines)).toHaveLength(5);
  expect((await readLines(api.db, id)).map(({ text }) => text)).toEqual(lines.map(({ text }) => text));
  await second.close();
});

test('an attempt after a lost one repeats no number, and the lost one adds no line', async () => {
  const worker = await startExecution(parts());
  const { id, workflowId } = await waitingCheck();
  const stream = follow(id);
  const live = await stream.take(2);
  const { leaseToken } = await jobIn(api.db, workflowId, 'RUNNING');
  // As when scheduling finds the lease expired. The worker notices when it gets the next attempt.
  await returnJobs(api.db, [{ id, leaseToken: leaseToken ?? '' }], { counted: true });
  await letPass(api.db, workflowId, 1_800); // the next slot stays in the future
  await api.cache.publish(SCHEDULE_CHANNEL, '');
  await until('it asks again', async () => asked.length === 2);
  asked[0]?.end('late');
  asked[1]?.end('here');
  const lines = [...live, ...(await stream.rest())];
  const ended = await jobIn(api.db, workflowId, 'COMPLETED');
  expect(lines.map(({ number, attempt }) => [number, attempt])).toEqual([1, 2, 3, 4, 5].map((n) => [n, n < 3 ? 1 : 2]));
  expect(ended).toMatchObject({ attempt: 2, logLineCount: 5 });
  expect((await readLines(api.db, id)).map(({ text }) => text)).toEqual(lines.map(({ text }) => text));
  await worker.close();
});

test('a canceled check keeps the lines that have arrived', async () => {
  const worker = await startExecution(parts());
  const { id, workflowId } = await waitingCheck();
  const stream = follow(id);
  const live = await stream.take(2);
  await query(api, 'mutation ($id: ID!) { cancelJob(input: { id: $id }) { job { id } } }', {
    token: ann.token,
    variables: { id },
  });
  const lines = [...live, ...(await stream.rest())];
  expect(numbers(lines)).toEqual(upTo((await jobIn(api.db, workflowId, 'CANCELED')).logLineCount));
  await worker.close();
});
