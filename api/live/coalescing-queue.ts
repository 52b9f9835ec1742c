import { Signal } from '../../platform/async/signal.ts';
import { failure } from '../errors.ts';

/**
 * The rows that wait for one subscriber: only the newest state of each, in the order in which they
 * first changed. A subscriber that does not read costs no more than the rows that it watches. Two
 * reads of a row can arrive in the wrong order, which `isOlder` detects.
 */
export class CoalescingQueue<Row extends { id: string }> {
  readonly #waiting = new Map<string, Row | undefined>();
  readonly #wake = new Signal();
  readonly #isOlder: (row: Row, than: Row) => boolean;
  readonly #rowsMax: number;
  #overflown = false;

  constructor(isOlder: (row: Row, than: Row) => boolean = () => false, rowsMax = ROWS_MAX) {
    this.#isOlder = isOlder;
    this.#rowsMax = rowsMax;
  }

  /** Adds a row. Undefined means that it no longer exists. */
  put(id: string, row: Row | undefined): void {
    const waiting = this.#waiting.get(id);
    if (row && waiting && this.#isOlder(row, waiting)) return;
    if (!this.#waiting.has(id) && this.#waiting.size >= this.#rowsMax) this.#overflown = true;
    else this.#waiting.set(id, row);
    this.#wake.notify();
  }

  /**
   * Returns the next row, or undefined when `signal` has aborted. Throws if too many rows changed
   * and were not read.
   */
  async take(signal: AbortSignal): Promise<{ id: string; row: Row | undefined } | undefined> {
    while (!signal.aborted) {
      if (this.#overflown) {
        throw failure(
          'UNAVAILABLE',
          `More than ${this.#rowsMax} changed rows wait for this subscriber, which does not read them: subscribe again.`,
        );
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
