import { createServer, type IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jobs, logChunks } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { parseLines } from '../../domain/logs/decode.ts';
import { unpackLines } from '../../domain/logs/packing.ts';
import { sealPayload } from '../../domain/payload/secrets.ts';
import { createSealer } from '../../platform/sealer.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts, startHeartbeatWorkers, testSealer } from '../support/workers.ts';
import { answering, listening, response } from './support.ts';

const SECRET = 'Bearer open-sesame-4711';

let database: TestDatabase;
let parts: ReturnType<typeof memoryParts>;
let workers: Worker;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  parts = memoryParts(database.db);
  workers = await startHeartbeatWorkers(parts);
});
afterAll(async () => {
  await workers.close();
  await database.close();
});

/** The ended first job of a heartbeat at `endpoint` with a secret header. */
async function ended(
  endpoint: string,
  { sealer = testSealer, secret = SECRET, contains = '', names = ['Authorization'], open = {} } = {},
) {
  const { db } = database;
  const id = newId();
  const { value: payload } = sealPayload(sealer, {
    workflowId: id,
    given: {
      kind: 'HEARTBEAT',
      endpoint,
      headers: {
        ...open,
        ...Object.fromEntries(names.map((name) => [name, { secret: true as const, value: secret }])),
      },
      ...(contains === '' ? {} : { body_contains: contains }),
    },
  });
  if (payload === undefined) throw new Error('It was refused.');
  await createWorkflow(db, {
    id,
    userId: ann,
    name: 'test',
    payload,
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 3,
  });
  await parts.cache.publish(SCHEDULE_CHANNEL, '');
  const job = await until('the end of the job', async () => {
    const [row] = await db.select().from(jobs).where(eq(jobs.workflowId, id));
    return row?.completedAt ? row : undefined;
  });
  const texts = await until('its lines', async () => {
    const chunks = await db.select().from(logChunks).where(eq(logChunks.sourceId, job.id));
    const lines = await Promise.all(
      chunks.map(async (chunk) => parseLines(await unpackLines(chunk.lines), chunk.firstNumber, chunk.attempt)),
    );
    return lines.flat().length === job.logLineCount ? lines.flat().map(({ text }) => text) : undefined;
  });
  return { job, texts };
}

test('a secret header reaches the endpoint', async () => {
  const seen: (string | undefined)[] = [];
  const { host } = await listening(
    createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end();
    }),
  );
  const { job } = await ended(`http://${host}/`);
  expect(job.status).toBe('COMPLETED');
  expect(seen).toEqual([SECRET]);
});

test('a secret header is not sent to another origin after a redirect, whatever its name', async () => {
  const names = ['User-Agent', 'ACCEPT', 'Accept-Encoding', 'Content-Type'];
  const seen: IncomingMessage['headers'][] = [];
  const other = await listening(
    createServer(({ headers }, response) => {
      seen.push(headers);
      response.end();
    }),
  );
  const { host } = await listening(
    createServer(({ headers, url }, response) => {
      seen.push(headers);
      response.writeHead(307, { location: url === '/' ? '/same' : `http://${other.host}/` }).end();
    }),
  );
  const { job } = await ended(`http://${host}/`, { names, open: { 'Accept-Language': 'de' } });
  expect(job.status).toBe('COMPLETED');
  expect(seen).toHaveLength(3);
  const [first, same, last] = seen;
  for (const name of names) expect([first?.[name.toLowerCase()], same?.[name.toLowerCase()]]).toEqual([SECRET, SECRET]);
  expect(last).toMatchObject({ 'accept-language': 'de' });
  expect(JSON.stringify(last)).not.toContain(SECRET);
});

test('an endpoint that echoes the header does not get it into the log or a message', async () => {
  const { host } = await listening(
    createServer((request, response) => {
      response.writeHead(500, `No ${request.headers.authorization}`);
      response.end(request.headers.authorization);
    }),
  );
  const { job, texts } = await ended(`http://${host}/`);
  expect(job.failureMessage).toContain('No ***');
  expect(`${JSON.stringify(job)}${texts.join()}`).not.toContain(SECRET);
});

test('an endpoint that echoes it encoded, or cut off, does not get it into the log or a message', async () => {
  const page = (secret: string) => `${'x'.repeat(190)} ${secret}`;
  const answers: ((secret: string) => Buffer | string)[] = [
    (secret) => response(['Content-Encoding: gzip'], gzipSync(page(secret)), '500 No'),
    (secret) => response(['Content-Type: text/html; charset=utf-16'], Buffer.from(page(secret), 'utf16le'), '500 No'),
    (secret) => response([], Buffer.from(page(secret)), '500 No'),
    (secret) => `${page(secret)}\r\n`,
    (secret) => `HTTP/1.1 200 OK\r\nX: ${secret.slice(0, -2)}`,
    (secret) => `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(150)}${secret}\r\nLocation: ${secret}\r\n`,
    (secret) => `HTTP/1.1 302 Found\r\nLocation: /${encodeURIComponent(secret)}\r\nSet-Cookie: a=${secret}\r\n\r\n`,
  ];
  for (const answer of answers) {
    const { endpoint } = await answering(answer(SECRET));
    const { job, texts } = await ended(endpoint);
    expect(`${job.failureMessage}${texts.join()}`).toContain('***');
    expect(`${job.failureMessage}${texts.join()}`).not.toMatch(/Bear|open|sesame/);
  }
});

const ECHOES: [how: string, echo: (secret: string) => string][] = [
  ['JSON', (secret) => JSON.stringify({ headers: { authorization: secret } })],
  ['JSON within JSON', (secret) => JSON.stringify({ event: JSON.stringify({ authorization: secret }) })],
  ['a URL', (secret) => `/sign-in?token=${encodeURIComponent(secret)}`],
  ['a form', (secret) => String(new URLSearchParams({ token: secret }))],
  ['HTML', (secret) => `<p>${secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')}</p>`],
  ['base64', (secret) => Buffer.from(`user:${secret}`).toString('base64')],
  ['the token alone', (secret) => `No such token: ${secret.slice('Bearer '.length)}`],
  ['a body that is cut within it', (secret) => `${'x'.repeat(180)}${secret}`],
];
test.each(ECHOES)('an endpoint that echoes it in %s does not get it into the log or a message', async (_, echo) => {
  const secret = 'Bearer s"s/m<&4 711\\+x%=';
  const secretToken = 'Bearer open-"s/m<&4711\\+x%=';
  for (const value of [secret, secretToken, SECRET]) {
    const { host } = await listening(
      createServer((request, response) => {
        response.end(`It was ${echo(request.headers.authorization ?? '')}.`);
      }),
    );
    const { job, texts } = await ended(`http://${host}/`, { secret: value, contains: 'something else' });
    expect(job.failureMessage).toContain('***');
    // The port may be 34711, which contains a part of the secret.
    const said = `${job.failureMessage}${texts.join()}`.replaceAll(host, '');
    expect(said).not.toMatch(/4711|711.{1,4}x|esame|NDcx|0NzEx|Q3MT/);
  }
});

test('a header sealed with a key that this process lacks fails the job as a fault of the platform', async () => {
  const { job } = await ended('http://127.0.0.1:1/', { sealer: createSealer(Buffer.alloc(32, 1)) });
  expect(job).toMatchObject({ failureReason: 'SYSTEM', failureMessage: expect.stringContaining('SECRET_KEYS_OLD') });
});

test('a heartbeat of a metadata address fails and says why', async () => {
  for (const endpoint of ['http://169.254.169.254/', 'http://[fd00:ec2::254]/', 'http://2852039166/']) {
    const { job } = await ended(endpoint);
    expect(job).toMatchObject({
      failureReason: 'CHECK_FAILED',
      failureMessage: expect.stringContaining('HEARTBEAT_ALLOW'),
    });
  }
});
