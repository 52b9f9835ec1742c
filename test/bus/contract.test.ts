import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../platform/bus/bus.ts';
import { brokers, dropTopics, gather, kafkaBus, keysOfDifferentPartitions, memoryBus, messages } from './support.ts';

afterAll(dropTopics);

describe.each([
  { name: 'in process', make: memoryBus, missing: false },
  { name: 'on Kafka', make: kafkaBus, missing: brokers === undefined },
])('the bus $name', ({ make, missing }) => {
  let bus: Bus;
  const open = async () => {
    bus = await make();
    return bus;
  };
  afterEach(() => bus?.close());

  test.skipIf(missing)('gives a group what was published, even before its first member joined', async () => {
    const { publish, consume } = await open();
    const got = gather();
    await publish('workflows', messages('before'));
    await consume({ topic: 'workflows', group: 'g', concurrency: 1, onBatch: async (batch) => got.add(...batch) });
    await publish('workflows', messages('after'));
    await got.until((all) => all.includes('before') && all.includes('after'));
    expect(got.arrived.toSorted()).toEqual(['after', 'before']);
  });

  test.skipIf(missing)('keeps messages of one key in one partition and in order', async () => {
    const { publish, consume, partitionOf } = await open();
    const got = gather();
    await consume({ topic: 'job_logs', group: 'g', concurrency: 12, onBatch: async (batch) => got.add(...batch) });
    const numbers = Array.from({ length: 200 }, (_, n) => n);
    await Promise.all(
      numbers.map((n) => publish('job_logs', [{ key: `job ${n % 3}`, value: Buffer.from(`${n % 3} ${n}`) }])),
    );
    await got.until((all) => all.length >= 200);
    for (const job of ['0', '1', '2']) {
      const own = got.arrived.filter((text) => text.startsWith(`${job} `)).map((text) => Number(text.slice(2)));
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
    expect(await partitionOf('job_logs', 'job 0')).toBe(await partitionOf('job_logs', 'job 0'));
  });

  test.skipIf(missing)('gives every group each message', async () => {
    const { publish, consume } = await open();
    const [first, second] = [gather(), gather()];
    await consume({ topic: 'workflows', group: 'a', concurrency: 4, onBatch: async (batch) => first.add(...batch) });
    await consume({ topic: 'workflows', group: 'b', concurrency: 4, onBatch: async (batch) => second.add(...batch) });
    const texts = Array.from({ length: 50 }, (_, n) => `${n}`);
    await publish('workflows', messages(...texts));
    await first.until((all) => texts.every((text) => all.includes(text)));
    await second.until((all) => texts.every((text) => all.includes(text)));
  });

  test.skipIf(missing)('divides the partitions between the members of a group', async () => {
    const { publish, consume, partitionOf } = await open();
    const byMember = new Map<string, string[]>();
    const got = gather();
    const member = (name: string) =>
      consume({
        topic: 'workflows',
        group: 'g',
        concurrency: 12,
        onBatch: async (batch) => {
          byMember.set(name, [...(byMember.get(name) ?? []), ...batch.map(String)]);
          got.add(...batch);
        },
      });
    await member('one');
    await member('two');
    const keys = await keysOfDifferentPartitions({ partitionOf }, 12);
    for (let round = 0; byMember.size < 2 && round < 100; round += 1) {
      // One member has all partitions until the broker has divided them.
      const count = got.arrived.length;
      await publish(
        'workflows',
        keys.map((key) => ({ key, value: Buffer.from(key) })),
      );
      await got.until((all) => all.length >= count + 12);
    }
    expect([...byMember.keys()].toSorted()).toEqual(['one', 'two']);
  });

  test.skipIf(missing)(
    'delivers a batch again if its handler rejects, and nothing of its partition before',
    async () => {
      const { publish, consume } = await open();
      const got = gather();
      let tries = 0;
      await consume({
        topic: 'job_logs',
        group: 'g',
        concurrency: 1,
        onBatch: async (batch) => {
          tries += 1;
          if (tries < 3) throw new Error('The database is away.');
          got.add(...batch);
        },
      });
      const published = publish('job_logs', [{ key: 'k', value: Buffer.from('1') }]);
      await publish('job_logs', [{ key: 'k', value: Buffer.from('2') }]);
      await published;
      await got.until((all) => all.length >= 2);
      expect(got.arrived).toEqual(['1', '2']);
      expect(tries).toBeGreaterThanOrEqual(3);
    },
  );

  test.skipIf(missing)(
    'continues with other partitions while a handler is blocked, and makes it give up at close',
    async () => {
      const { publish, consume, partitionOf } = await open();
      const got = gather();
      const [blocked = '', free = ''] = await keysOfDifferentPartitions({ partitionOf }, 2);
      const consumer = await consume({
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
      await publish('workflows', [{ key: blocked, value: Buffer.from('blocks') }]);
      await got.until((all) => all.includes('blocks'));
      for (const text of ['1', '2', '3']) {
        await publish('workflows', [{ key: free, value: Buffer.from(text) }]);
        await got.until((all) => all.includes(text));
      }
      expect(got.arrived).toEqual(['blocks', '1', '2', '3']);
      await consumer.close();
      expect(got.arrived).toContain('gave up');
    },
  );

  test.skipIf(missing)('keeps what a member returned for the next one', async () => {
    const { publish, consume } = await open();
    const got = gather();
    const first = await consume({
      topic: 'workflows',
      group: 'g',
      concurrency: 1,
      onBatch: async (_batch, signal) => {
        got.add('started');
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
    await publish('workflows', messages('hint'));
    await got.until((all) => all.includes('started'));
    await first.close();
    await consume({ topic: 'workflows', group: 'g', concurrency: 1, onBatch: async (batch) => got.add(...batch) });
    await got.until((all) => all.includes('hint'));
  });

  test.skipIf(missing)(
    'shows a follower only the watched partitions, from the watch on, until the last unwatch',
    async () => {
      const { publish, tail, partitionOf } = await open();
      const got = gather();
      const [seen = '', unseen = ''] = await keysOfDifferentPartitions({ partitionOf }, 2);
      const send = (key: string, text: string) => publish('job_logs', [{ key, value: Buffer.from(text) }]);
      const follower = await tail({
        topic: 'job_logs',
        onMessage: (value) => got.add(value),
        onGap: () => got.add('gap'),
      });
      await send(seen, 'too early');
      await follower.watch(seen);
      await follower.watch(seen);
      await send(unseen, 'of another partition');
      await send(seen, '1');
      await got.until((all) => all.includes('1'));
      follower.unwatch(seen);
      await send(seen, '2');
      await got.until((all) => all.includes('2'));
      follower.unwatch(seen);
      await send(seen, 'too late');
      await follower.watch(unseen);
      await send(unseen, '3');
      await got.until((all) => all.includes('3'));
      expect(got.arrived).toEqual(['1', '2', '3']);
      await follower.close();
    },
  );

  test.skipIf(missing)('reports that it is up, and refuses messages once it is closed', async () => {
    const own = await make();
    bus = own;
    expect(await own.isUp()).toBe(true);
    await own.close();
    expect(await own.isUp()).toBe(false);
    await expect(own.publish('workflows', messages('late'))).rejects.toThrow('closed');
  });
});
