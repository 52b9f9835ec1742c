import { eq } from 'drizzle-orm';
import pino from 'pino';
import { describe, expect, test } from 'vitest';
import { logCursor } from '../../api/logs/cursor.ts';
import { startApi } from '../../api/server.ts';
import { connect } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { builds, jobs } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, numberedText } from '../support/lines.ts';
import { testSealer } from '../support/workers.ts';
import { ask } from './download-client.ts';
import { createBuild, type Person, query, socketOf, type TestApi, taker, withAnnAndBob } from './support.ts';

const NDJSON = { accept: 'application/x-ndjson' };

describe('the download of a log', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  withAnnAndBob((made) => {
    ({ api, ann, bob } = made);
  });

  const store = (...chunks: LogChunk[]) => insertChunks(api.db, chunks);
  const linesOf = (ndjson: string) =>
    ndjson
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const get = (path: string, headers: Record<string, string> = {}, person = ann) =>
    ask(api, path, { token: person.token, headers });

  /** Unusual lines in two attempts, as overlapping chunks. */
  async function oddJob(): Promise<{ id: string; text: string; shown: string }> {
    const id = await runningJob(api, ann);
    const time = '2026-01-01T00:00:00.123456789Z';
    const lines = [
      Buffer.from(formatLine('STDOUT', time, '')),
      Buffer.from(formatLine('STDOUT', time, '10 %\r20 %\r')),
      Buffer.from(formatLine('STDERR', time, 'a "quoted" \\ <b>line</b>\u2028\0\u001b[31m')),
      Buffer.concat([Buffer.from(`o${time} no UTF-8: `), Buffer.from([0xff, 0xe2, 0x82, 0x0a])]),
      Buffer.from(formatLine('STDOUT', time, 'a long ', { continues: true })),
      Buffer.from(formatLine('STDERR', time, 'between')),
      Buffer.from(formatLine('STDOUT', time, 'line 😀')),
    ];
    const chunk = (attempt: number, first: number, last: number): LogChunk => ({
      sourceId: id,
      attempt,
      firstNumber: first,
      lastNumber: last,
      lines: Buffer.concat(lines.slice(first - 1, last)),
    });
    await store(chunk(1, 1, 3), chunk(1, 2, 5));
    await api.db.update(jobs).set({ attempt: 2 }).where(eq(jobs.id, id));
    await store(chunk(2, 6, 7));
    await endJob(api, ann, id, lines.length);
    const text =
      '\n10 %\r20 %\r\na "quoted" \\ <b>line</b>\u2028\0\u001b[31m\nno UTF-8: \ufffd\ufffd\na long between\nline 😀\n';
    const shown =
      '\n10 %\\x0d20 %\r\na "quoted" \\ <b>line</b>\u2028\\x00\nno UTF-8: \ufffd\ufffd\na long between\nline 😀\n';
    return { id, text, shown };
  }

  const allLines = 'nodes { number timestamp stream source text continues attempt } edges { cursor }';

  test('is the text of its lines, each with a newline unless it continues', async () => {
    const { id, text } = await oddJob();
    const reply = await get(`/logs/${id}?raw`);
    expect(reply.status).toBe(200);
    expect(await reply.whole()).toBe(text);
    // Valid UTF-8, whatever the job printed.
    expect(reply.bytes().equals(Buffer.from(text))).toBe(true);
    const client = socketOf(api, ann.token);
    const batches = taker(
      client.iterate<{ jobLogs: { text: string } }>({ query: `subscription { jobLogs(jobId: "${id}") { text } }` }),
    );
    expect((await batches.rest()).map(({ data }) => data?.jobLogs.text).join('')).toBe(text);
    await client.dispose();
  });

  test('makes a terminal only display it, unless raw is requested', async () => {
    const id = await runningJob(api, ann);
    const printed = [
      '\u001b[31mred\u001b[0m \u001b]0;title\u0007plain\ttab',
      'overwritten\rall is well',
      'a link \u001b]8;;https://evil.example\u001b\\here\u001b]8;;\u001b\\',
      'C1 \u009b2J \u0090q\u009c and \u007f\b\b',
      'no end: \u001b',
      'dos line\r',
      'not a control: é \u00a0 \u2028 😀',
    ];
    const lines = printed.map((line) => formatLine('STDOUT', '2026-01-01T00:00:00.123456789Z', line)).join('');
    const chunk = { sourceId: id, attempt: 1, firstNumber: 1, lastNumber: printed.length, lines: Buffer.from(lines) };
    await store(chunk);
    await endJob(api, ann, id, printed.length);
    const whole = async (query: string) => (await get(`/logs/${id}${query}`)).whole();
    const controls = /[^\P{Cc}\n\t\r]|\r(?!\n)/u;
    for (const query of ['', '?follow', '?raw=false', '?stream=STDOUT']) {
      const text = await whole(query);
      expect(text).not.toMatch(controls);
      expect(text.split('\n')).toEqual([
        'red plain\ttab',
        'overwritten\\x0dall is well',
        'a link here',
        expect.stringMatching(/^C1 .*\\x7f\\x08\\x08$/),
        'no end: \\x1b',
        'dos line\r',
        printed[6],
        '',
      ]);
    }
    for (const query of ['?raw', '?raw=true&follow']) expect(await whole(query)).toBe(`${printed.join('\n')}\n`);
    const ndjson = await (await get(`/logs/${id}`, NDJSON)).whole();
    expect(ndjson).not.toMatch(controls);
    expect(linesOf(ndjson).map(({ text }) => text)).toEqual(printed);
    const refused = await get(`/logs/${id}?raw=1`);
    expect([refused.status, JSON.parse(await refused.whole()).message]).toEqual([
      400,
      '`raw` must be "true", "false" or stand alone, not "1".',
    ]);
  });

  test('is NDJSON if the client accepts that: the fields of LogLine with the cursor of the line', async () => {
    const { id } = await oddJob();
    const reply = await get(`/logs/${id}`, NDJSON);
    expect(reply.headers['content-type']).toBe('application/x-ndjson');
    const { data } = await query(api, `{ job(id: "${id}") { logs { ${allLines} } } }`, { token: ann.token });
    const expected = data.job.logs.nodes.map((node: object, n: number) => ({ ...node, ...data.job.logs.edges[n] }));
    expect(expected).toHaveLength(7);
    expect(linesOf(await reply.whole())).toEqual(expected);
  });

  test('has the same cursors as GraphQL on a very large number of lines', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 2_000), await numberedChunk(id, 2_001, 4_000));
    await store(await numberedChunk(id, 65_530, 65_540), await numberedChunk(id, 2_147_483_600, 2_147_483_646));
    for (const [after, count] of [
      [0, 4_000],
      [65_529, 11],
      [2_147_483_599, 47],
    ] as const) {
      const reply = await get(`/logs/${id}?after=${logCursor(id, after)}`, NDJSON);
      // The answer is cut where lines are missing.
      const lines = await reply.whole().then(linesOf, () => linesOf(reply.received()));
      expect(lines.map(({ cursor }) => cursor)).toEqual(
        Array.from({ length: count }, (_, n) => logCursor(id, after + n + 1)),
      );
    }
  });

  test.each([
    [undefined, 'text/plain; charset=utf-8'],
    ['*/*', 'text/plain; charset=utf-8'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text/plain; charset=utf-8'],
    ['text/plain;charset=UTF-8', 'text/plain; charset=utf-8'],
    ['application/*', 'application/x-ndjson'],
    ['text/plain;q=0.5, application/x-ndjson', 'application/x-ndjson'],
    ['text/plain, application/x-ndjson;q=0.9', 'text/plain; charset=utf-8'],
    ['text/plain;q=0, */*', 'application/x-ndjson'],
    ['application/json', undefined],
    ['text/plain;charset=iso-8859-1', undefined],
    ['text/plain;q=0, application/x-ndjson;q=0', undefined],
  ])('answers Accept %s with %s', async (accept, type) => {
    const id = await runningJob(api, ann);
    const reply = await get(`/logs/${id}`, accept === undefined ? {} : { accept });
    expect(reply.status).toBe(type === undefined ? 406 : 200);
    if (type === undefined) expect(JSON.parse(await reply.whole()).message).toContain('application/x-ndjson');
    else expect(reply.headers['content-type']).toBe(type);
    expect(reply.headers.vary).toBe('Origin, Accept, Accept-Encoding');
  });

  test.each([
    ['gzip', 'gzip'],
    ['gzip, deflate, br', 'gzip'],
    ['identity;q=0.5, *;q=0.8', 'gzip'],
    ['gzip;q=0', undefined],
    ['gzip;q=0.1, identity', undefined],
    ['br', undefined],
  ])('answers Accept-Encoding %s with %s', async (accepted, encoding) => {
    const { id, shown } = await oddJob();
    const reply = await get(`/logs/${id}`, { 'accept-encoding': accepted });
    expect(reply.headers['content-encoding']).toBe(encoding);
    expect(await reply.whole()).toBe(shown);
  });

  test('is never cached and never rendered as a page', async () => {
    const { id } = await oddJob();
    const { headers } = await get(`/logs/${id}`, { accept: 'text/html,*/*;q=0.8' });
    expect(headers).toMatchObject({
      'cache-control': 'private, no-store',
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'content-disposition': `inline; filename="${id}.log"`,
    });
    expect(headers).not.toHaveProperty('etag');
    expect(headers).not.toHaveProperty('last-modified');
  });

  test('continues behind a cursor from any source, on any process', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 30));
    const client = socketOf(api, ann.token);
    const batches = taker(
      client.iterate<{ jobLogs: { cursor: string } }>({ query: `subscription { jobLogs(jobId: "${id}") { cursor } }` }),
    );
    const ofSubscription = (await batches.take()).data?.jobLogs.cursor ?? '';
    await batches.stop();
    const first = await get(`/logs/${id}`);
    expect(await first.whole()).toBe(numberedText(1, 30));
    const ofDownload = String(first.headers['log-cursor']);
    const ofLine = linesOf(await (await get(`/logs/${id}`, NDJSON)).whole())[19].cursor;
    const page = await query(api, `{ job(id: "${id}") { logs(first: 10) { pageInfo { endCursor } } } }`, {
      token: ann.token,
    });
    const ofPage = page.data.job.logs.pageInfo.endCursor;

    await store(await numberedChunk(id, 31, 60));
    await endJob(api, ann, id, 60);
    const log = pino({ level: 'silent' });
    const bus = createMemoryBus({ log });
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 1 };
    const other = await startApi({ ...api, bus, log, sealer: testSealer, settings });
    const cursors = [
      [ofPage, 10],
      [ofLine, 20],
      [ofDownload, 30],
      [ofSubscription, 30],
      [logCursor(id, 60), 60],
      [logCursor(id, 1_000), 60], // beyond the end
    ] as const;
    for (const at of [api, other]) {
      for (const [cursor, number] of cursors) {
        for (const more of ['', '&follow']) {
          const { token } = ann;
          const reply = await ask(at, `/logs/${id}?after=${cursor}${more}`, { token });
          expect(await reply.whole()).toBe(numberedText(number + 1, 60));
          const lines = await ask(at, `/logs/${id}?after=${cursor}${more}`, { token, headers: NDJSON });
          expect(linesOf(await lines.whole()).map((line) => line.number)[0]).toBe(number < 60 ? number + 1 : undefined);
        }
        const { data } = await query(
          at,
          `{ job(id: "${id}") { logs(first: 100, after: "${cursor}") { nodes { number } } } }`,
          {
            token: ann.token,
          },
        );
        expect(data.job.logs.nodes).toHaveLength(60 - number);
      }
    }
    const socket = socketOf(other, ann.token);
    const followed = taker(
      socket.iterate<{ jobLogs: { text: string } }>({
        query: `subscription { jobLogs(jobId: "${id}", after: "${ofDownload}") { text } }`,
      }),
    );
    expect((await followed.rest()).map(({ data }) => data?.jobLogs.text).join('')).toBe(numberedText(31, 60));
    await Promise.all([client.dispose(), socket.dispose()]);
    await other.close();
    await bus.close();
  });

  test('ends at the line stored last at the request, even if the job has no lines yet', async () => {
    const id = await runningJob(api, ann);
    const silent = await get(`/logs/${id}`);
    expect([silent.status, await silent.whole()]).toEqual([200, '']);
    await store(await numberedChunk(id, 1, 5));
    const cursor = String(silent.headers['log-cursor']);
    expect(await (await get(`/logs/${id}?after=${cursor}`)).whole()).toBe(numberedText(1, 5));
  });

  test('can be of one stream only', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 5));
    expect(await (await get(`/logs/${id}?stream=STDERR`)).whole()).toBe('line 2 é\nline 4 é\n');
    const lines = linesOf(await (await get(`/logs/${id}?stream=STDOUT`, NDJSON)).whole());
    expect(lines.map(({ number, stream }) => [number, stream])).toEqual([1, 3, 5].map((number) => [number, 'STDOUT']));
  });

  test('of a build works the same way', async () => {
    const id = await createBuild(api, ann);
    await store(await numberedChunk(id, 1, 3));
    const ended = { status: 'FAILED' as const, error: 'no', completedAt: new Date(), logLineCount: 3 };
    await api.db.update(builds).set(ended).where(eq(builds.id, id));
    for (const path of [`/logs/${id}`, `/logs/${id}?follow`, `/logs/${id.toUpperCase()}`]) {
      expect(await (await get(path)).whole()).toBe(numberedText(1, 3));
      expect((await get(path, {}, bob)).status).toBe(404);
    }
  });

  test('P6: of a log that is missing, malformed or another user’s is the same 404', async () => {
    const { id } = await oddJob();
    const answers = [];
    for (const asked of [id, newId(), 'malformed', '%00', `${id}x`, '..%2fgraphql']) {
      for (const more of ['', '?follow=true', `?after=${logCursor(id, 1)}`, '?after=nonsense']) {
        const reply = await get(`/logs/${asked}${more}`, {}, bob);
        const { date: _, ...headers } = reply.headers;
        answers.push(JSON.stringify([reply.status, headers, await reply.whole()]));
      }
    }
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toMatch(/^\[404,.*You have no job and no build with this id\./);
  });

  test('is refused to a client without a valid token, and to pages of other sites', async () => {
    const { id, shown } = await oddJob();
    const nobody = await ask(api, `/logs/${id}`);
    expect([nobody.status, JSON.parse(await nobody.whole())]).toEqual([
      401,
      { message: 'Sign in first: send a valid token.' },
    ]);
    const wrong = await ask(api, `/logs/${id}`, { headers: { cookie: 'chronoverse_session=nonsense' } });
    expect(wrong.status).toBe(401);
    expect(String(wrong.headers['set-cookie'])).toContain('chronoverse_session=;');
    const cookie = `chronoverse_session=${ann.token}`;
    const foreign = await ask(api, `/logs/${id}`, {
      headers: { cookie, 'sec-fetch-site': 'cross-site', accept: 'text/html,*/*' },
    });
    expect([foreign.status, Object.keys(JSON.parse(await foreign.whole()))]).toEqual([403, ['message']]);
    const own = await ask(api, `/logs/${id}`, { headers: { cookie, 'sec-fetch-site': 'none' } });
    expect([own.status, await own.whole()]).toEqual([200, shown]);
  });

  test.each([
    ['after=nonsense', 'A cursor must be one that this list has given.'],
    ['after=', 'A cursor must be one that this list has given.'],
    ['after=OTHER', 'A cursor must be one that this list has given.'],
    ['folow', 'There is no parameter `folow`, only `after`, `follow`, `stream`, `raw`. Did you mean "follow"?'],
    ['after=CURSOR&after=CURSOR', 'Give `after` once, not several times.'],
    ['follow=yes', '`follow` must be "true", "false" or stand alone, not "yes".'],
    ['stream=stdout', '`stream` must be STDOUT or STDERR, not "stdout".'],
  ])('is refused with a message if the query is ?%s', async (asked, message) => {
    const { id } = await oddJob();
    const sent = asked.replaceAll('CURSOR', logCursor(id, 1)).replace('OTHER', logCursor(newId(), 1));
    const reply = await get(`/logs/${id}?${sent}`);
    expect([reply.status, JSON.parse(await reply.whole())]).toEqual([400, { message }]);
  });

  test('accepts HEAD like GET without a body, and no other method', async () => {
    const { id } = await oddJob();
    for (const path of [`/logs/${id}`, `/logs/${id}?follow`, `/logs/${newId()}`, `/logs/${id}?what`]) {
      const [got, head] = [await get(path), await ask(api, path, { token: ann.token, method: 'HEAD' })];
      const { date: _, 'transfer-encoding': __, ...headers } = got.headers;
      expect([head.status, await head.whole()]).toEqual([got.status, '']);
      expect(head.headers).toMatchObject(headers);
      await got.whole();
    }
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const reply = await ask(api, `/logs/${id}`, { token: ann.token, method });
      expect([reply.status, reply.headers.allow]).toEqual([405, 'GET, HEAD']);
      expect(JSON.parse(await reply.whole()).message).toContain(method);
    }
  });

  test('is cut where lines are missing, so that it cannot look complete', async () => {
    const id = await runningJob(api, ann);
    await store(await numberedChunk(id, 1, 10), await numberedChunk(id, 21, 30));
    const forms: Record<string, string>[] = [{}, NDJSON, { 'accept-encoding': 'gzip' }];
    for (const headers of forms) {
      const reply = await get(`/logs/${id}`, headers);
      await expect(reply.whole()).rejects.toMatchObject({ code: 'ECONNRESET' });
      // gzip may still hold back the last batch.
      if (!headers['accept-encoding']) expect(reply.received()).toContain('line 10 é');
      expect(reply.received()).not.toContain('line 21 é');
    }
  });

  test('is refused with 503 while the database is away', async () => {
    const gone = connect('postgres://nobody:nothing@127.0.0.1:1/none', { max: 1, application: 'test' });
    const log = pino({ level: 'silent' });
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: false, maxJobSeconds: 1 };
    const other = await startApi({ ...api, db: gone.db, log, sealer: testSealer, settings });
    const reply = await ask(other, `/logs/${newId()}?follow`, { token: ann.token });
    expect([reply.status, JSON.parse(await reply.whole())]).toEqual([
      503,
      { message: 'The database cannot be reached right now: try again soon.' },
    ]);
    await other.close();
    await gone.close();
  });
});
