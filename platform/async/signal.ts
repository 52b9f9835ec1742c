/**
 * A wake-up call for one waiter, from any number of senders. A call without a waiter is kept, so
 * that the next wait ends at once. It is a class because the api holds several for each subscriber.
 */
export class Signal {
  #pending = false;
  #resolve: (() => void) | undefined;

  /**
   * Ends the present wait, or the next one. It is bound, so that it can be passed as a callback.
   */
  readonly notify = (): void => {
    this.#pending = true;
    this.#resolve?.();
  };

  /**
   * Resolves at the next `notify`, when `signal` aborts, or after `timeoutMs`. Only one caller may
   * wait at a time.
   */
  async wait(signal: AbortSignal, timeoutMs?: number): Promise<void> {
    if (!this.#pending && !signal.aborted) await this.#next(signal, timeoutMs);
    this.#pending = false;
  }

  async #next(signal: AbortSignal, timeoutMs: number | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    let resolveWait = () => {};
    await new Promise<void>((resolve) => {
      resolveWait = resolve;
      this.#resolve = resolve;
      signal.addEventListener('abort', resolveWait);
      if (timeoutMs !== undefined) timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    signal.removeEventListener('abort', resolveWait);
    this.#resolve = undefined;
  }
}
