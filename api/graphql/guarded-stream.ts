import type { ExecutionResult, GraphQLError } from 'graphql';

export class GuardedStream implements AsyncGenerator<ExecutionResult, void, undefined> {
  readonly #source: AsyncIterator<ExecutionResult>;
  readonly #mask: (error: unknown) => GraphQLError;
  #ended: ExecutionResult[] | undefined;
  #waiting: ((result: IteratorResult<ExecutionResult, void>) => void) | undefined;
  #release: () => void = () => undefined;

  constructor(source: AsyncIterable<ExecutionResult>, mask: (error: unknown) => GraphQLError) {
    this.#source = source[Symbol.asyncIterator]();
    this.#mask = mask;
  }

  onEnd(release: () => void): void {
    this.#release = release;
  }

  /** Ends the stream now, with an error where one is given, whatever it waits for. */
  end(error?: GraphQLError): void {
    if (this.#ended) return;
    this.#ended = error ? [{ errors: [error] }] : [];
    this.#release();
    this.#waiting?.(this.#last());
    this.#source.return?.().catch((failed: unknown) => this.#mask(failed)); // which logs it
  }

  async next(): Promise<IteratorResult<ExecutionResult, void>> {
    if (this.#ended) return this.#last();
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#source.next().then(
        (result) => {
          this.#waiting = undefined;
          if (this.#ended) return;
          if (result.done) this.end();
          resolve(result.done ? this.#last() : { done: false, value: maskResult(result.value, this.#mask) });
        },
        (error: unknown) => {
          this.end(this.#mask(error)); // resolves what waits
        },
      );
    });
  }

  async return(): Promise<IteratorResult<ExecutionResult, void>> {
    this.end();
    return { done: true, value: undefined };
  }

  async throw(): Promise<IteratorResult<ExecutionResult, void>> {
    return this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #last(): IteratorResult<ExecutionResult, void> {
    this.#waiting = undefined;
    const value = this.#ended?.shift();
    return value ? { done: false, value } : { done: true, value: undefined };
  }
}

/** An error that is masked already stays as it is. */
export function maskResult(result: ExecutionResult, mask: (error: unknown) => GraphQLError): ExecutionResult {
  return result.errors ? { ...result, errors: result.errors.map(mask) } : result;
}
