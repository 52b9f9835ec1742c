import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertChunks } from '../../db/logs/append.ts';
import { builds } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk } from '../support/lines.ts';
import { createBuild, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

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

  test('comes from the store, then live, and completes with the last line after the job has ended', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 50), await numberedChunk(id, 51, 60));
    const stream = follow(id);
    const batches = [await stream.take()];
    const live = [await numberedChunk(id, 61, 61), await numberedChunk(id, 62, 2_000)];
    await send(...live);
    await store(...live);
    await endJob(api, ann, id, 2_000);
    batches.push(...(await stream.rest()));
    expectWhole(batches, 2_000);
  });

  test('of an ended job is delivered in full and completes', async () => {
    const id = await runningJob(api, ann);
    for (let first = 1; first <= 3_000; first += 100) await store(await numberedChunk(id, first, first + 99));
    await endJob(api, ann, id, 3_000);
    expectWhole(await follow(id).rest(), 3_000);
    const silent = await runningJob(api, ann);
    await endJob(api, ann, silent, 0);
    expect(await follow(silent).rest()).toEqual([]);
  });

  test('continues behind a cursor, on any process', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 100), await numberedChunk(id, 101, 200));
    const stream = follow(id);
    const first = await stream.take();
    await stream.stop();
    await endJob(api, ann, id, 200);
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

  test('P4: loses and repeats no line if live chunks are lost, late, doubled or overlapping', async () => {
    const id = await runningJob(api, ann);
    const stream = follow(id);
    const collected = stream.rest();
    const chunks = [
      await numberedChunk(id, 1, 10),
      await numberedChunk(id, 11, 20),
      await numberedChunk(id, 21, 30),
      await numberedChunk(id, 25, 40),
      await numberedChunk(id, 41, 50),
    ];
    await store(...chunks.slice(0, 1));
    await send(...chunks.slice(2, 3)); // lines 11 to 20 are not published, and stored late
    await send(...chunks.slice(0, 1));
    await send(...chunks.slice(3, 4));
    await store(...chunks.slice(3, 4), ...chunks.slice(2, 3));
    await store(...chunks.slice(1, 2));
    await send(...chunks.slice(4));
    await send(...chunks.slice(4));
    await store(...chunks.slice(4));
    await endJob(api, ann, id, 50, { published: false }); // without a hint
    expectWhole(await collected, 50);
  });

  test('is complete for a slow subscriber while others are fast', async () => {
    const id = await runningJob(api, ann);
    const slow = follow(id);
    const fast = Array.from({ length: 5 }, () => follow(id).rest());
    const first = slow.take();
    for (let number = 1; number <= 400; number += 1) {
      const next = await numberedChunk(id, number * 5 - 4, number * 5);
      await send(next);
      await store(next);
    }
    await endJob(api, ann, id, 2_000);
    for (const batches of await Promise.all(fast)) expectWhole(batches, 2_000);
    expectWhole([await first, ...(await slow.rest())], 2_000);
  });

  test('can be of one stream only', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 9));
    await endJob(api, ann, id, 9);
    const batches = await follow(id, { stream: 'STDERR' }).rest();
    expect(batches.flatMap(({ lines }) => lines.map(({ number }) => number))).toEqual([2, 4, 6, 8]);
    expect(batches.map(({ text }) => text).join('')).toBe('line 2 é\nline 4 é\nline 6 é\nline 8 é\n');
    expect(batches.map(({ firstNumber, lastNumber }) => [firstNumber, lastNumber])).toEqual([[2, 8]]);
  });

  test('of a build works the same way', async () => {
    const id = await createBuild(api, ann);
    const values = client.iterate<{ buildLogs: Batch }>({
      query: `subscription { buildLogs(buildId: "${id}") { text } }`,
    });
    const stream = taker(values);
    const first = stream.take();
    const printed = await numberedChunk(id, 1, 1);
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

  test('P6: is NOT_FOUND to Bob as if it did not exist, and a cursor of another log is a BAD_REQUEST', async () => {
    const id = await runningJob(api, ann);
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
