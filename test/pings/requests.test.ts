import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { UNKNOWN_PINGS_AT_ONCE_MAX } from '../../api/admission/admission.ts';
import { auditEvents } from '../../db/schema.ts';
import { PINGS_PER_TOKEN_PER_MINUTE } from '../../domain/limits.ts';
import { type Person, person, query, type TestApi, testApi, withAnnAndBob } from '../api/support.ts';
import { jobsOf } from '../support/jobs.ts';
import { logOf, pushHeartbeat, scheduleOf, send, update } from './support.ts';

const UNKNOWN = 'No workflow has this ping URL.\n';
const NOBODYS = `/ping/cvp_${'a'.repeat(43)}`;

describe('the request of a ping', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  withAnnAndBob((made) => {
    ({ api, ann, bob } = made);
  });

  test('with an unknown, malformed or former token learns nothing', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const rotate = (who: Person) =>
      query(api, `mutation { rotatePingToken(input: { id: "${id}" }) { workflow { pingUrl } userErrors { code } } }`, {
        token: who.token,
      });
    expect((await rotate(bob)).data.rotatePingToken.userErrors).toEqual([{ code: 'NOT_FOUND' }]);
    const { pingUrl } = (await rotate(ann)).data.rotatePingToken.workflow;
    expect(pingUrl).not.toBe(url);
    const changed = `${pingUrl.slice(0, -1)}${pingUrl.endsWith('A') ? 'B' : 'A'}`;
    for (const path of [
      NOBODYS,
      '/ping/x',
      '/ping/%00',
      `/ping/${id}`,
      url,
      changed,
      `${url}/start`,
      `${NOBODYS}/log`,
      `${NOBODYS}/7`,
    ])
      for (const method of ['GET', 'POST']) {
        const { status, text } = await send(api, path, { method });
        expect([path, status, text]).toEqual([path, 404, UNKNOWN]);
      }
    expect((await send(api, NOBODYS, { method: 'HEAD' })).text).toBe('');
    expect((await send(api, pingUrl)).status).toBe(200);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
  });

  test.each(['/ping', '/ping/', '/stop', '/256', '/00', '/-1', '/start/', '/start/1', '/'])(
    'to another path is refused: %s',
    async (end) => {
      const { id, url } = await pushHeartbeat(api, ann);
      const { status } = await send(api, end.startsWith('/ping') ? end : `${url}${end}`);
      expect(status).toBe(404);
      expect(await jobsOf(api.db, id)).toEqual([]);
    },
  );

  test.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS'])('by %s is refused', async (method) => {
    const { id, url } = await pushHeartbeat(api, ann);
    const { status, headers } = await send(api, url, { method });
    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD, POST']);
    expect(await jobsOf(api.db, id)).toEqual([]);
  });

  test('with a rid that is no UUID, or with two, is refused', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const rid = '8ea97b1a-0b6c-4a0f-9d5e-2f3c1b7a9d10';
    for (const end of ['?rid=', '?rid=7', `?rid=${rid}&rid=${rid}`, `?rid=${rid}0`]) {
      const { status, text } = await send(api, `${url}${end}`);
      expect([status, text]).toEqual([400, expect.stringMatching(/^rid must be given once, and be a UUID/)]);
    }
    expect((await send(api, `${url}?other=1`)).status).toBe(200);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
  });

  test('by GET or HEAD changes nothing if only POST counts', async () => {
    const { id, url } = await pushHeartbeat(api, ann, { postOnly: true });
    for (const end of ['', '/start', '/fail', '/log', '/0', '/9'])
      for (const method of ['GET', 'HEAD']) {
        const { status, headers } = await send(api, `${url}${end}`, { method });
        expect([status, headers.get('allow')]).toEqual([405, 'POST']);
      }
    expect(await jobsOf(api.db, id)).toEqual([]);
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt: null });
    expect((await send(api, url, { method: 'POST' })).status).toBe(200);
    for (const method of ['GET', 'HEAD']) expect((await send(api, url, { method })).status).toBe(405);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
  });

  test('from a page of another site is refused, by a script or by a link', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const foreign: Record<string, string>[] = [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }];
    for (const headers of foreign) expect((await ask(api, url, { headers })).status).toBe(403);
    expect(await jobsOf(api.db, id)).toEqual([]);
    // A program may use any name of the server.
    expect((await ask(api, url, { headers: { host: 'anything.example' } })).status).toBe(200);
  });

  test('has its body cut, and its log says so', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    await send(api, url, { body: 'x'.repeat(100_000) });
    await send(api, url, { body: `${'ä'.repeat(60_000)}` });
    await send(api, url, { body: '\n'.repeat(100_000) });
    await send(api, url, { body: Buffer.from([0x61, 0xff, 0xfe, 0x0a, 0x62]) });
    const logs = await Promise.all((await jobsOf(api.db, id)).map((job) => logOf(api, ann, job.id)));
    expect(logs[0]).toBe(`${'x'.repeat(100_000)}\n`);
    expect(logs[1]).toBe(
      `${'ä'.repeat(50_000)}\nAt most 100,000 bytes of the body of a ping are read: it is cut here.\n`,
    );
    expect(logs[2]).toMatch(/^\n{4000,5000}At most 131,072 bytes of lines of a ping are kept, .*: it is cut here\.\n$/);
    expect(logs[3]).toBe('a\ufffd\ufffd\nb\n');
  });

  test('with a body that does not end is answered, and its connection closed', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const { port } = new URL(api.url);
    const answer = await new Promise<string>((resolve) => {
      let received = '';
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('data', (data) => (received += data));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(received));
      socket.write(`POST ${url} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n`);
      const piece = `10000\r\n${'y'.repeat(65_536)}\r\n`;
      for (let n = 0; n < 17; n++) socket.write(piece);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).toMatch(/connection: close/i);
    const [job] = await jobsOf(api.db, id);
    expect(await logOf(api, ann, job?.id ?? '')).toMatch(/^y{100000}\nAt most 100,000 bytes/);
  });

  test('to /log keeps lines for the next job, up to a limit, and changes nothing else', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    await send(api, `${url}/log`, { body: 'first' });
    await send(api, `${url}/log`, { body: 'second\nthird' });
    await send(api, `${url}/log`);
    expect(await jobsOf(api.db, id)).toEqual([]);
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt: null });
    await send(api, url, { body: 'last' });
    await send(api, `${url}/log`, { body: 'of the next' });
    await send(api, `${url}/2`, { body: 'and its own' });
    await send(api, url);
    const logs = await Promise.all((await jobsOf(api.db, id)).map((job) => logOf(api, ann, job.id)));
    expect(logs).toEqual(['first\nsecond\nthird\nlast\n', 'of the next\nand its own\n', '']);
    expect((await send(api, `${url}/log`, { body: 'z'.repeat(90_000) })).status).toBe(200);
    const full = await send(api, `${url}/log`, { body: 'z'.repeat(90_000) });
    expect([full.status, full.text]).toEqual([413, 'The log of the next ping has no room for this.\n']);
    await send(api, url, { body: 'z'.repeat(100_000) });
    expect((await jobsOf(api.db, id)).at(-1)).toMatchObject({ status: 'COMPLETED', logLineCount: 4 });
  });

  test('is refused beyond so many a minute of one token', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const other = await pushHeartbeat(api, ann);
    for (let n = 0; n < PINGS_PER_TOKEN_PER_MINUTE; n++) expect((await send(api, `${url}/log`)).status).toBe(200);
    const { status, text, headers } = await send(api, url);
    expect([status, text]).toEqual([429, 'At most 30 pings a minute are taken.\n']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect(await jobsOf(api.db, id)).toEqual([]);
    expect((await send(api, other.url)).status).toBe(200);
  });

  test('shows its URL to its owner alone, and to no token that may only read or run', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    expect(url).toMatch(/^\/ping\/cvp_[A-Za-z0-9_-]{43}$/);
    const read = `{ workflow(id: "${id}") { pingUrl definition { ... on HeartbeatDefinition { push { startGraceSeconds runGraceSeconds postOnly } } } payload } }`;
    const own = (await query(api, read, { token: ann.token })).data.workflow;
    expect(own).toEqual({
      pingUrl: url,
      definition: { push: { startGraceSeconds: 300, runGraceSeconds: 3_600, postOnly: false } },
      payload: '{"kind":"HEARTBEAT","push":{}}',
    });
    expect((await query(api, read, { token: bob.token })).data.workflow).toBeNull();
    for (const [scope, seen] of [
      ['READ', null],
      ['RUN', null],
      ['WRITE', url],
    ]) {
      const create = `mutation { createApiToken(input: { name: "${scope}", scope: ${scope} }) { secret } }`;
      const { secret } = (await query(api, create, { token: ann.token })).data.createApiToken;
      expect((await query(api, read, { token: secret })).data.workflow.pingUrl).toBe(seen);
    }
    const { data } = await query(api, '{ workflows { nodes { pingUrl } } }', { token: bob.token });
    expect(data.workflows.nodes).toEqual([]);
  });

  test('leaves its token in no log and in no audit event', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const token = url.slice('/ping/'.length);
    for (const end of ['', '/fail', '/start', '/log', '/300', '?rid=x'])
      for (const method of ['GET', 'PUT']) await send(api, `${url}${end}`, { method });
    await update(api, ann, { id, name: 'b' });
    expect(api.logged.join('\n')).not.toContain(token.slice(4));
    const events = JSON.stringify(await api.db.select().from(auditEvents));
    expect(events).toContain(id);
    expect(events).not.toContain(token.slice(4));
  });
});

test('pings with unknown tokens are refused beyond a limit, and no others of the same address with them', async () => {
  const api = await testApi({ publicUrl: 'https://chronoverse.example.com', trustProxy: 1 });
  try {
    const ann = await person(api);
    const { id, url } = await pushHeartbeat(api, ann);
    expect(url).toMatch(/^https:\/\/chronoverse\.example\.com\/ping\/cvp_/);
    const { pathname } = new URL(url);
    const from = (address: string) => ({ headers: { 'x-forwarded-for': address, host: 'chronoverse.example.com' } });
    const here = from('192.0.2.1');
    const unknown = () => `/ping/cvp_${randomBytes(32).toString('base64url')}`;
    const refusedAt = await firstRefused(async (n) => ask(api, n % 2 === 0 ? unknown() : '/ping/x', here));
    expect(refusedAt).toBeGreaterThanOrEqual(UNKNOWN_PINGS_AT_ONCE_MAX);
    for (const path of [unknown(), '/ping/x']) expect((await ask(api, path, here)).status).toBe(429);
    expect((await ask(api, unknown(), from('192.0.2.2'))).status).toBe(404);
    // Another user behind the same address, while the flood goes on.
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, n) => ask(api, n % 6 === 0 ? `${pathname}/start` : unknown(), here)),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map((_, n) => (n % 6 === 0 ? 200 : 429)));
    expect((await ask(api, pathname, here)).status).toBe(200);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
    // Its own limit holds as ever.
    const rest = Array.from({ length: PINGS_PER_TOKEN_PER_MINUTE }, () => ask(api, `${pathname}/log`, here));
    expect((await Promise.all(rest)).filter(({ status }) => status === 429)).toHaveLength(11);
    // A former token is unknown, although it was known a moment ago.
    const rotate = `mutation { rotatePingToken(input: { id: "${id}" }) { workflow { pingUrl } } }`;
    await query(api, rotate, { token: ann.token });
    expect((await ask(api, pathname, here)).status).toBe(429);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
  } finally {
    await api.close();
  }
});

/** How many were answered before the first that was refused for its number. */
async function firstRefused(one: (n: number) => Promise<{ status: number }>): Promise<number> {
  for (let n = 0; n < 2 * UNKNOWN_PINGS_AT_ONCE_MAX; n++) {
    const { status } = await one(n);
    if (status === 429) return n;
    expect(status).toBe(404);
  }
  throw new Error('None was refused.');
}

/** For headers that `fetch` does not let a program set. */
function ask(
  api: { url: string },
  path: string,
  { headers }: { headers: Record<string, string> },
): Promise<{ status: number }> {
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, api.url), { headers, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve({ status: response.statusCode ?? 0 }));
    });
    sent.on('error', reject);
    sent.end();
  });
}
