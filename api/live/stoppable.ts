/** Methods of the class, not closures of each object: an api holds several of these for each subscriber. */
export abstract class Stream<T> implements AsyncGenerator<T, void, undefined> {
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

class Stoppable<T> extends Stream<T> {
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

class Mapped<From, To> extends Stream<To> {
  readonly #source: AsyncGenerator<From, void, undefined>;
  readonly #map: (value: From) => To | undefined | Promise<To | undefined>;

  constructor(
    source: AsyncGenerator<From, void, undefined>,
    map: (value: From) => To | undefined | Promise<To | undefined>,
  ) {
    super();
    this.#source = source;
    this.#map = map;
  }

  async next(): Promise<IteratorResult<To, void>> {
    for (;;) {
      const result = await this.#source.next();
      if (result.done) return result;
      const value = await this.#map(result.value);
      if (value !== undefined) return { done: false, value };
    }
  }

  async return(): Promise<IteratorResult<To, void>> {
    await this.#source.return();
    return { done: true, value: undefined };
  }
}

/**
 * A stream that ends at once when it is returned, though it waits: `run` is given a signal that aborts then. (A bare async generator takes
 * `return` only when it comes to its next `yield`.)
 */
export function stoppable<T>(
  run: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  return new Stoppable(run);
}

/** `source` with each value changed by `map`, or left out where that gives undefined. It stops as promptly as `source` does. */
export function mapped<From, To>(
  source: AsyncGenerator<From, void, undefined>,
  map: (value: From) => To | undefined | Promise<To | undefined>,
): AsyncGenerator<To, void, undefined> {
  return new Mapped(source, map);
}
