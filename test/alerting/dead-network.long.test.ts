import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { users } from '../../db/schema.ts';
import { newSigningSecret } from '../../domain/alerts/config.ts';
import { DEFAULT_ALERT_EVENTS } from '../../domain/alerts/states.ts';
import { startAlerting } from '../../workers/alerting/worker.ts';
import { missing, runOn } from '../heartbeat/namespace.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { memoryParts } from '../support/workers.ts';
import type { Task } from './dead-network.ts';
import { stub } from './messages.ts';
import { channel } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  await database.db.update(users).set({ administrator: true }).where(eq(users.id, ann));
});
afterAll(() => database.close());

/** The path of a unix socket that leads to the database. */
async function socketToDatabase(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cv-'));
  const { hostname: host, port } = new URL(database.url);
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), host);
    for (const one of [client, upstream]) one.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 'db'), resolve));
  onTestFinished(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });
  return join(folder, 'db');
}

describe.skipIf(missing)('workers on a machine whose network is dead', () => {
  test('alert an administrator once that checks of many hosts fail, and once that hosts are reached again', async () => {
    const { db } = database;
    const receiver = await stub();
    await channel(db, ann, {
      events: [...DEFAULT_ALERT_EVENTS],
      target: { kind: 'WEBHOOK', url: receiver.url, secrets: [newSigningSecret()] },
    });
    const alerting = await startAlerting(memoryParts(db));
    onTestFinished(() => alerting.close());

    const task: Task = {
      ...{ url: database.url, socket: await socketToDatabase(), userId: ann },
      dead: Array.from({ length: 6 }, (_, n) => `tcp://10.72.0.${n + 1}:80`),
      alive: 'tcp://10.60.0.1:80',
    };
    const router = 'ip addr add 10.60.0.1/24 dev lo\nip route add blackhole 10.72.0.0/16';
    const reasons = JSON.parse(await runOn({ router }, 'test/alerting/dead-network.ts', JSON.stringify(task)));
    expect(reasons).toEqual(task.dead.map(() => 'SYSTEM'));

    const received = () => receiver.received.map(({ body }) => JSON.parse(body));
    await expect.poll(received, { timeout: 10_000 }).toHaveLength(2);
    expect(received().map(({ type }) => type)).toEqual(['platform.outage', 'platform.recovered']);
    expect(received()[0].data).toMatchObject({
      title: `The network of ${hostname()} does not work`,
      reason: 'This machine reaches no host: the checks of many hosts fail at once.',
    });
  }, 90_000);
});
