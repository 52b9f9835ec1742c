import { Stream } from '../live/stoppable.ts';

/** So many at a time, in the order in which they came. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Resolves when it is the caller's turn, which lasts until `leave`. */
  async take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

/** `source` with each value changed by `map`, in turns. A turn lasts until the next value is asked for, which is when this one has been sent. */
export class TakingTurns<From, To> extends Stream<To> {
  readonly #source: AsyncIterator<From>;
  readonly #map: (value: From) => To | Promise<To>;
  readonly #turns: Turns;
  #hasTurn = false;
  #ended = false;

  constructor(source: AsyncIterable<From>, turns: Turns, map: (value: From) => To | Promise<To>) {
    super();
    this.#source = source[Symbol.asyncIterator]();
    this.#turns = turns;
    this.#map = map;
  }

  async next(): Promise<IteratorResult<To, void>> {
    this.#leave();
    const result = await this.#source.next();
    if (result.done) return { done: true, value: undefined };
    await this.#turns.take();
    this.#hasTurn = true;
    if (!this.#ended) return { done: false, value: await this.#map(result.value) };
    this.#leave();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<To, void>> {
    this.#ended = true;
    this.#leave();
    await this.#source.return?.();
    return { done: true, value: undefined };
  }

  #leave(): void {
    if (this.#hasTurn) this.#turns.leave();
    this.#hasTurn = false;
  }
}
