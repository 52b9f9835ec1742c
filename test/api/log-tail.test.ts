import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Frame, Sink } from '../../api/live/frame.ts';
import type { Batch } from '../../api/logs/batch.ts';
import { RecentLines } from '../../api/logs/recent.ts';
import { SharedChunk } from '../../api/logs/store.ts';
import type { Departure, Member } from '../../api/logs/tail.ts';
import { Tails } from '../../api/logs/tails.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import { Signal } from '../../platform/async/signal.ts';

/** A log whose batches the test gives. */
function sourceOf() {
  const batches: Batch[] = [];
  const wake = new Signal();
  let isOver = false;
  let isReturned = false;
  const source = cancellable<Batch>(async function* (signal) {
    try {
      while (!signal.aborted) {
        const next = batches.shift();
        if (next) yield next;
        else if (isOver) return;
        else await wake.wait(signal);
      }
    } finally {
      isReturned = true;
    }
  });
  return {
    source,
    give(firstNumber: number, lastNumber: number) {
      batches.push(batchOf(firstNumber, lastNumber));
      wake.notify();
    },
    end() {
      isOver = true;
      wake.notify();
    },
    isReturned: () => isReturned,
  };
}

function batchOf(firstNumber: number, lastNumber: number): Batch {
  const chunk = new SharedChunk({ sourceId: 'a', attempt: 1, firstNumber, lastNumber, lines: Buffer.alloc(0) });
  return { slices: [{ chunk, from: firstNumber }], firstNumber, lastNumber };
}

/** A member whose connection the test fills and drains. */
function memberAt(next: number) {
  const sent: string[] = [];
  const departures: Departure[] = [];
  const waiting: (() => void)[] = [];
  let isFull = false;
  const sink: Sink = {
    get isFull() {
      return isFull;
    },
    send: ({ json }) => void sent.push(String(json)),
    onceDrained: (run) => void waiting.push(run),
  };
  const member: Member = { sink, next, depart: (how) => void departures.push(how) };
  const drain = () => {
    isFull = false;
    for (const run of waiting.splice(0)) run();
  };
  return { member, sent, departures, fill: () => (isFull = true), drain };
}

const turns = async () => {
  for (let n = 0; n < 10; n += 1) await turn();
};

describe('the tail of a log', () => {
  function tailFrom(
    next: number,
    frameOf: (batch: Batch) => Partial<Frame> | Error | undefined = () => ({}),
    recent?: RecentLines,
    { tails = new Tails(), key = 'key' } = {},
  ) {
    for (let number = 1; recent && number < next; number += 1) recent.add(batchOf(number, number));
    const log = sourceOf();
    const rendered: string[] = [];
    const render = async ({ firstNumber, lastNumber }: Batch) => {
      const name = `${firstNumber}-${lastNumber}`;
      rendered.push(name);
      const made = frameOf({ slices: [], firstNumber, lastNumber });
      if (made instanceof Error) throw made;
      return made && { json: Buffer.from(name), hasErrors: false, ...made };
    };
    const tail = tails.begin(key, log.source, { pending: log.source.next(), next, recent, render });
    return { ...log, rendered, tails, tail };
  }

  test('makes each frame once, and sends each member what it lacks', async () => {
    const { tail, tails, give, end, rendered } = tailFrom(1);
    const [one, ahead, late] = [memberAt(1), memberAt(5), memberAt(2)];
    tail.join(one.member);
    tail.join(ahead.member);
    give(1, 3);
    await turns();
    tail.join(late.member); // within the frame that was sent last
    await turns();
    give(4, 6);
    await turns();
    give(7, 7);
    await turns();
    expect(one.sent).toEqual(['1-3', '4-6', '7-7']);
    expect(ahead.sent).toEqual(['5-6', '7-7']);
    expect(late.sent).toEqual(['2-3', '4-6', '7-7']);
    expect(rendered.filter((name) => !['2-3', '5-6'].includes(name))).toEqual(['1-3', '4-6', '7-7']);
    expect(tails.find('key', 8)).toBe(tail);
    end();
    await turns();
    for (const { departures } of [one, ahead, late]) expect(departures).toEqual(['DONE']);
    expect(tails.find('key', 8)).toBeUndefined();
  });

  test('passes over a member whose connection is full, and dismisses it when it is far behind', async () => {
    const { tail, give } = tailFrom(1);
    const [fast, slow, stuck] = [memberAt(1), memberAt(1), memberAt(1)];
    for (const { member } of [fast, slow, stuck]) tail.join(member);
    slow.fill();
    stuck.fill();
    for (let number = 1; number <= 10; number += 1) {
      give(number, number);
      await turns();
    }
    expect([fast.sent.length, slow.sent.length]).toEqual([10, 0]);
    slow.drain();
    expect(slow.sent).toEqual(fast.sent);
    for (let number = 11; number <= 200; number += 1) {
      give(number, number);
      await turns();
    }
    stuck.drain();
    expect([stuck.sent, stuck.departures, stuck.member.next]).toEqual([[], ['ALONE'], 1]);
    await expect.poll(() => slow.sent.length).toBe(200);
    expect(slow.departures).toEqual([]);
  });

  test('sends who comes back the recent lines, in frames that all of the same place share', async () => {
    const recent = new RecentLines();
    const { tail, tails, give, rendered } = tailFrom(301, () => ({}), recent);
    const first = memberAt(301);
    tail.join(first.member);
    expect(tails.find('key', 0)).toBeUndefined();
    expect(tails.find('key', 2)).toBe(tail);
    const later = Array.from({ length: 100 }, (_, n) => memberAt(n % 2 === 0 ? 1 : 3));
    for (const { member } of later) tail.join(member);
    give(301, 302);
    await turns();
    await expect.poll(() => later.every(({ member }) => member.next === 303)).toBe(true);
    for (const { sent, departures } of later) {
      expect(sent[0]).toMatch(/^[13]-/);
      expect(sent.at(-1)).toBe('301-302');
      expect(departures).toEqual([]);
    }
    expect(new Set(later.map(({ sent }) => sent.join()))).toEqual(
      new Set(['1-256,257-300,301-302', '3-258,259-300,301-302']),
    );
    expect(rendered).toHaveLength(5);
  });

  test('takes over what a member that joins has read before', async () => {
    const { tail, tails } = tailFrom(101);
    const read = new RecentLines();
    for (let number = 41; number <= 90; number += 1) read.add(batchOf(number, number));
    tail.join(memberAt(101).member, read);
    expect(tails.find('key', 41)).toBeUndefined(); // lines 91 to 100 are missing
    for (let number = 91; number <= 100; number += 1) read.add(batchOf(number, number));
    tail.join(memberAt(101).member, read);
    const late = memberAt(41);
    expect(tails.find('key', 41)).toBe(tail);
    tail.join(late.member);
    await expect.poll(() => late.sent).toEqual(['41-100']);
  });

  test('and those of other logs keep no more than their bound together, and lose nobody', async () => {
    const tails = new Tails({ keptBytesMax: 20_000 });
    const first = tailFrom(21, () => ({}), new RecentLines(), { tails, key: 'first' });
    const [stuck, fast] = [memberAt(21), memberAt(21)];
    for (const { member } of [stuck, fast]) first.tail.join(member);
    stuck.fill();
    first.give(21, 21);
    await turns();
    expect(tails.find('first', 1)).toBe(first.tail);
    const second = tailFrom(41, () => ({}), new RecentLines(), { tails, key: 'second' });
    second.tail.join(memberAt(41).member); // with the lines of the first, that is too much
    expect([tails.find('first', 1), tails.find('first', 21), tails.find('second', 1)]).toEqual([
      undefined,
      undefined,
      second.tail,
    ]);
    first.give(22, 22);
    await turns();
    stuck.drain();
    expect([fast.sent, fast.departures]).toEqual([['21-21', '22-22'], []]);
    expect([stuck.sent, stuck.departures, stuck.member.next]).toEqual([[], ['ALONE'], 21]);
    const lead = tails.lead('third');
    for (let number = 1; number <= 41; number += 1) lead.add(batchOf(number, number));
    expect([lead.recent?.first, tails.find('second', 1)]).toEqual([1, undefined]);
    lead.end();
  });

  test('P4: sends each member every line from its place on once, while others join, leave, fill and drain', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ give: fc.integer({ min: 1, max: 4 }) }) },
      { weight: 3, arbitrary: fc.record({ join: fc.integer({ min: 0, max: 12 }) }) },
      { weight: 2, arbitrary: fc.record({ fill: fc.nat(20) }) },
      { weight: 3, arbitrary: fc.record({ drain: fc.nat(20) }) },
      { weight: 1, arbitrary: fc.record({ leave: fc.nat(20) }) },
      { weight: 1, arbitrary: fc.constant({ forget: true }) },
      { weight: 3, arbitrary: fc.record({ turns: fc.integer({ min: 0, max: 5 }) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async (steps) => {
        const { tail, tails, give } = tailFrom(21, () => ({}), new RecentLines());
        const members: (ReturnType<typeof memberAt> & { from: number })[] = [];
        let last = 20;
        const join = (from: number) => {
          if (tails.find('key', from) !== tail) return;
          const made = { ...memberAt(from), from };
          members.push(made);
          tail.join(made.member);
        };
        const left = new Set<Member>();
        const leave = (one: (typeof members)[number] | undefined) => {
          if (!one) return;
          left.add(one.member);
          tail.leave(one.member);
        };
        join(21);
        for (const one of steps) {
          if ('give' in one) {
            give(last + 1, last + one.give);
            last += one.give;
          } else if ('join' in one) join(last + 2 - one.join);
          else if ('fill' in one) members[one.fill]?.fill();
          else if ('drain' in one) members[one.drain]?.drain();
          else if ('leave' in one) leave(members[one.leave]);
          else if ('forget' in one) tail.forget();
          else for (let n = 0; n < one.turns; n += 1) await turn();
        }
        const isServed = ({ member, from, departures, drain }: (typeof members)[number]) => {
          drain();
          return left.has(member) || departures.length > 0 || member.next === Math.max(from, last + 1);
        };
        await expect.poll(() => members.filter((one) => !isServed(one)), { interval: 1 }).toEqual([]);
        for (const { sent, from, member, departures } of members) {
          const ranges = sent.map((range) => range.split('-').map(Number));
          for (const [n, [first]] of ranges.entries())
            expect(first).toBe(n === 0 ? from : (ranges[n - 1]?.[1] ?? 0) + 1);
          expect(member.next).toBe((ranges.at(-1)?.[1] ?? from - 1) + 1);
          expect(departures.length).toBeLessThan(2);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('sends nothing to a connection that fills while a frame is made for it', async () => {
    const { tail, give } = tailFrom(1, () => ({}));
    const [one, late] = [memberAt(1), memberAt(3)];
    tail.join(one.member);
    give(1, 4);
    await turns();
    tail.join(late.member);
    late.fill(); // by another subscription of its socket
    await turns();
    expect(late.sent).toEqual([]);
    late.drain();
    await expect.poll(() => late.sent).toEqual(['3-4']);
  });

  test('lets one of those who come back read first, for a bounded time', async () => {
    const tails = new Tails();
    const lead = tails.lead('key');
    expect([tails.leadOf('key'), tails.leadOf('other')]).toEqual([lead, undefined]);
    await lead.over; // by itself, after a second
    expect([tails.leadOf('key'), lead.recent]).toEqual([undefined, undefined]);
    tails.lead('key').end();
    expect(tails.leadOf('key')).toBeUndefined();
  });

  test('goes at the pace of its only member, and is not joined by one that is far ahead', async () => {
    const { tail, tails, give, rendered } = tailFrom(1);
    const slow = memberAt(1);
    tail.join(slow.member);
    slow.fill();
    for (let number = 0; number < 100; number += 1) give(number * 100 + 1, number * 100 + 100);
    await turns();
    expect(rendered).toEqual(['1-100']);
    expect(tails.find('key', 10_001)).toBeUndefined();
    slow.drain();
    await expect.poll(() => slow.sent.length).toBe(100);
  });

  test.each([
    ['that is an answer with errors', { hasErrors: true }],
    ['that is thrown', new Error('no')],
  ])('ends with an error %s: each member goes on alone from its own place', async (_, failure) => {
    const { tail, tails, give, isReturned } = tailFrom(1, ({ firstNumber }) => (firstNumber > 1 ? failure : {}));
    const [one, other] = [memberAt(1), memberAt(2)];
    tail.join(one.member);
    tail.join(other.member);
    give(1, 1);
    await turns();
    give(2, 2);
    await turns();
    expect([one.departures, other.departures]).toEqual([['ALONE'], ['ALONE']]);
    expect([one.member.next, other.member.next]).toEqual([2, 2]);
    expect([isReturned(), tails.find('key', 2)]).toEqual([true, undefined]);
  });

  test('ends when the last member leaves, also while a frame is made or cut for it', async () => {
    for (const next of [1, 2]) {
      const { tail, tails, give, isReturned } = tailFrom(1);
      const only = memberAt(next);
      tail.join(only.member);
      give(1, 3);
      await Promise.resolve();
      tail.leave(only.member);
      await turns();
      expect([only.sent, only.departures, isReturned()]).toEqual([[], [], true]);
      expect(tails.find('key', 1)).toBeUndefined();
    }
  });

  test('passes over what has nothing to show', async () => {
    const { tail, give, end } = tailFrom(1, ({ firstNumber }) => (firstNumber === 2 ? undefined : {}));
    const one = memberAt(1);
    tail.join(one.member);
    for (const number of [1, 2, 3]) give(number, number);
    end();
    await turns();
    expect([one.sent, one.departures]).toEqual([['1-1', '3-3'], ['DONE']]);
  });
});
