import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Connection, connect } from '../../db/client.ts';
import { cleanUp, type Running } from '../support/processes.ts';
import { hasCommand, type OwnServer, ownPostgres, ownRedis } from '../support/servers.ts';
import { untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { randomOf } from './random.ts';
import { expectAll, type Followed, follow, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

const KILLS = 5;
const KILL_AFTER_MS_MAX = 1_000;
const REDIS_AWAY_MS = 3_000;

const untested = 'logs while PostgreSQL or Redis is killed';
const servers = requireServers(untested);
const hasRedis = servers !== undefined && (await hasCommand('redis-server', untested));
describe.skipIf(servers === undefined || !hasRedis)('a server that is killed and comes back', () => {
  let postgres: Awaited<ReturnType<typeof ownPostgres>>;
  let connection: Connection;
  let redis: OwnServer;
  let here: Installation;
  let url: string;
  let processes: Running[];
  beforeAll(async () => {
    if (servers === undefined || !hasRedis) return;
    postgres = await ownPostgres();
    redis = await ownRedis();
    await redis.start();
    connection = connect(postgres.url, { max: 3, application: 'chronoverse-test' });
    const database = { url: postgres.url, db: connection.db, close: async () => undefined };
    here = await openInstallation({ ...servers, redis: redis.address }, { database });
    const api = here.start('api');
    processes = [api, here.start('worker', 'scheduling', 'workflow'), here.start('worker', 'joblogs')];
    url = await api.ready();
    await Promise.all(processes.map((process) => process.ready()));
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
    await connection?.close();
    await redis?.close();
    await postgres?.close();
  });

  /** A job prints while `disturb` runs, with a subscriber, and must end normally. */
  async function printThrough(disturb: (jobId: string, followed: Followed) => Promise<void>): Promise<void> {
    const id = await here.create(printer(0));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const followed = nothingYet();
    const to = { url, token: here.token, jobId, transport: 'WEBSOCKET' } as const;
    const following = follow(to, followed); // one connection, which outlives the outages
    following.catch(() => undefined); // reported at the end
    await disturb(jobId, followed);
    await here.tell(jobId);
    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ status: 'COMPLETED', attempt: 1, exitCode: 0 });
    const lines = await here.lines(jobId);
    expect(lines).toHaveLength(job.logLineCount);
    expectWhole(lines);
    await following;
    expectAll(followed);
    await here.removed(jobId);
  }

  /** Waits until new lines are stored and have reached the subscriber. */
  async function works(jobId: string, followed: Followed): Promise<void> {
    const before = await whenBack(() => here.progress(jobId));
    await untilSlow(
      'lines are stored',
      async () => (await whenBack(() => here.progress(jobId))).stored > before.stored,
    );
    await untilSlow('lines are followed', async () => followed.last > before.stored);
  }

  function whenBack<T extends object>(ask: () => Promise<T>): Promise<T> {
    return untilSlow('the database answers', () => ask().catch(() => undefined));
  }

  test(`P4: PostgreSQL, ${KILLS} times while a container prints: the log is complete, and its subscriber gets all of it`, async () => {
    const random = randomOf('kills of PostgreSQL');
    await printThrough(async (jobId, followed) => {
      for (let kill = 1; kill <= KILLS; kill += 1) {
        await works(jobId, followed);
        await delay(random() * KILL_AFTER_MS_MAX);
        await postgres.kill();
      }
      await works(jobId, followed);
    });
    // Every process has survived.
    expect(processes.every(({ pid }) => process.kill(pid, 0))).toBe(true);
  }, 180_000);

  test(`P4: Redis, ${KILLS} times while a container prints: the log is complete, and its subscriber gets all of it`, async () => {
    const random = randomOf('kills of Redis');
    await printThrough(async (jobId, followed) => {
      for (let kill = 1; kill <= KILLS; kill += 1) {
        await works(jobId, followed);
        await delay(random() * KILL_AFTER_MS_MAX);
        await redis.kill();
        await works(jobId, followed); // lines do not need Redis
        await delay(random() * REDIS_AWAY_MS);
        await redis.start();
      }
      await works(jobId, followed);
    });
    expect(processes.every(({ pid }) => process.kill(pid, 0))).toBe(true);
  }, 180_000);
});
