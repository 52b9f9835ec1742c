import { afterAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { createDocker } from '../../platform/docker/docker.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { requirePart } from '../support/parts.ts';
import { steadyPort } from '../support/ports.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { printer, tell } from './printer.ts';
import { randomOf } from './random.ts';
import { expectAll, followToTheEnd, nothingYet } from './subscriber.ts';
import { IMAGE, isReady, killAtRandom } from './support.ts';

const KILLS = 10;

const jobs = z.object({
  jobs: z.object({ nodes: z.array(z.object({ id: z.string(), status: z.string(), attempt: z.number() })) }),
});
const page = z.object({
  job: z.object({
    logs: z.object({
      nodes: z.array(z.object({ number: z.number(), text: z.string(), attempt: z.number() })),
      pageInfo: z.object({ endCursor: z.string().nullable(), hasNextPage: z.boolean() }),
    }),
  }),
});

const host = requirePart('docker', 'logs while the whole of it on embedded parts is killed');
describe.skipIf(host === undefined)('everything in one process, with embedded parts, that is killed', () => {
  afterAll(cleanUp);

  test(`P4: at ${KILLS} random instants while a container prints: the log is complete, and a subscriber gets all of it`, async () => {
    const port = await steadyPort();
    const url = `http://127.0.0.1:${port}/graphql`;
    const env = { DATA_DIR: await tempFolder(), PORT: String(port), DOCKER_HOST: host ?? '' };
    const followed = nothingYet();
    const stop = new AbortController();
    let following: Promise<void> | undefined;
    let token = '';
    let jobId = '';

    async function begin(): Promise<void> {
      const signUp = 'mutation { signUp(input: { email: "ann@example.com", password: "correct horse" }) { token } }';
      token = z.object({ signUp: z.object({ token: z.string() }) }).parse(await ask(url, signUp)).signUp.token;
      const create = 'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } } }';
      const input = {
        name: 'faults',
        payload: { container: { image: IMAGE, ...printer(0, { pairs: 20 }) } },
        interval: 60,
        maxConsecutiveJobFailuresAllowed: 3,
      };
      await ask(url, create, { token, variables: { input } });
      jobId = (await untilSlow('it runs', async () => (await job())?.status === 'RUNNING' && job()))?.id ?? '';
      following = followToTheEnd({ url, token, jobId, transport: 'WEBSOCKET' }, followed, stop.signal);
      following.catch((error) => stop.abort(error));
    }

    async function job() {
      return jobs.parse(await ask(url, 'query { jobs { nodes { id status attempt } } }', { token })).jobs.nodes[0];
    }

    await killAtRandom({
      times: KILLS,
      random: randomOf('kills of up'),
      start: () => startProcess(['up'], env),
      works: async (up) => {
        await isReady(up);
        if (following === undefined) await begin();
        const { last } = followed;
        await untilSlow('lines come', async () => {
          stop.signal.throwIfAborted();
          return followed.last > last;
        });
      },
    });
    await tell(host, jobId);
    await following;
    expectAll(followed);
    expect(await untilSlow('it has ended', async () => (await job())?.status !== 'RUNNING' && job())).toMatchObject({
      status: 'COMPLETED',
      attempt: 1,
    });
    expect(await storedTexts()).toEqual(followed.texts);
    const docker = createDocker({ ...(host === undefined ? {} : { host }), log: quiet });
    await untilSlow('its container is removed', async () => {
      return (await docker.inspectContainer(containerName({ id: jobId, attempt: 1 }))) === undefined;
    });

    /** The lines that the pages return, read when the subscription has delivered everything. */
    async function storedTexts(): Promise<string[]> {
      const query = `query ($id: ID!, $after: String) { job(id: $id) { logs(first: 1000, after: $after) {
        nodes { number text attempt } pageInfo { endCursor hasNextPage } } } }`;
      const texts: string[] = [];
      for (let after: string | null = null, more = true; more; ) {
        const { logs }: z.infer<typeof page>['job'] = page.parse(
          await ask(url, query, { token, variables: { id: jobId, after } }),
        ).job;
        for (const { number, text, attempt } of logs.nodes) {
          texts.push(text);
          expect({ number, attempt }).toEqual({ number: texts.length, attempt: 1 });
        }
        after = logs.pageInfo.endCursor;
        more = logs.pageInfo.hasNextPage;
      }
      return texts;
    }
  }, 240_000);
});
