import { randomBytes } from 'node:crypto';
import { eq } from 'drizzle-orm';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logCursor } from '../../api/logs/cursor.ts';
import { type Api, startApi } from '../../api/server.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { jobs } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { encodeChunks } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { createRedisCache } from '../../platform/cache/redis.ts';
import { brokers, dropTopics, kafkaBus, randomPrefix } from '../bus/support.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, numberedText, print } from '../support/lines.ts';
import { requirePart } from '../support/parts.ts';
import { testSealer } from '../support/workers.ts';
import { ask } from './download-client.ts';
import { codes, type Person, person, query, socketOf, taker } from './support.ts';

const redisUrl = requirePart('redis', 'two api processes that share a real Kafka and a real Redis');

/**
 * Two apis with their own connections, as in two processes, and a third process that does the work.
 */
describe.skipIf(redisUrl === undefined || brokers === undefined)('two apis over a real Kafka and a real Redis', () => {
  const log = pino({ level: 'silent' });
  const prefix = `test-${randomBytes(6).toString('hex')}:`;
  const topicPrefix = randomPrefix();
  const buses: Bus[] = [];
  const caches: Cache[] = [];
  let database: TestDatabase;
  let apis: Api[];
  let ann: Person;
  beforeAll(async () => {
    database = await testDatabase();
    for (let n = 0; n < 3; n += 1) {
      buses.push(await kafkaBus(topicPrefix));
      caches.push(await createRedisCache({ url: redisUrl ?? '', prefix, log }));
    }
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: false, maxJobSeconds: 60 };
    const pairs = buses.slice(0, 2).flatMap((bus, n) => {
      const cache = caches[n];
      return cache ? [{ bus, cache }] : [];
    });
    apis = await Promise.all(
      pairs.map((pair) => startApi({ ...pair, db: database.db, log, sealer: testSealer, settings })),
    );
    ann = await person(first());
  });
  afterAll(async () => {
    await Promise.all((apis ?? []).map((api) => api.close()));
    await Promise.all([...buses, ...caches].map((part) => part.close()));
    await database?.close();
    await dropTopics();
  });

  const nth = <T>(list: T[], n: number): T => {
    const found = list[n];
    if (found === undefined) throw new Error(`There is no part number ${n}.`);
    return found;
  };
  const first = () => nth(apis, 0);

  test('are healthy and report their parts', async () => {
    const { data } = await query(first(), '{ system { database bus cache docker } }', { token: ann.token });
    expect(data.system).toEqual({ database: 'UP', bus: 'UP', cache: 'UP', docker: 'ABSENT' });
  });

  test('deliver lines, states and the end of a job to the subscribers of each, as a worker publishes them', async () => {
    const id = await runningJob(database, ann);
    const clients = apis.map((api) => socketOf(api, ann.token));
    const logs = clients.map((client) =>
      taker(
        client.iterate<{ jobLogs: { text: string } }>({ query: `subscription { jobLogs(jobId: "${id}") { text } }` }),
      ),
    );
    const states = clients.map((client) =>
      taker(
        client.iterate<{ jobUpdated: { status: string } }>({
          query: `subscription { jobUpdated(jobId: "${id}") { status } }`,
        }),
      ),
    );
    for (const stream of states) expect((await stream.take()).data?.jobUpdated.status).toBe('RUNNING');

    const worker = { bus: nth(buses, 2), cache: nth(caches, 2) };
    for (let number = 1; number <= 20; number += 1) {
      const line = Buffer.from(formatLine('STDOUT', new Date().toISOString(), `line ${number}`));
      const chunk = { sourceId: id, attempt: 1, firstNumber: number, lastNumber: number, lines: line };
      await worker.bus.publish('job_logs', [{ key: id, value: encodeChunks([chunk]) }]);
      await insertChunks(database.db, [chunk]);
    }
    const ended = { status: 'COMPLETED' as const, completedAt: new Date(), leaseToken: null, logLineCount: 20 };
    await database.db.update(jobs).set(ended).where(eq(jobs.id, id));
    await worker.cache.publish(userChannel(ann.id), encodeChanged({ jobs: [id] }));

    const whole = Array.from({ length: 20 }, (_, n) => `line ${n + 1}\n`).join('');
    for (const stream of logs) expect((await stream.rest()).map(({ data }) => data?.jobLogs.text).join('')).toBe(whole);
    for (const stream of states)
      expect((await stream.rest()).map(({ data }) => data?.jobUpdated.status)).toEqual(['COMPLETED']);
    await Promise.all(clients.map((client) => client.dispose()));
  });

  test('serve a live download, which continues on one after the other has cut it', async () => {
    const worker = { db: database.db, bus: nth(buses, 2), cache: nth(caches, 2) };
    const [here, there] = [first(), nth(apis, 1)];
    const id = await runningJob(worker, ann);
    const follow = (api: Api, query = '', headers: Record<string, string> = {}) =>
      ask(api, `/logs/${id}?follow${query}`, { token: ann.token, headers });
    const whole = await follow(here);
    const cut = await follow(there, '', { accept: 'application/x-ndjson', 'accept-encoding': 'gzip' });
    for (let number = 1; number <= 5; number += 1) {
      await print(worker, await numberedChunk(id, number, number));
      await whole.endsWith(`line ${number} é\n`);
    }
    await cut.endsWith(`"cursor":"${logCursor(id, 5)}"}\n`);
    cut.leave();
    const cursor = /"cursor":"([\w-]+)"}\n$/.exec(cut.received())?.[1];
    const rest = await follow(here, `&after=${cursor}`);
    await print(worker, await numberedChunk(id, 6, 2_000));
    await endJob(worker, ann, id, 2_000);
    expect(await whole.whole()).toBe(numberedText(1, 2_000));
    expect(await rest.whole()).toBe(numberedText(6, 2_000));
  });

  test('share sessions and limits', async () => {
    const second = nth(apis, 1);
    expect((await query(second, '{ viewer { id } }', { token: ann.token })).data.viewer.id).toBe(ann.id);
    const signIn = 'mutation ($input: SignInInput!) { signIn(input: $input) { userErrors { code } } }';
    const input = { email: ann.email, password: 'wrong password' };
    const answers = [];
    for (let n = 0; n < 11; n += 1) answers.push(await query(nth(apis, n % 2), signIn, { variables: { input } }));
    expect(answers.map(codes).filter(([code]) => code === 'RATE_LIMITED')).toHaveLength(1);
    await query(first(), 'mutation { signOut { userErrors { code } } }', { token: ann.token });
    expect(codes(await query(second, '{ viewer { id } }', { token: ann.token }))).toEqual(['UNAUTHENTICATED']);
  });
});
