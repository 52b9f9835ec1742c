import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logCursor } from '../../api/logs/cursor.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { builds, jobs, logChunks } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { insertJob } from '../support/jobs.ts';
import { ask } from './download-client.ts';
import { createBuild, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const REMOVED = 'The cursor is of a line that retention has removed: the first line still there is line 11.';
const NONE_LEFT = 'The cursor is of a line that retention has removed: none of this log is left.';

describe.each(['job', 'build'] as const)('the log of a %s of which retention has removed the beginning', (kind) => {
  let api: TestApi;
  let ann: Person;
  let client: ReturnType<typeof socketOf>;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    client = socketOf(api, ann.token);
  });
  afterAll(async () => {
    await client.dispose();
    await api.close();
  });

  /** A source that ended two days ago with 30 lines, or one that runs. */
  async function source({ ended }: { ended: boolean }): Promise<string> {
    const end = { status: 'COMPLETED', completedAt: new Date(Date.now() - 2 * 86_400_000), logLineCount: 30 } as const;
    if (kind === 'job') return insertJob(api.db, ann.id, ended ? end : {});
    const buildId = await createBuild(api, ann);
    const state = ended ? end : ({ status: 'STARTED', leaseToken: newId() } as const);
    await api.db.update(builds).set(state).where(eq(builds.id, buildId));
    return buildId;
  }

  function chunk(sourceId: string, firstNumber: number, lastNumber: number): LogChunk {
    const lines = Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) =>
      formatLine('STDOUT', '2026-01-01T00:00:00.000000001Z', `line ${firstNumber + n}`),
    );
    return { sourceId, attempt: 1, firstNumber, lastNumber, lines: Buffer.from(lines.join('')) };
  }

  async function shortened(): Promise<string> {
    const id = await source({ ended: true });
    await insertChunks(api.db, [chunk(id, 1, 10), chunk(id, 11, 20), chunk(id, 21, 30)]);
    await api.db.delete(logChunks).where(eq(logChunks.firstNumber, 1));
    return id;
  }

  async function logs(id: string, args = '') {
    const document = `{ node(id: "${id}") { ... on ${kind === 'job' ? 'Job' : 'Build'} { firstLogLine
      logs${args} { nodes { number } pageInfo { hasNextPage hasPreviousPage } } } } }`;
    const { data, errors } = await query(api, document, { token: ann.token });
    if (errors) return { errors: errors.map(({ message, extensions }) => `${extensions.code} ${message}`) };
    const { firstLogLine, logs: page } = data.node;
    return { firstLogLine, numbers: page.nodes.map(({ number }: { number: number }) => number), ...page.pageInfo };
  }

  function follow(id: string, after?: number) {
    const field = kind === 'job' ? 'jobLogs(jobId: $id, after: $after)' : 'buildLogs(buildId: $id, after: $after)';
    const document = `subscription ($id: ID!, $after: String) { followed: ${field} { lines { number } } }`;
    const variables = { id, after: after === undefined ? undefined : logCursor(id, after) };
    return taker(client.iterate<{ followed: { lines: { number: number }[] } }>({ query: document, variables }));
  }

  async function followed(id: string, after?: number) {
    const answers = await follow(id, after).rest();
    const errors = answers.flatMap((answer) => answer.errors ?? []);
    if (errors.length > 0) return { errors: errors.map(({ message, extensions }) => `${extensions?.code} ${message}`) };
    return answers.flatMap(({ data }) => data?.followed.lines.map(({ number }) => number) ?? []);
  }

  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
  const refused = (sentence: string) => ({ errors: [expect.stringContaining(`BAD_REQUEST ${sentence}`)] });

  test('begins with the first stored line, and says so', async () => {
    const id = await shortened();
    const whole = { firstLogLine: 11, numbers: range(11, 30), hasNextPage: false, hasPreviousPage: false };
    expect(await logs(id)).toEqual(whole);
    expect(await logs(id, '(last: 100)')).toEqual(whole);
    expect(await followed(id)).toEqual(range(11, 30));
  });

  test('refuses a cursor before removed lines, and names the first stored line', async () => {
    const id = await shortened();
    for (const number of [0, 5, 9]) {
      expect(await logs(id, `(after: "${logCursor(id, number)}")`)).toEqual(refused(REMOVED));
      expect(await logs(id, `(last: 5, before: "${logCursor(id, number)}")`)).toEqual(refused(REMOVED));
      expect(await followed(id, number)).toEqual(refused(REMOVED));
    }
    // A reader that has read up to line 10 misses nothing.
    expect(await logs(id, `(after: "${logCursor(id, 10)}")`)).toMatchObject({ numbers: range(11, 30) });
    expect(await followed(id, 10)).toEqual(range(11, 30));
    expect(await logs(id, `(last: 5, before: "${logCursor(id, 11)}")`)).toMatchObject({ numbers: [] });
    expect(await logs(id, `(after: "${logCursor(id, 12)}", first: 2)`)).toMatchObject({
      numbers: [13, 14],
      hasPreviousPage: true,
    });
  });

  test('that is gone entirely says so for a cursor, and is empty without one', async () => {
    const id = await source({ ended: true });
    const empty = { firstLogLine: null, numbers: [], hasNextPage: false, hasPreviousPage: false };
    expect(await logs(id)).toEqual(empty);
    expect(await logs(id, '(last: 1)')).toEqual(empty);
    expect(await followed(id)).toEqual([]);
    expect(await logs(id, `(after: "${logCursor(id, 29)}")`)).toEqual(refused(NONE_LEFT));
    expect(await logs(id, `(last: 1, before: "${logCursor(id, 30)}")`)).toEqual(refused(NONE_LEFT));
    expect(await followed(id, 29)).toEqual(refused(NONE_LEFT));
    expect(await logs(id, `(after: "${logCursor(id, 30)}")`)).toMatchObject({ numbers: [] });
    expect(await followed(id, 30)).toEqual([]);
    const download = async (search = '') => {
      const url = new URL(`/logs/${id}${search}`, api.url);
      const response = await fetch(url, { headers: { authorization: `Bearer ${ann.token}` } });
      return `${response.status} ${await response.text()}`;
    };
    expect(await download()).toMatch(/^410 .*Retention has removed the 30 lines/);
    expect(await download(`?after=${logCursor(id, 29)}`)).toMatch(/^400 .*none of this log is left/);
    expect(await download(`?after=${logCursor(id, 30)}`)).toBe('200 ');
  });

  test('with lines missing for good never looks complete to a follower', async () => {
    const id = await source({ ended: true });
    await insertChunks(api.db, [chunk(id, 1, 10), chunk(id, 21, 30)]);
    const answers = await follow(id).rest();
    expect(answers.flatMap(({ data }) => data?.followed.lines.map(({ number }) => number) ?? [])).toEqual(range(1, 10));
    const missing = 'Line 11 and those behind it, to line 30, are not stored.';
    expect(answers.at(-1)?.errors).toEqual([
      expect.objectContaining({ message: expect.stringContaining(missing), extensions: { code: 'UNAVAILABLE' } }),
    ]);
    const download = fetch(new URL(`/logs/${id}?follow`, api.url), {
      headers: { authorization: `Bearer ${ann.token}` },
    });
    await expect((await download).text()).rejects.toThrow();
  });

  test('whose rest is removed by retention during delivery ends with an error', async () => {
    const id = await source({ ended: true });
    const text = 'x'.repeat(200_000);
    for (let number = 1; number <= 200; number += 1) {
      const line = Buffer.from(formatLine('STDOUT', '2026-01-01T00:00:00.000000001Z', text));
      await insertChunks(api.db, [{ ...chunk(id, number, number), lines: line }]);
    }
    await api.db
      .update(kind === 'job' ? jobs : builds)
      .set({ logLineCount: 200 })
      .where(eq((kind === 'job' ? jobs : builds).id, id));
    const field = kind === 'job' ? 'jobLogs(jobId: $id)' : 'buildLogs(buildId: $id)';
    const path = `/graphql?query=${encodeURIComponent(`subscription ($id: ID!) { ${field} { text } }`)}&variables=${encodeURIComponent(JSON.stringify({ id }))}`;
    const reply = await ask(api, path, { token: ann.token, headers: { accept: 'text/event-stream' } });
    reply.stream.pause(); // while most of 40 MB is still in the store
    await api.db.delete(logChunks).where(eq(logChunks.sourceId, id));
    reply.stream.resume();
    expect(await reply.whole()).toMatch(/BAD_REQUEST.*\s+event: complete/);
    expect(reply.received()).toContain(NONE_LEFT);
  });

  test('has no line before the cursor that an empty log returns', async () => {
    const id = await source({ ended: false });
    await insertChunks(api.db, [chunk(id, 1, 10)]);
    expect(await logs(id, `(last: 5, before: "${logCursor(id, 0)}")`)).toMatchObject({ numbers: [] });
  });

  test('is empty behind its end, and waits there while it is not complete', async () => {
    const ended = await shortened();
    expect(await logs(ended, `(after: "${logCursor(ended, 1_000)}")`)).toMatchObject({
      numbers: [],
      hasNextPage: false,
    });
    expect(await followed(ended, 1_000)).toEqual([]);
    const running = await source({ ended: false });
    expect(await logs(running, `(after: "${logCursor(running, 5)}")`)).toMatchObject({
      numbers: [],
      hasNextPage: false,
    });
    const stream = follow(running, 5);
    const first = stream.take();
    for (const sent of [chunk(running, 1, 5), chunk(running, 6, 6)]) {
      await api.bus.publish('job_logs', [{ key: running, value: encodeChunks([sent]) }]);
      await insertChunks(api.db, [sent]);
    }
    expect((await first).data?.followed.lines).toEqual([{ number: 6 }]);
    await stream.stop();
  });
});
