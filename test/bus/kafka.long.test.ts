import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../platform/bus/bus.ts';
import { createKafkaBus } from '../../platform/bus/kafka.ts';
import { brokers, dropTopics, gather, kafkaBus, keysOfDifferentPartitions, log, randomPrefix } from './support.ts';

afterAll(dropTopics);

/** Longer than the session of a member: by then the broker removes a member without heartbeats. */
const LONGER_THAN_SESSION_MS = 9_000;

describe.skipIf(brokers === undefined)('the bus on Kafka', () => {
  const buses: Bus[] = [];
  const open = async (prefix: string) => {
    const bus = await kafkaBus(prefix);
    buses.push(bus);
    return bus;
  };
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  test('never repeats a message that a member handled before it closed', async () => {
    const prefix = randomPrefix();
    const got = gather();
    const [first, second] = [await open(prefix), await open(prefix)];
    const consume = (bus: Bus, name: string) =>
      bus.consume({
        topic: 'workflows',
        group: 'g',
        concurrency: 4,
        onBatch: async (batch) => got.add(...batch.map((value) => `${name} ${value}`)),
      });
    const member = await consume(first, 'first');
    const keys = await keysOfDifferentPartitions(first, 12);
    await first.publish(
      'workflows',
      keys.map((key) => ({ key, value: Buffer.from(key) })),
    );
    await got.until((all) => keys.every((key) => all.includes(`first ${key}`)));
    await member.close();
    got.arrived.length = 0;
    await consume(second, 'second');
    await first.publish(
      'workflows',
      keys.map((key) => ({ key, value: Buffer.from('new') })),
    );
    await got.until((all) => all.length >= 12);
    expect(new Set(got.arrived)).toEqual(new Set(['second new']));
  });

  test('finds brokers by an IPv6 address', async () => {
    const [first = ''] = brokers ?? [];
    const colon = first.lastIndexOf(':');
    const server = createServer((client) => {
      const upstream = connect(Number(first.slice(colon + 1)), first.slice(0, colon));
      for (const socket of [client, upstream]) socket.on('error', () => undefined);
      client.pipe(upstream).pipe(client);
    }).listen(0, '::1');
    await once(server, 'listening');
    const at = server.address();
    const port = typeof at === 'object' && at !== null ? at.port : 0;
    const options = { topicPrefix: randomPrefix(), log, clientId: 'chronoverse-test' };
    const bus = await createKafkaBus({ ...options, brokers: [`[::1]:${port}`] });
    buses.push(bus);
    expect(await bus.isUp()).toBe(true);
    server.close();
  });

  test('keeps a member whose handler is blocked, and gives it the other partitions', {
    timeout: 60_000,
  }, async () => {
    const bus = await open(randomPrefix());
    const got = gather();
    const [blocked = '', free = ''] = await keysOfDifferentPartitions(bus, 2);
    await bus.consume({
      topic: 'workflows',
      group: 'g',
      concurrency: 2,
      onBatch: async (batch, signal) => {
        got.add(...batch);
        if (!batch.some((value) => value.toString() === 'blocks')) return;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        got.add('gave up');
      },
    });
    await bus.publish('workflows', [{ key: blocked, value: Buffer.from('blocks') }]);
    const until = Date.now() + LONGER_THAN_SESSION_MS;
    for (let n = 0; Date.now() < until; n += 1) {
      await bus.publish('workflows', [{ key: free, value: Buffer.from(`${n}`) }]);
      await got.until((all) => all.includes(`${n}`));
    }
    expect(got.arrived.filter((text) => text === 'blocks')).toHaveLength(1);
    expect(got.arrived).not.toContain('gave up');
  });

  test('makes a handler give up when another member takes its partition, which then gets the batch', async () => {
    const prefix = randomPrefix();
    const got = gather();
    const [first, second] = [await open(prefix), await open(prefix)];
    const keys = await keysOfDifferentPartitions(first, 12);
    await first.consume({
      topic: 'workflows',
      group: 'g',
      concurrency: 12,
      onBatch: async (batch, signal) => {
        got.add(...batch.map((value) => `first ${value}`));
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        got.add(...batch.map((value) => `gave up ${value}`));
      },
    });
    await first.publish(
      'workflows',
      keys.map((key) => ({ key, value: Buffer.from(key) })),
    );
    await got.until((all) => keys.every((key) => all.includes(`first ${key}`)));
    const onBatch = async (batch: Buffer[]) => got.add(...batch.map((value) => `second ${value}`));
    await second.consume({ topic: 'workflows', group: 'g', concurrency: 12, onBatch });
    await got.until((all) => all.some((text) => text.startsWith('second ')));
    const taken = got.arrived.filter((text) => text.startsWith('second ')).map((text) => text.slice(7));
    await got.until((all) => taken.every((key) => all.includes(`gave up ${key}`)));
    const kept = keys.filter((key) => !got.arrived.includes(`gave up ${key}`));
    expect(kept.length).toBeGreaterThan(0);
    for (const key of kept) expect(got.arrived.filter((text) => text === `first ${key}`)).toHaveLength(1);
  });

  test('makes two processes agree on the partition of a key and follow each other', async () => {
    const prefix = randomPrefix();
    const got = gather();
    const [writer, reader] = [await open(prefix), await open(prefix)];
    for (const key of ['a', 'b', 'c']) {
      expect(await writer.partitionOf('job_logs', key)).toBe(await reader.partitionOf('job_logs', key));
    }
    const tail = await reader.tail({ topic: 'job_logs', onMessage: (value) => got.add(value), onGap: () => {} });
    await tail.watch('a');
    const lines = Array.from({ length: 50 }, (_, n) => `${n}`);
    for (const line of lines) await writer.publish('job_logs', [{ key: 'a', value: Buffer.from(line) }]);
    await got.until((all) => all.includes('49'));
    expect(got.arrived).toEqual(lines);
  });

  test('sends more at once than a broker accepts in one batch', async () => {
    const bus = await open(randomPrefix());
    const got = gather();
    const bytes = 300 * 1024;
    const chunks = Array.from({ length: 20 }, (_, n) => ({ key: 'k', value: Buffer.alloc(bytes, `${n % 10}`) }));
    await bus.publish('job_logs', chunks);
    const onBatch = async (batch: Buffer[]) => got.add(...batch.map((value) => `${value.length}`));
    await bus.consume({ topic: 'job_logs', group: 'g', concurrency: 1, onBatch });
    await got.until((all) => all.length >= 20);
    expect(new Set(got.arrived)).toEqual(new Set([`${bytes}`]));
  });
});

describe('the bus on Kafka without a broker', () => {
  test('is created anyway, rejects what it cannot send, and closes', async () => {
    const unused = createServer().listen(0, '127.0.0.1');
    await once(unused, 'listening');
    const address = unused.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    unused.close();
    await once(unused, 'close');
    const bus = await createKafkaBus({ brokers: [`127.0.0.1:${port}`], topicPrefix: '', log, clientId: 'test' });
    expect(await bus.isUp()).toBe(false);
    await expect(bus.publish('workflows', [{ value: Buffer.from('x') }])).rejects.toThrow();
    const consumer = bus.consume({ topic: 'workflows', group: 'g', concurrency: 1, onBatch: async () => {} });
    const refused = expect(consumer).rejects.toThrow('closed');
    await bus.close();
    await refused;
  });
});
