import { Signal } from '../../platform/async/signal.ts';
import { failure } from '../errors.ts';

/**
 * The rows that wait for one subscriber: of each the newest only, in the order in which they first changed. So a subscriber that
 * does not read costs no more than the rows it watches. Two readings of a row may come in the other order: `isOlder` tells.
 */
export class CoalescingQueue<Row extends { id: string }> {
  readonly #waiting = new Map<string, Row | undefined>();
  readonly #wake = new Signal();
  readonly #isOlder: (row: Row, than: Row) => boolean;
  #overflown = false;

  constructor(isOlder: (row: Row, than: Row) => boolean = () => false) {
    this.#isOlder = isOlder;
  }

  /** Undefined: the row is there no more. */
  put(id: string, row: Row | undefined): void {
    const waiting = this.#waiting.get(id);
    if (row && waiting && this.#isOlder(row, waiting)) return;
    if (!this.#waiting.has(id) && this.#waiting.size >= ROWS_MAX) this.#overflown = true;
    else this.#waiting.set(id, row);
    this.#wake.notify();
  }

  /** The next row, or undefined when `signal` has aborted. Throws where too many have changed for a subscriber that does not read. */
  async take(signal: AbortSignal): Promise<{ id: string; row: Row | undefined } | undefined> {
    while (!signal.aborted) {
      if (this.#overflown) {
        throw failure('UNAVAILABLE', `More than ${ROWS_MAX} rows have changed and were not read: subscribe again.`);
      }
      for (const [id, row] of this.#waiting) {
        this.#waiting.delete(id);
        return { id, row };
      }
      await this.#wake.wait(signal);
    }
    return undefined;
  }
}

const ROWS_MAX = 1_000;
