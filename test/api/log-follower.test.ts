import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Batch } from '../../api/logs/batch.ts';
import { LogFollower } from '../../api/logs/follower.ts';
import { SharedChunk } from '../../api/logs/store.ts';
import { attemptMarker } from '../../domain/logs/chunk.ts';
import { plainText } from '../../domain/logs/decode.ts';
import { formatLine } from '../../domain/logs/encode.ts';

const chunk = (firstNumber: number, lastNumber: number, attempt = 1, epoch = attempt) =>
  new SharedChunk({
    sourceId: 'a',
    attempt,
    epoch,
    firstNumber,
    lastNumber,
    lines: Buffer.from(
      Array.from({ length: lastNumber - firstNumber + 1 }, (_, n) =>
        formatLine('STDOUT', 'T', String(firstNumber + n)),
      ).join(''),
    ),
  });

/** A store that receives chunks during the test. */
function storeOf(chunks: SharedChunk[] = []) {
  const sorted = () => [...chunks].sort((a, b) => a.firstNumber - b.firstNumber);
  return {
    chunks,
    reads: 0,
    async read(after: number, count: number): Promise<SharedChunk[]> {
      this.reads += 1;
      const holding = sorted().findLast((stored) => stored.firstNumber <= after + 1 && stored.lastNumber > after);
      return sorted()
        .filter((stored) => stored.firstNumber >= (holding?.firstNumber ?? after + 1))
        .slice(0, count);
    },
  };
}

async function textOf(batches: AsyncIterable<Batch>): Promise<string> {
  let text = '';
  for await (const { slices } of batches) {
    for (const { chunk: held, from } of slices) text += plainText(await held.lines(), from - held.firstNumber);
  }
  return text;
}

const now = async () => new Date();
const numbered = (count: number) => Array.from({ length: count }, (_, n) => `${n + 1}\n`).join('');

describe('a subscriber to a log', () => {
  test('whose source was ended by another process gets lines that were stored beyond the end in the row', async () => {
    const store = storeOf([chunk(1, 5), chunk(6, 9)]);
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    follower.ended({ lastNumber: 5, at: new Date() });
    expect(await textOf(follower.batches(new AbortController().signal))).toBe(numbered(9));
  });

  test('gets no lines of a frozen worker after another attempt has begun, unless they are stored', async () => {
    const store = storeOf([chunk(1, 5, 1)]);
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    follower.isAt(2);
    follower.push(chunk(6, 12, 1)); // the joblogs worker has dropped this chunk
    store.chunks.push(chunk(6, 9, 2));
    follower.ended({ lastNumber: 9, at: new Date() });
    expect(await textOf(follower.batches(new AbortController().signal))).toBe(numbered(9));
  });

  test('P4: waits while the store is away, and ends at once on request', async () => {
    const store = storeOf([chunk(1, 5), chunk(6, 9)]);
    let failures = 2;
    const follower = new LogFollower(0, {
      now,
      read: async (after, count) => {
        failures -= 1;
        if (failures >= 0) return undefined;
        return store.read(after, count);
      },
    });
    follower.ended({ lastNumber: 9, at: new Date() });
    expect(await textOf(follower.batches(new AbortController().signal))).toBe(numbered(9));

    const stop = new AbortController();
    const forEver = new LogFollower(0, {
      now,
      read: async () => {
        stop.abort();
        return undefined;
      },
    });
    expect(await textOf(forEver.batches(stop.signal))).toBe('');
  });

  test('P4: that began while the store is away continues with live chunks that follow its position', async () => {
    const store = storeOf([chunk(1, 5)]);
    let isAway = false;
    const follower = new LogFollower(0, {
      now,
      read: async (after, count) => (isAway ? undefined : store.read(after, count)),
    });
    const batches = follower.batches(new AbortController().signal);
    expect((await batches.next()).value).toMatchObject({ lastNumber: 5 });
    isAway = true;
    for (let number = 6; number <= 8; number += 1) {
      follower.readStore();
      const next = batches.next();
      follower.push(chunk(number, number));
      expect((await next).value).toMatchObject({ firstNumber: number, lastNumber: number });
    }
    await batches.return();
  });

  test('learns from an attempt marker on the bus, before the row changes, that later chunks may not count', async () => {
    const store = storeOf([chunk(1, 5, 1)]);
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    follower.isAt(1);
    const text = textOf(follower.batches(new AbortController().signal));
    // It has all stored lines and now waits for live chunks.
    await expect.poll(() => store.reads).toBe(2);
    follower.reached(attemptMarker('a', 2));
    follower.push(chunk(6, 12, 1));
    await expect.poll(() => store.reads).toBe(3);
    store.chunks.push(chunk(6, 9, 2));
    follower.push(chunk(6, 9, 2));
    follower.ended({ lastNumber: 9, at: new Date() });
    expect(await text).toBe(numbered(9));
  });

  test('takes no live chunk of the worker whose container another one has adopted in the same attempt', async () => {
    const store = storeOf([chunk(1, 5, 1)]);
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    const text = textOf(follower.batches(new AbortController().signal));
    await expect.poll(() => store.reads).toBe(2);
    follower.reached(attemptMarker('a', 2));
    follower.push(chunk(6, 12, 1));
    await expect.poll(() => store.reads).toBe(3);
    follower.push(chunk(6, 9, 1, 2));
    follower.ended({ lastNumber: 9, at: new Date() });
    store.chunks.push(chunk(6, 9, 1));
    expect(await text).toBe(numbered(9));
  });

  test('that does not read keeps a bounded number of chunks, and reads the store later', async () => {
    const store = storeOf();
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    const weak: WeakRef<SharedChunk>[] = [];
    for (let n = 0; n < 2_000; n += 1) {
      const next = chunk(n * 5 + 1, n * 5 + 5);
      follower.push(next);
      weak.push(new WeakRef(next));
      store.chunks.push(next);
    }
    follower.ended({ lastNumber: 10_000, at: new Date() });
    expect(await textOf(follower.batches(new AbortController().signal))).toBe(numbered(10_000));
    expect(store.reads).toBeLessThan(60); // reads get larger as long as chunks are small
  });

  test('that keeps up no longer reads the store', async () => {
    const store = storeOf();
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    const stop = new AbortController();
    const batches = follower.batches(stop.signal);
    for (let n = 0; n < 100; n += 1) {
      const next = batches.next();
      follower.push(chunk(n + 1, n + 1));
      expect((await next).value).toMatchObject({ firstNumber: n + 1, lastNumber: n + 1 });
    }
    expect(store.reads).toBeLessThanOrEqual(2);
    const waiting = batches.next();
    stop.abort();
    expect((await waiting).done).toBe(true);
  });

  test('stops waiting for lines that a log lost which ended long ago', async () => {
    const follower = new LogFollower(0, { now, read: async () => [] });
    follower.ended({ lastNumber: 10, at: new Date(Date.now() - 2 * 3_600_000) });
    expect(await textOf(follower.batches(new AbortController().signal))).toBe('');
  });

  test('P4: waits for lines of a log that has just ended, although this machine is two hours ahead of the database', async () => {
    const store = storeOf();
    const at = new Date(Date.now() - 2 * 3_600_000);
    const follower = new LogFollower(0, { now: async () => at, read: (after, count) => store.read(after, count) });
    follower.ended({ lastNumber: 5, at });
    const text = textOf(follower.batches(new AbortController().signal));
    await expect.poll(() => store.reads).toBeGreaterThan(2);
    store.chunks.push(chunk(1, 5));
    expect(await text).toBe(numbered(5));
  });

  test('P4: misses neither lines nor the end, whenever these come during its reads, in any order', async () => {
    // Events of the last chunk: L sends it live, S stores it, E ends the row. Each happens before,
    // during or after each of the first reads. Without L, the chunk was sent before the follower
    // joined.
    const orders = ['LSE', 'LES', 'SLE', 'SEL', 'ELS', 'ESL', 'SE', 'ES'];
    const instants = Array.from({ length: 7 }, (_, instant) => instant);
    for (const order of orders) {
      for (const [first, then] of instants.flatMap((a) => instants.filter((b) => b >= a).map((b) => [a, b] as const))) {
        const store = storeOf([chunk(1, 5)]);
        let instant = 0;
        const steps = { L: () => follower.push(last), S: () => store.chunks.push(last), E: () => follower.ended(end) };
        const [last, end] = [chunk(6, 9), { lastNumber: 9, at: new Date() }];
        const left = [...order].map((step) => steps[step as keyof typeof steps]);
        const pass = () => {
          if (instant === first) left.shift()?.();
          if (instant === then) for (const step of left.splice(0)) step();
          instant += 1;
        };
        const follower = new LogFollower(0, {
          now,
          read: async (after, count) => {
            pass();
            const chunks = await store.read(after, count);
            pass();
            return chunks;
          },
        });
        const text = textOf(follower.batches(new AbortController().signal));
        for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        while (left.length > 0) pass(); // events that are left because the follower waits
        expect([order, first, then, await text]).toEqual([order, first, then, numbered(9)]);
      }
    }
  });

  test('that learns of the end hours late, as after the machine slept, reads what was stored meanwhile', async () => {
    const store = storeOf([chunk(1, 5)]);
    const follower = new LogFollower(0, { now, read: (after, count) => store.read(after, count) });
    const text = textOf(follower.batches(new AbortController().signal));
    // The second read found nothing, and the follower waits.
    await expect.poll(() => store.reads).toBe(2);
    store.chunks.push(chunk(6, 9));
    follower.ended({ lastNumber: 9, at: new Date(Date.now() - 2 * 3_600_000) });
    expect(await text).toBe(numbered(9));
  });

  test('P4: gets every line once and in order, however chunks are divided, lost, repeated or late', async () => {
    const cut = fc.array(
      fc.tuple(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 3 }),
        fc.constantFrom('live', 'stored', 'both', 'twice'),
      ),
      {
        minLength: 1,
        maxLength: 30,
      },
    );
    await fc.assert(
      fc.asyncProperty(cut, fc.integer({ min: 0, max: 5 }), async (parts, after) => {
        const store = storeOf();
        const follower = new LogFollower(after, { now, read: (number, count) => store.read(number, count) });
        const batches = textOf(follower.batches(new AbortController().signal));
        let last = 0;
        const late: SharedChunk[] = [];
        for (const [size, overlap, way] of parts) {
          const next = chunk(Math.max(1, last + 1 - overlap), last + size);
          last = next.lastNumber;
          if (way !== 'stored') follower.push(next);
          if (way === 'twice') follower.push(next);
          if (way === 'live') late.push(next);
          else store.chunks.push(next);
          if (size % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        store.chunks.push(...late); // every chunk that was sent is stored in the end
        follower.ended({ lastNumber: last, at: new Date() });
        const expected = Array.from({ length: Math.max(0, last - after) }, (_, n) => `${after + n + 1}\n`).join('');
        expect(await batches).toBe(expected);
      }),
      { numRuns: 60 },
    );
  });
});
