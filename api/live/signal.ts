/** One waiter that many may wake. A wake that comes while nobody waits is kept, so that none is lost. */
export class Signal {
  #woken = false;
  #resolve: (() => void) | undefined;

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /** Resolves at the next wake, when `signal` aborts, or after `timeoutMs`. */
  async wait(signal: AbortSignal, timeoutMs?: number): Promise<void> {
    if (this.#woken || signal.aborted) {
      this.#woken = false;
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    let abort: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
      abort = () => resolve();
      signal.addEventListener('abort', abort, { once: true });
      if (timeoutMs !== undefined) timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    if (abort) signal.removeEventListener('abort', abort);
    this.#resolve = undefined;
    this.#woken = false;
  }
}
