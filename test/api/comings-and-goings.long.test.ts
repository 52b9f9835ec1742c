import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Api, startApi } from '../../api/server.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import { randomOf } from '../faults/random.ts';
import { connectionsOf, descriptorsBut } from '../support/connections.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { frame, upgradeRequest } from '../support/frames.ts';
import { runningJob } from '../support/jobs.ts';
import { testSealer } from '../support/workers.ts';
import { type Person, person, socketOf, taker } from './support.ts';

const COMINGS = 20_000;
const FIRST = 2_000; // by then the process has compiled its code and filled its caches
const AT_ONCE = 100;
const TURNS_MAX = 12;
const BYTES_EACH_MAX = 500; // a socket that is not freed costs 4,500

let database: TestDatabase;
let bus: Bus;
let cache: Cache;
let api: Api;
let ann: Person;
let jobId: string;
/** The current subscriptions and watches, over all channels and keys. */
const open = { subscriptions: 0, watches: 0 };
const logged: string[] = [];

beforeAll(async () => {
  database = await testDatabase();
  const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
  bus = createMemoryBus({ log });
  cache = createMemoryCache();
  api = await startApi({
    db: database.db,
    bus: countingWatches(bus),
    cache: countingSubscriptions(cache),
    log,
    sealer: testSealer,
    settings: { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 86_400 },
  });
  ann = await person(api);
  jobId = await runningJob(database, ann);
});
afterAll(async () => {
  await api?.close();
  await bus?.close();
  await cache?.close();
  await database?.close();
});

test('20,000 WebSockets that connect and leave at every instant leave memory, descriptors, subscriptions and watched partitions unchanged', async () => {
  const random = randomOf('comings and goings');
  await comeAndGo(FIRST, random);
  const before = await settled();
  await comeAndGo(COMINGS, random);
  const after = await settled();
  expect(after.connections).toBe(0);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  expect(open).toEqual({ subscriptions: 0, watches: 0 });
  expect((after.bytes - before.bytes) / COMINGS).toBeLessThan(BYTES_EACH_MAX);
  const client = socketOf(api, ann.token);
  // Each socket has returned its place.
  expect(await taker(client.iterate({ query: '{ __typename }' })).rest()).toHaveLength(1);
  await client.dispose();
  expect(logged).toEqual([]);
}, 300_000); // takes half a minute on one core

/**
 * Each client leaves a few turns of the event loop after its last message, most of them by a reset.
 */
async function comeAndGo(count: number, random: () => number): Promise<void> {
  const port = Number(new URL(api.url).port);
  const init = frame(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));
  const wrong = frame(JSON.stringify({ type: 'connection_init', payload: { authorization: 'Bearer wrong' } }));
  const subscribe = (id: string, query: string) => frame(JSON.stringify({ type: 'subscribe', id, payload: { query } }));
  const subscriptions = Buffer.concat([
    subscribe('1', `subscription { jobLogs(jobId: "${jobId}") { text } }`),
    subscribe('2', 'subscription { workflowUpdated { id } }'),
  ]);
  const phases = [
    [upgradeRequest()],
    [upgradeRequest(), frame('{"type":"connection_init"}')],
    [upgradeRequest(), wrong],
    [upgradeRequest(), init],
    [upgradeRequest(), init],
    [upgradeRequest(), init, subscriptions],
  ];

  async function one(n: number): Promise<void> {
    const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${1 + (n % 250)}` });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined).resume();
    const [phase = []] = phases.slice(Math.floor(random() * phases.length));
    await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
    for (const piece of phase) {
      socket.write(piece);
      const turns = Math.floor(random() * TURNS_MAX);
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    if (random() < 0.8) socket.resetAndDestroy();
    else socket.destroy();
    await closed;
  }

  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) await one(next++);
    }),
  );
}

/** The state after the last client has left. */
async function settled() {
  await expect.poll(() => open, { timeout: 20_000 }).toEqual({ subscriptions: 0, watches: 0 });
  const descriptors = () => descriptorsBut(process.pid, Number(new URL(database.url).port));
  let last = -1;
  await expect
    .poll(
      async () => {
        const now = await descriptors();
        const isSame = now === last;
        last = now;
        return isSame;
      },
      { timeout: 20_000, interval: 500 },
    )
    .toBe(true);
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  for (let n = 0; n < 4; n += 1) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  const connections = await connectionsOf(process.pid, Number(new URL(api.url).port));
  return { connections, descriptors: last, bytes: heapUsed + external };
}

function countingSubscriptions(real: Cache): Cache {
  return {
    ...real,
    async subscribe(...args) {
      open.subscriptions += 1;
      const unsubscribe = await real.subscribe(...args);
      return () => {
        open.subscriptions -= 1;
        unsubscribe();
      };
    },
  };
}

function countingWatches(real: Bus): Bus {
  return {
    ...real,
    async tail(options) {
      const tail = await real.tail(options);
      return {
        close: () => tail.close(),
        async watch(key) {
          open.watches += 1;
          await tail.watch(key);
        },
        unwatch(key) {
          open.watches -= 1;
          tail.unwatch(key);
        },
      };
    },
  };
}
