import type { Semaphore } from './semaphore.ts';

/**
 * An async generator whose `return` ends it at once, even while it waits for its next value. (A
 * bare async generator handles `return` only at its next `yield`.) It has methods of a class, not
 * closures of each object, because the api holds several for each subscriber.
 */
export abstract class CancellableIterator<T> implements AsyncGenerator<T, void, undefined> {
  abstract next(): Promise<IteratorResult<T, void>>;
  abstract return(): Promise<IteratorResult<T, void>>;

  throw(): Promise<IteratorResult<T, void>> {
    return this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/** The values of a generator. Its signal aborts when the consumer returns. */
export function cancellable<T>(
  run: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  return new Cancellable(run);
}

class Cancellable<T> extends CancellableIterator<T> {
  readonly #controller = new AbortController();
  readonly #source: AsyncGenerator<T, void, undefined>;

  constructor(run: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>) {
    super();
    this.#source = run(this.#controller.signal);
  }

  next(): Promise<IteratorResult<T, void>> {
    return this.#source.next();
  }

  return(): Promise<IteratorResult<T, void>> {
    this.#controller.abort();
    return this.#source.return();
  }
}

type Map<From, To> = (value: From) => To | undefined | Promise<To | undefined>;

/**
 * `source` with `map` applied to each value. A value for which `map` gives undefined is left out.
 * It ends as promptly as `source` does. With a semaphore, each value holds a place while it is
 * made, and until the consumer asks for the next value: only then is the consumer done with it.
 */
export function mapped<From, To>(
  source: AsyncIterable<From>,
  map: Map<From, To>,
  semaphore?: Semaphore,
): AsyncGenerator<To, void, undefined> {
  return new Mapped(source, map, semaphore);
}

class Mapped<From, To> extends CancellableIterator<To> {
  readonly #source: AsyncIterator<From>;
  readonly #map: Map<From, To>;
  readonly #semaphore: Semaphore | undefined;
  #hasPlace = false;
  #isEnded = false;

  constructor(source: AsyncIterable<From>, map: Map<From, To>, semaphore: Semaphore | undefined) {
    super();
    this.#source = source[Symbol.asyncIterator]();
    this.#map = map;
    this.#semaphore = semaphore;
  }

  async next(): Promise<IteratorResult<To, void>> {
    for (;;) {
      this.#leave();
      const result = await this.#source.next();
      if (result.done) return DONE;
      if (this.#semaphore) {
        await this.#semaphore.acquire();
        this.#hasPlace = true;
      }
      if (this.#isEnded) {
        this.#leave();
        return DONE;
      }
      const value = await this.#map(result.value);
      if (value !== undefined) return { done: false, value };
    }
  }

  async return(): Promise<IteratorResult<To, void>> {
    this.#isEnded = true;
    this.#leave();
    await this.#source.return?.();
    return DONE;
  }

  #leave(): void {
    if (this.#hasPlace) this.#semaphore?.release();
    this.#hasPlace = false;
  }
}

/**
 * `source`, which its owner can end at any moment with a last value. A pending `next` gets that
 * value, and the end follows. If `source` fails, the last value is what `onFailure` makes from the
 * error. Only one `next` may wait at a time.
 */
export class EndableIterator<T> extends CancellableIterator<T> {
  readonly #source: AsyncIterator<T>;
  readonly #onFailure: (error: unknown) => T;
  #last: T[] | undefined;
  #waiting: ((result: IteratorResult<T, void>) => void) | undefined;
  #onEnd: () => void = () => undefined;

  constructor(source: AsyncIterable<T>, onFailure: (error: unknown) => T) {
    super();
    this.#source = source[Symbol.asyncIterator]();
    this.#onFailure = onFailure;
  }

  /** Sets the function to call once at the end, whatever its reason is. */
  onEnd(callback: () => void): void {
    this.#onEnd = callback;
  }

  /** Ends the stream now, whatever it waits for. Emits `last` before the end, if given. */
  end(last?: T): void {
    if (this.#last) return;
    this.#last = last === undefined ? [] : [last];
    this.#onEnd();
    this.#waiting?.(this.#takeLast());
    this.#source.return?.().catch((error: unknown) => this.#onFailure(error)); // it logs the error
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#last) return Promise.resolve(this.#takeLast());
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#source.next().then(
        (result) => {
          this.#waiting = undefined;
          if (this.#last) return;
          if (result.done) this.end();
          resolve(result.done ? this.#takeLast() : result);
        },
        (error: unknown) => this.end(this.#onFailure(error)), // resolves the waiting `next`
      );
    });
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.end();
    return DONE;
  }

  #takeLast(): IteratorResult<T, void> {
    this.#waiting = undefined;
    const value = this.#last?.shift();
    return value === undefined ? DONE : { done: false, value };
  }
}

const DONE: IteratorReturnResult<void> = { done: true, value: undefined };
