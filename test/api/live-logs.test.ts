import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertChunks } from '../../db/logs/append.ts';
import { builds, jobs } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { encodeChunks, formatLine, type LogChunk, packLines } from '../../domain/logs/chunk.ts';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const FOLLOW =
  'subscription ($id: ID!, $after: String, $stream: LogStream) { jobLogs(jobId: $id, after: $after, stream: $stream) { text firstNumber lastNumber cursor lines { number stream text } } }';

interface Batch {
  text: string;
  firstNumber: number;
  lastNumber: number;
  cursor: string;
  lines: { number: number; stream: string; text: string }[];
}

describe('a log that is followed', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  let client: ReturnType<typeof socketOf>;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
    client = socketOf(api, ann.token);
  });
  afterAll(async () => {
    await client.dispose();
    await api.close();
  });

  async function runningJob(): Promise<string> {
    const id = newId();
    await api.db.insert(jobs).values({
      id,
      workflowId: newId(),
      userId: ann.id,
      kind: 'CONTAINER',
      trigger: 'MANUAL',
      status: 'RUNNING',
      generation: 1,
      attempt: 1,
      scheduledAt: new Date(),
      startedAt: new Date(),
      leaseToken: newId(),
    });
    return id;
  }

  async function endJob(id: string, logLineCount: number, { told = true } = {}): Promise<void> {
    await api.db
      .update(jobs)
      .set({ status: 'COMPLETED', completedAt: new Date(), leaseToken: null, logLineCount })
      .where(eq(jobs.id, id));
    if (told) await api.cache.publish(userChannel(ann.id), encodeChanged({ jobs: [id] }));
  }

  async function chunk(sourceId: string, firstNumber: number, lastNumber: number): Promise<LogChunk> {
    const lines = Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) =>
      formatLine(
        (firstNumber + n) % 2 ? 'STDOUT' : 'STDERR',
        '2026-01-01T00:00:00.000000001Z',
        `line ${firstNumber + n} é`,
      ),
    );
    return { sourceId, attempt: 1, firstNumber, lastNumber, lines: await packLines(Buffer.from(lines.join(''))) };
  }

  const store = async (...chunks: LogChunk[]) => insertChunks(api.db, chunks);
  const send = (...chunks: LogChunk[]) =>
    api.bus.publish(
      'job_logs',
      chunks.map((sent) => ({ key: sent.sourceId, value: encodeChunks([sent]) })),
    );

  function follow(id: string, { after, stream }: { after?: string; stream?: string } = {}) {
    const values = client.iterate<{ jobLogs: Batch }>({ query: FOLLOW, variables: { id, after, stream } });
    const taking = taker(values);
    return {
      ...taking,
      take: async () => {
        const { data, errors } = await taking.take();
        if (!data) throw new Error(JSON.stringify(errors));
        return data.jobLogs;
      },
      rest: async () => (await taking.rest()).flatMap(({ data }) => (data ? [data.jobLogs] : [])),
    };
  }

  const expectWhole = (batches: Batch[], last: number) => {
    const numbers = batches.flatMap(({ lines }) => lines.map(({ number }) => number));
    expect(numbers).toEqual(Array.from({ length: last }, (_, n) => n + 1));
    expect(batches.map(({ text }) => text).join('')).toBe(numbers.map((number) => `line ${number} é\n`).join(''));
    for (const { lines, firstNumber, lastNumber } of batches)
      expect([lines[0]?.number, lines.at(-1)?.number]).toEqual([firstNumber, lastNumber]);
  };

  test('comes from the store, then live, and completes with the last line of a job that has ended', async () => {
    const id = await runningJob();
    await store(await chunk(id, 1, 50), await chunk(id, 51, 60));
    const stream = follow(id);
    const batches = [await stream.take()];
    const live = [await chunk(id, 61, 61), await chunk(id, 62, 2_000)];
    await send(...live);
    await store(...live);
    await endJob(id, 2_000);
    batches.push(...(await stream.rest()));
    expectWhole(batches, 2_000);
  });

  test('that has ended is delivered whole and completes', async () => {
    const id = await runningJob();
    for (let first = 1; first <= 3_000; first += 100) await store(await chunk(id, first, first + 99));
    await endJob(id, 3_000);
    expectWhole(await follow(id).rest(), 3_000);
    const silent = await runningJob();
    await endJob(silent, 0);
    expect(await follow(silent).rest()).toEqual([]);
  });

  test('goes on behind a cursor, on any process that has one', async () => {
    const id = await runningJob();
    await store(await chunk(id, 1, 100), await chunk(id, 101, 200));
    const stream = follow(id);
    const first = await stream.take();
    await stream.stop();
    await endJob(id, 200);
    const rest = await follow(id, { after: first.cursor }).rest();
    expectWhole([first, ...rest], 200);
    const page = await query(
      api,
      'query ($id: ID!, $after: String) { job(id: $id) { logs(first: 1000, after: $after) { nodes { number } } } }',
      {
        token: ann.token,
        variables: { id, after: first.cursor },
      },
    );
    expect(page.data.job.logs.nodes).toHaveLength(200 - first.lastNumber);
  });

  test('P4: a log loses nothing and repeats nothing where live chunks are lost, late, doubled or overlap', async () => {
    const id = await runningJob();
    const stream = follow(id);
    const collected = stream.rest();
    const chunks = [
      await chunk(id, 1, 10),
      await chunk(id, 11, 20),
      await chunk(id, 21, 30),
      await chunk(id, 25, 40),
      await chunk(id, 41, 50),
    ];
    await store(...chunks.slice(0, 1));
    await send(...chunks.slice(2, 3)); // 11 to 20 is not sent, and stored late
    await send(...chunks.slice(0, 1));
    await send(...chunks.slice(3, 4));
    await store(...chunks.slice(3, 4), ...chunks.slice(2, 3));
    await store(...chunks.slice(1, 2));
    await send(...chunks.slice(4));
    await send(...chunks.slice(4));
    await store(...chunks.slice(4));
    await endJob(id, 50, { told: false }); // and that is not told
    expectWhole(await collected, 50);
  });

  test('is whole for a subscriber that reads slowly while others are fast', async () => {
    const id = await runningJob();
    const slow = follow(id);
    const fast = Array.from({ length: 5 }, () => follow(id).rest());
    const first = slow.take();
    for (let number = 1; number <= 400; number += 1) {
      const next = await chunk(id, number * 5 - 4, number * 5);
      await send(next);
      await store(next);
    }
    await endJob(id, 2_000);
    for (const batches of await Promise.all(fast)) expectWhole(batches, 2_000);
    expectWhole([await first, ...(await slow.rest())], 2_000);
  });

  test('can be of one stream alone', async () => {
    const id = await runningJob();
    await store(await chunk(id, 1, 9));
    await endJob(id, 9);
    const batches = await follow(id, { stream: 'STDERR' }).rest();
    expect(batches.flatMap(({ lines }) => lines.map(({ number }) => number))).toEqual([2, 4, 6, 8]);
    expect(batches.map(({ text }) => text).join('')).toBe('line 2 é\nline 4 é\nline 6 é\nline 8 é\n');
    expect(batches.map(({ firstNumber, lastNumber }) => [firstNumber, lastNumber])).toEqual([[2, 8]]);
  });

  test('of a build is the same', async () => {
    const input = {
      name: 'a',
      payload: { container: { image: 'alpine' } },
      interval: 1,
      maxConsecutiveJobFailuresAllowed: 1,
    };
    const create =
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { build { id } } } }';
    const { data } = await query(api, create, { token: ann.token, variables: { input } });
    const { id } = data.createWorkflow.workflow.build;
    const values = client.iterate<{ buildLogs: Batch }>({
      query: `subscription { buildLogs(buildId: "${id}") { text } }`,
    });
    const stream = taker(values);
    const first = stream.take();
    const printed = await chunk(id, 1, 1);
    await store(printed);
    await send(printed);
    expect((await first).data?.buildLogs.text).toBe('line 1 é\n');
    await api.db
      .update(builds)
      .set({ status: 'FAILED', error: 'no', completedAt: new Date(), logLineCount: 1 })
      .where(eq(builds.id, id));
    await api.cache.publish(userChannel(ann.id), encodeChanged({ builds: [id] }));
    expect(await stream.rest()).toEqual([]);
    const asBob = socketOf(api, bob.token);
    const refused = await taker(
      asBob.iterate({ query: `subscription { buildLogs(buildId: "${id}") { text } }` }),
    ).rest();
    expect(refused[0]?.errors?.[0]).toMatchObject({ extensions: { code: 'NOT_FOUND' } });
    await asBob.dispose();
  });

  test('P6: a log is NOT_FOUND to Bob as if there were none, and a cursor of another log is a BAD_REQUEST', async () => {
    const id = await runningJob();
    const asBob = socketOf(api, bob.token);
    for (const asked of [id, newId(), 'malformed']) {
      const [answer] = await taker(asBob.iterate({ query: FOLLOW, variables: { id: asked } })).rest();
      expect(answer?.errors?.[0]).toMatchObject({
        message: 'You have no job with this id.',
        extensions: { code: 'NOT_FOUND' },
      });
    }
    await asBob.dispose();
    const [answer] = await taker(
      client.iterate({ query: FOLLOW, variables: { id, after: 'AAAAAAAAAAAAAAAAAAAAAAAAAAA' } }),
    ).rest();
    expect(answer?.errors?.[0]).toMatchObject({ extensions: { code: 'BAD_REQUEST' } });
  });
});
