import { connect as connectTcp } from 'node:net';
import { sql } from 'drizzle-orm';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApi } from '../../api/server.ts';
import { connect } from '../../db/client.ts';
import { testSealer } from '../support/workers.ts';
import { codes, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

describe('what fails on our side', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  test('is hidden behind a request id that is in the log, over HTTP and WebSocket', async () => {
    await api.db.execute(sql`ALTER TABLE workflows RENAME TO elsewhere`);
    const answer = await query(api, '{ workflows { nodes { id } } }', { token: ann.token });
    const client = socketOf(api, ann.token);
    const [overSocket] = await taker(client.iterate({ query: '{ workflows { nodes { id } } }' })).rest();
    await client.dispose();
    await api.db.execute(sql`ALTER TABLE elsewhere RENAME TO workflows`);
    for (const { errors } of [answer, overSocket ?? {}]) {
      const [error] = errors ?? [];
      expect(error?.extensions?.code).toBe('INTERNAL_SERVER_ERROR');
      expect(JSON.stringify(errors)).not.toMatch(/relation|select|elsewhere|stack/i);
      const entry = api.logged.find((line) => line.includes(String(error?.extensions?.requestId)));
      expect(entry).toContain('relation');
    }
  });

  test('is UNAVAILABLE while the database is away, with or without a token', async () => {
    const gone = connect('postgres://nobody:nothing@127.0.0.1:1/none', { max: 1, application: 'test' });
    const log = pino({ level: 'silent' });
    const { bus, cache } = api;
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: false, maxJobSeconds: 1 };
    const other = await startApi({ db: gone.db, bus, cache, log, sealer: testSealer, settings });
    expect(codes(await query(other, '{ workflows { nodes { id } } }', { token: ann.token }))).toEqual(['UNAVAILABLE']);
    const input = { email: 'ann@example.com', password: 'some password' };
    const signIn = 'mutation ($input: SignInInput!) { signIn(input: $input) { token } }';
    expect(codes(await query(other, signIn, { variables: { input } }))).toEqual(['UNAVAILABLE']);
    expect((await query(other, '{ viewer { id } }')).data).toEqual({ viewer: null });
    const health = await fetch(other.url.replace('/graphql', '/health'));
    expect([health.status, await health.json()]).toEqual([503, { status: 'DOWN' }]);
    await other.close();
    await gone.close();
  });

  test.each([
    [
      'a host that is none',
      'POST /graphql HTTP/1.1\r\nHost: [\r\nContent-Type: application/json\r\nContent-Length: 25\r\nConnection: close\r\n\r\n{"query":"{ __typename }"}',
    ],
    ['a path that is none', 'GET // HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    [
      'an upgrade of a path that is none',
      'GET // HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    ],
    [
      'a body that ends early',
      'POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"query"',
    ],
    ['no HTTP at all', 'hello\r\n\r\n'],
  ])('is not the server itself, whatever it receives: %s', async (_, bytes) => {
    const { hostname, port } = new URL(api.url);
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connectTcp(Number(port), hostname, () => socket.write(bytes));
      socket.on('data', (data) => {
        text += data;
      });
      socket.on('error', () => undefined).on('close', () => resolve(text));
      setTimeout(() => socket.end(), 500).unref();
    });
    expect(answer).not.toMatch(/node_modules|at .*\.js|\.ts:/);
    expect((await query(api, '{ viewer { id } }', { token: ann.token })).data).toEqual({ viewer: { id: ann.id } });
  });
});
