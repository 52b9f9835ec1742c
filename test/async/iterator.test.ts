import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { cancellable, EndableIterator, mapped } from '../../platform/async/iterator.ts';
import { Semaphore } from '../../platform/async/semaphore.ts';

/** Counts up to `last`, then waits only for its signal. */
function counting(last: number, onEnd: () => void = () => undefined) {
  return cancellable<number>(async function* (signal) {
    try {
      for (let n = 1; n <= last; n += 1) yield n;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    } finally {
      onEnd();
    }
  });
}

describe('a cancellable iterator', () => {
  test('ends at once when it is returned, even while it waits', async () => {
    let ended = 0;
    const source = counting(1, () => {
      ended += 1;
    });
    expect(await source.next()).toEqual({ done: false, value: 1 });
    const waiting = source.next();
    await source.return(undefined);
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(ended).toBe(1);
  });

  test('omits values that are mapped to nothing, and ends with its source', async () => {
    const even = mapped(counting(4), (n) => (n % 2 === 0 ? `${n}` : undefined));
    expect([(await even.next()).value, (await even.next()).value]).toEqual(['2', '4']);
    const waiting = even.next();
    await even.return(undefined);
    expect(await waiting).toEqual({ done: true, value: undefined });
  });

  test('holds its place until the next value or the end is requested', async () => {
    const semaphore = new Semaphore(1);
    const [one, other] = [counting(9), counting(9)].map((source) => mapped(source, (n) => n, semaphore));
    if (!one || !other) throw new Error('There are two.');
    await one.next();
    let hasCome = false;
    const waiting = other.next().then(() => {
      hasCome = true;
    });
    await turn();
    expect(hasCome).toBe(false);
    await one.return(undefined);
    await waiting;
  });
});

describe('an endable iterator', () => {
  const make = (last: number) => {
    const failures: unknown[] = [];
    let ends = 0;
    const stream = new EndableIterator<number | string>(counting(last), (error) => {
      failures.push(error);
      return 'failed';
    });
    stream.onEnd(() => {
      ends += 1;
    });
    return { stream, failures, ends: () => ends };
  };

  test('gives a waiting reader its last value, then the end', async () => {
    const { stream, ends } = make(0);
    const waiting = stream.next();
    stream.end('last');
    stream.end('too late');
    expect(await waiting).toEqual({ done: false, value: 'last' });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(ends()).toBe(1);
  });

  test('keeps the last value until it is requested', async () => {
    const { stream } = make(5);
    await stream.next();
    stream.end('last');
    expect(await stream.next()).toEqual({ done: false, value: 'last' });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test('turns a failure of its source into a value, and ends', async () => {
    const failing = mapped<number, string>(counting(1), () => Promise.reject(new Error('broken')));
    const failures: unknown[] = [];
    const stream = new EndableIterator<string>(failing, (error) => {
      failures.push(error);
      return 'failed';
    });
    expect(await stream.next()).toEqual({ done: false, value: 'failed' });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(failures).toEqual([new Error('broken')]);
  });
});
