import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { until } from '../support/time.ts';

afterEach(cleanUp);

const SECRET = `Bearer ${randomBytes(16).toString('hex')}`;
const made = z.object({ createWorkflow: z.object({ workflow: z.object({ id: z.string(), payload: z.string() }) }) });
const signedUp = z.object({ signUp: z.object({ token: z.string() }) });
const jobs = z.object({ workflow: z.object({ jobs: z.object({ nodes: z.array(z.object({ status: z.string() })) }) }) });

test('P8: a secret header passes through the whole system to its endpoint, across a restart, and is nowhere in the log', async () => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end();
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  const settings = { PORT: '0', DATA_DIR: await tempFolder(), LOG_LEVEL: 'trace' };
  const first = startProcess(['up'], settings);
  const url = await first.ready();
  const { token } = signedUp.parse(
    await ask(url, 'mutation { signUp(input: { email: "ann@example.com", password: "a long password" }) { token } }'),
  ).signUp;
  const input = {
    name: 'a',
    interval: 1_000,
    maxConsecutiveJobFailuresAllowed: 1,
    payload: {
      heartbeat: {
        endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
        headers: [{ name: 'Authorization', value: SECRET, secret: true }],
      },
    },
  };
  const create =
    'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id payload } userErrors { message } } }';
  const { workflow } = made.parse(await ask(url, create, { token, variables: { input } })).createWorkflow;
  expect(workflow.payload).toContain('"Authorization":{"secret":true}');
  const completed = (at: string, count: number) =>
    until(`${count} jobs COMPLETED`, async () => {
      const query = 'query ($id: ID!) { workflow(id: $id) { jobs { nodes { status } } } }';
      const { nodes } = jobs.parse(await ask(at, query, { token, variables: { id: workflow.id } })).workflow.jobs;
      return nodes.filter(({ status }) => status === 'COMPLETED').length === count;
    });
  await completed(url, 1);
  await first.kill('SIGTERM');

  // The second process has only the key in the folder, and nothing in memory.
  const second = startProcess(['up'], settings);
  const again = await second.ready();
  const run = 'mutation ($id: ID!) { runWorkflow(input: { id: $id }) { job { id } userErrors { message } } }';
  await ask(again, run, { token, variables: { id: workflow.id } });
  await completed(again, 2);
  expect(seen).toEqual([SECRET, SECRET]);
  await second.kill('SIGTERM');
  expect(first.output() + second.output()).not.toContain(SECRET.slice(7));
});
