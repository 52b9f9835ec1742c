import { Signal } from './signal.ts';

/** What one subscriber has yet to look at: ids that hints named, or everything, where there were too many or a re-check is due. */
export class NotificationQueue {
  readonly #ids = new Set<string>();
  readonly #wake = new Signal();
  #all = false;

  /** Undefined: hints may have been lost. */
  put(ids: string[] | undefined): void {
    if (ids === undefined || this.#ids.size + ids.length > IDS_MAX) {
      this.#all = true;
      this.#ids.clear();
    } else if (!this.#all) for (const id of ids) this.#ids.add(id);
    this.#wake.wake();
  }

  /** The ids to look at, 'ALL', or undefined when `signal` has aborted. */
  async take(signal: AbortSignal): Promise<string[] | 'ALL' | undefined> {
    while (!signal.aborted) {
      if (this.#all) {
        this.#all = false;
        return 'ALL';
      }
      if (this.#ids.size > 0) {
        const ids = [...this.#ids];
        this.#ids.clear();
        return ids;
      }
      await this.#wake.wait(signal);
    }
    return undefined;
  }
}

const IDS_MAX = 500;
