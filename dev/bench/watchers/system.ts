import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import pino from 'pino';
import { z } from 'zod';
import { createDemoClient } from '../../../bin/demo-client.ts';
import { migrate } from '../../../db/migrate/migrate.ts';
import { jobs } from '../../../db/schema.ts';
import { newId } from '../../../domain/ids.ts';
import type { Bus } from '../../../platform/bus/bus.ts';
import { createKafkaBus } from '../../../platform/bus/kafka.ts';
import type { Cache } from '../../../platform/cache/cache.ts';
import { createRedisCache } from '../../../platform/cache/redis.ts';
import { type BenchDatabase, benchDatabase } from '../database.ts';
import { type BenchProcess, startProcess } from '../processes.ts';

/** One api process and the worker that stores lines, on real servers. */
export interface System {
  database: BenchDatabase;
  bus: Bus;
  cache: Cache;
  port: number;
  api: BenchProcess;
  /** Ends the api and starts another one on the same port. */
  restartApi(): Promise<void>;
  /** The owner of everything. */
  user: { id: string; token: string };
  signUp(): Promise<{ id: string; token: string }>;
  stop(): Promise<void>;
}

const PLENTY = '30000';

export async function startSystem(): Promise<System> {
  const database = await benchDatabase('watchers');
  await migrate(database.url);
  const prefix = `cvbench${process.pid}.`;
  const port = await freePort();
  const names = ['CONNECTIONS', 'WEBSOCKETS', 'STREAMS'];
  const places = names.flatMap((name) => [`${name}_MAX`, `${name}_PER_ADDRESS_MAX`, `${name}_PER_USER_MAX`]);
  const env = {
    DATABASE_URL: database.url,
    KAFKA_TOPIC_PREFIX: prefix,
    REDIS_PREFIX: prefix,
    SECRET_KEY: '00'.repeat(32),
    SIGN_UP: 'open',
    PORT: String(port),
    ...Object.fromEntries(places.map((name) => [name, PLENTY])),
  };
  const log = pino({ level: 'silent' });
  const startApi = () => startProcess(['api'], env, { inspect: true });
  let api = await startApi();
  const joblogs = await startProcess(['worker', 'joblogs'], env);
  const bus = await createKafkaBus({
    brokers: (process.env.KAFKA_BROKERS ?? '').split(','),
    topicPrefix: prefix,
    clientId: 'chronoverse-bench',
    log,
  });
  const cache = await createRedisCache({ url: process.env.REDIS_URL ?? '', prefix, log });
  const signUp = async () => {
    const client = createDemoClient(api.url);
    const answer = await client.request(
      'mutation ($input: SignUpInput!) { signUp(input: $input) { token user { id } userErrors { message } } }',
      { input: { email: `${newId()}@example.com`, password: randomBytes(16).toString('hex') } },
      z.object({ signUp: z.object({ token: z.string(), user: z.object({ id: z.string() }) }) }),
    );
    await client.close();
    return { id: answer.signUp.user.id, token: answer.signUp.token };
  };
  return {
    database,
    bus,
    cache,
    port,
    get api() {
      return api;
    },
    async restartApi() {
      await api.stop();
      api = await startApi();
    },
    user: await signUp(),
    signUp,
    async stop() {
      await bus.close();
      await cache.close();
      await joblogs.stop();
      await api.stop();
      await database.close();
    },
  };
}

/** Running jobs of the user, which print only what a benchmark prints in their names. */
export async function runningJobs({ database }: System, userId: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => newId());
  await database.db.insert(jobs).values(
    ids.map((id) => ({
      id,
      workflowId: newId(),
      userId,
      kind: 'CONTAINER' as const,
      trigger: 'MANUAL' as const,
      status: 'RUNNING' as const,
      generation: 1,
      attempt: 1,
      scheduledAt: new Date(),
      startedAt: new Date(),
      leaseToken: newId(),
      leaseOwner: 'bench',
      leaseExpiresAt: new Date(Date.now() + 3_600_000),
    })),
  );
  return ids;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  return address.port;
}
