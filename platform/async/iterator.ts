import type { Semaphore } from './semaphore.ts';

/**
 * An async generator whose `return` ends it at once, though it waits for its next value. (A bare
 * async generator takes `return` only when it comes to its next `yield`.) Methods of a class, not
 * closures of each object: the api holds several of these for each subscriber.
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

/** The values of a generator that is given a signal, which aborts when its consumer returns. */
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
 * `source` with each value changed by `map`, or left out where that gives undefined. It ends as
 * promptly as `source` does. With a semaphore, a value is made in a place of it, which is held
 * until the next value is asked for: that is when the consumer is done with this one.
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
 * `source`, which its owner can end at any moment with a last value: what waits for the next value
 * gets that one, and then the end. A source that fails ends with the value that `onFailure` makes
 * of the error. Only one `next` may wait at a time.
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

  /** Sets what is called once, at the end, whatever its reason is. */
  onEnd(callback: () => void): void {
    this.#onEnd = callback;
  }

  /** Ends the stream now, with the last value where one is given, whatever it waits for. */
  end(last?: T): void {
    if (this.#last) return;
    this.#last = last === undefined ? [] : [last];
    this.#onEnd();
    this.#waiting?.(this.#takeLast());
    this.#source.return?.().catch((error: unknown) => this.#onFailure(error)); // which logs it
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
        (error: unknown) => this.end(this.#onFailure(error)), // resolves what waits
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
