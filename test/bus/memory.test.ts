import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../platform/bus/bus.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import { gather, log, memoryBus, messages } from './support.ts';

describe('the bus in process', () => {
  let bus: Bus;
  afterEach(() => bus?.close());

  test('blocks a publisher of lines until every group has handled them', async () => {
    bus = await memoryBus();
    const got = gather();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await bus.consume({ topic: 'job_logs', group: 'quick', concurrency: 1, onBatch: async () => got.add('quick') });
    await bus.consume({ topic: 'job_logs', group: 'slow', concurrency: 1, onBatch: () => held });
    const published = bus.publish('job_logs', messages('line')).then(() => got.add('published'));
    await got.until((all) => all.includes('quick'));
    expect(got.arrived).toEqual(['quick']);
    release();
    await published;
    expect(got.arrived).toEqual(['quick', 'published']);
  });

  test('accepts lines at once if nobody consumes them', async () => {
    bus = await memoryBus();
    await bus.publish('job_logs', messages('line'));
  });

  test('rejects waiting publishers when it closes', async () => {
    bus = await memoryBus();
    const got = gather();
    await bus.consume({
      topic: 'job_logs',
      group: 'g',
      concurrency: 1,
      onBatch: (_batch, signal) => {
        got.add('started');
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      },
    });
    const published = bus.publish('job_logs', messages('line'));
    const refused = expect(published).rejects.toThrow('closed');
    await got.until((all) => all.includes('started'));
    await bus.close();
    await refused;
  });

  test('drops the oldest events if too many wait, and logs that once', async () => {
    const lines: string[] = [];
    bus = createMemoryBus({
      log: pino({ level: 'warn' }, { write: (line: string) => lines.push(JSON.parse(line).msg) }),
    });
    const got = gather();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await bus.consume({
      topic: 'workflows',
      group: 'g',
      concurrency: 1,
      onBatch: async (batch) => {
        await held;
        got.add(...batch);
      },
    });
    const last = 9_999;
    for (let n = 0; n <= last; n += 1) await bus.publish('workflows', [{ key: 'k', value: Buffer.from(`${n}`) }]);
    release();
    await got.until((all) => all.includes(`${last}`));
    expect(got.arrived.length).toBeLessThan(last);
    expect(got.arrived.slice(-100)).toEqual(Array.from({ length: 100 }, (_, n) => `${last - 99 + n}`));
    expect(lines).toEqual([expect.stringContaining('the oldest are dropped')]);
  });

  test('continues if a follower throws', async () => {
    bus = createMemoryBus({ log });
    const got = gather();
    const bad = await bus.tail({
      topic: 'job_logs',
      onMessage: () => {
        throw new Error('a fault of ours');
      },
      onGap: () => {},
    });
    const good = await bus.tail({ topic: 'job_logs', onMessage: (value) => got.add(value), onGap: () => {} });
    await bad.watch('k');
    await good.watch('k');
    await bus.publish('job_logs', [{ key: 'k', value: Buffer.from('1') }]);
    await got.until((all) => all.includes('1'));
  });
});
