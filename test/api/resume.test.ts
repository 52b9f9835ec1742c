import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createClient } from 'graphql-sse';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { idOfCursor } from '../../api/paging.ts';
import { type Api, startApi } from '../../api/server.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { notify } from '../../db/notifications.ts';
import { notifications } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { firstIdAt, newId, timeOfId } from '../../domain/ids.ts';
import { heartbeat } from '../scheduling/support.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, numberedText } from '../support/lines.ts';
import { proxyTo } from '../support/proxy.ts';
import { testSealer } from '../support/workers.ts';
import { codes, createBuild, type Person, person, socketOf, type TestApi, taker, testApi } from './support.ts';

interface Event {
  event?: string;
  id?: string;
  data?: string;
}

describe('a stream that breaks', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  const store = async (id: string, first: number, last: number) =>
    insertChunks(api.db, [await numberedChunk(id, first, last)]);

  /** Another api with the same database, bus and cache. */
  const another = (port = 0): Promise<Api> => {
    const { db, bus, cache } = api;
    const settings = { port, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 1 };
    return startApi({ db, bus, cache, log: pino({ level: 'silent' }), sealer: testSealer, settings });
  };

  /** Opens a stream of events. `lastId` is the id of the last event of the one that it replaces. */
  async function open(
    query: string,
    variables: object,
    { url = api.url, lastId }: { url?: string; lastId?: string } = {},
  ) {
    const leave = new AbortController();
    const response = await fetch(`${url}?${new URLSearchParams({ query, variables: JSON.stringify(variables) })}`, {
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${ann.token}`,
        ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
      },
      signal: leave.signal,
    });
    return { ...taker(eventsOf(response)), leave: () => leave.abort() };
  }

  async function* eventsOf({ body }: Response): AsyncGenerator<Event> {
    if (body === null) return;
    let text = '';
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += part.value;
      const whole = text.split('\n\n');
      text = whole.pop() ?? '';
      for (const block of whole) {
        const fields = block.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2));
        if (block !== ':') yield Object.fromEntries(fields);
      }
    }
  }

  const LOG = 'subscription ($id: ID!, $after: String) { jobLogs(jobId: $id, after: $after) { text cursor } }';
  const textOf = ({ data = '' }: Event): string => JSON.parse(data).data.jobLogs.text;

  test('goes on after the event whose id comes back, whatever `after` says', async () => {
    const id = await runningJob(api, ann);
    await store(id, 1, 50);
    const stream = await open(LOG, { id });
    const first = await stream.take();
    expect(first).toEqual({ event: 'next', id: JSON.parse(first.data ?? '').data.jobLogs.cursor, data: first.data });
    stream.leave();
    await store(id, 51, 80);
    const next = await open(LOG, { id, after: null }, { lastId: first.id ?? '' });
    const second = await next.take();
    expect(textOf(second)).toBe(numberedText(51, 80));
    await store(id, 81, 90);
    await endJob(api, ann, id, 90);
    const rest = await next.rest();
    expect(rest.at(-1)).toEqual({ event: 'complete', data: '' });
    expect(rest.slice(0, -1).map(textOf).join('')).toBe(numberedText(81, 90));
    const done = await open(LOG, { id }, { lastId: rest.at(-2)?.id ?? '' });
    expect(await done.rest()).toEqual([{ event: 'complete', data: '' }]);
    const late = await open(LOG, { id, after: second.id }, { lastId: '' });
    expect((await late.rest()).slice(0, -1).map(textOf).join('')).toBe(numberedText(81, 90));
  });

  test('of a build goes on too, and an id of another stream is BAD_REQUEST', async () => {
    const buildId = await createBuild(api, ann);
    await store(buildId, 1, 5);
    const log = 'subscription ($id: ID!) { buildLogs(buildId: $id) { text } }';
    const stream = await open(log, { id: buildId });
    const first = await stream.take();
    stream.leave();
    await store(buildId, 6, 9);
    const next = await open(log, { id: buildId }, { lastId: first.id ?? '' });
    expect(JSON.parse((await next.take()).data ?? '').data.buildLogs.text).toBe(numberedText(6, 9));
    next.leave();
    const id = await runningJob(api, ann);
    for (const lastId of [first.id ?? '', 'nonsense', '5']) {
      const [refused] = await (await open(LOG, { id }, { lastId })).rest();
      expect(codes(JSON.parse(refused?.data ?? '{}'))).toEqual(['BAD_REQUEST']);
    }
  });

  test('of notifications goes on after the last one, over SSE by its id and elsewhere by `after`', async () => {
    const { id: workflowId } = await heartbeat(api.db, ann.id);
    const happen = async (detail: string) => {
      const [made] = await notify(api.db, [{ kind: 'JOB_FAILED', workflowId, jobId: newId(), detail }]);
      await api.cache.publish(userChannel(ann.id), encodeChanged({ notifications: [made?.id ?? ''] }));
      return made?.id ?? '';
    };
    const added = 'subscription ($after: String) { notificationAdded(after: $after) { id message } }';
    const messageOf = ({ data = '' }: Event): string => JSON.parse(data).data.notificationAdded.message;
    const before = await happen('before');
    const stream = await open(added, { after: before });
    const first = await happen('first');
    const seen = await stream.take();
    expect(messageOf(seen)).toBe('first');
    stream.leave();
    const missed = await Promise.all(['second', 'third'].map(happen));
    // Its transaction began before the one of the first, and committed after it.
    const late = firstIdAt(new Date(timeOfId(first).getTime() - 1_000));
    const own = { userId: ann.id, kind: 'JOB_FAILED', workflowId, workflowName: 'a', jobId: newId() } as const;
    await api.db.insert(notifications).values({ id: late, detail: 'late', ...own });
    const next = await open(added, { after: before }, { lastId: seen.id ?? '' });
    const events: Event[] = [];
    while (events.length < 4) events.push(await next.take());
    expect(events.map(messageOf).sort()).toEqual(['before', 'late', 'second', 'third']);
    const fourth = await happen('fourth');
    expect(messageOf(await next.take())).toBe('fourth');
    next.leave();
    // The place of an event never goes back, so a second resume repeats no more than the first.
    const places = [seen, ...events].map(({ id = '' }) => idOfCursor(id));
    expect(places).toEqual([...places].sort());
    expect(places.slice(0, 3)).toEqual([first, first, first]);
    expect(places.at(-1)).toBe([...missed].sort().at(-1));

    const client = socketOf(api, ann.token);
    const follow = (after: string) =>
      taker(client.iterate<{ notificationAdded: { id: string } }>({ query: added, variables: { after } }));
    const byId = follow(first.toUpperCase());
    const ids: unknown[] = [];
    while (ids.length < 5) ids.push((await byId.take()).data?.notificationAdded.id);
    expect(ids.sort()).toEqual([before, late, ...missed, fourth].sort());
    await byId.stop();
    const [bad] = await follow('nonsense').rest();
    expect(bad?.errors?.[0]).toMatchObject({ extensions: { code: 'BAD_REQUEST' } });
    await client.dispose();
  });

  test('because the server stops ends without `complete`, so that it does not look complete', async () => {
    const other = await another();
    const id = await runningJob(api, ann);
    await store(id, 1, 3);
    const stream = await open(LOG, { id }, { url: other.url });
    await stream.take();
    const client = createClient({
      url: other.url,
      headers: { authorization: `Bearer ${ann.token}` },
      retryAttempts: 0,
    });
    const library = taker(client.iterate({ query: LOG, variables: { id } }));
    await library.take();
    const failed = library.rest().catch((error: unknown) => error);

    const socket = new WebSocket(other.url.replace('http', 'ws'), 'graphql-transport-ws');
    const received: string[] = [];
    socket.on('message', (data) => received.push(JSON.parse(String(data)).type));
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));
    await expect.poll(() => received).toEqual(['connection_ack']);
    socket.send(JSON.stringify({ type: 'subscribe', id: '1', payload: { query: LOG, variables: { id } } }));
    await expect.poll(() => received).toEqual(['connection_ack', 'next']);

    const closed = once(socket, 'close');
    await other.close();
    expect(await stream.rest()).toEqual([]);
    expect(String(await failed)).toContain('Connection closed');
    expect((await closed)[0]).toBe(1001);
    expect(received).toEqual(['connection_ack', 'next']);
    client.dispose();
  });

  test.each(['graphql-ws', 'graphql-sse'])(
    'is resumed by the recipe for %s in docs/use/subscriptions.md, every line once',
    async (library) => {
      const page = await readFile('docs/use/subscriptions.md', 'utf8');
      const recipes = [...page.matchAll(/^```js\n(.*?)^```/gms)].map(([, code = '']) => code);
      const recipe = recipes.find((code) => code.includes(`from '${library}'`)) ?? '';
      let server = await another();
      const port = Number(new URL(server.url).port);
      const proxy = await proxyTo('127.0.0.1', port);
      const id = await runningJob(api, ann);
      await store(id, 1, 50);

      const code = recipe.replace('localhost:4000', `127.0.0.1:${proxy.port}`);
      const run = spawn(process.execPath, ['--input-type=module', '-e', code], {
        env: { ...process.env, TOKEN: ann.token, JOB: id },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let printed = '';
      run.stdout.on('data', (piece) => {
        printed += String(piece);
      });
      const exited = once(run, 'exit');
      await expect.poll(() => printed).toBe(numberedText(1, 50));
      proxy.cut();
      await store(id, 51, 80);
      proxy.restore();
      await expect.poll(() => printed).toBe(numberedText(1, 80));
      await server.close();
      await store(id, 81, 90);
      server = await another(port);
      await expect.poll(() => printed).toBe(numberedText(1, 90));
      await endJob(api, ann, id, 90);
      expect(await exited).toEqual([0, null]);
      expect(printed).toBe(numberedText(1, 90));
      await server.close();
      await proxy.close();
    },
  );
});
