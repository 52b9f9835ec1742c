/** Limits how much a socket may send. The rest is read later: its client sees a slow connection. */
export class SocketPace {
  #left: number | undefined;
  #at = performance.now();

  /** Counts a message. Gives for how many milliseconds to pause reading. */
  count(length: number, isAnonymous: boolean): number {
    const { perSecond, atOnce } = isAnonymous ? ANONYMOUS : SIGNED_IN;
    const now = performance.now();
    this.#left = Math.min(atOnce, (this.#left ?? atOnce) + ((now - this.#at) / 1_000) * perSecond);
    this.#at = now;
    this.#left -= 1 + length / LENGTH_OF_ONE;
    return this.#left >= 0 ? 0 : Math.min(PAUSE_MS_MAX, (-this.#left / perSecond) * 1_000);
  }
}

const SIGNED_IN = { perSecond: 200, atOnce: 400 };
const ANONYMOUS = { perSecond: 10, atOnce: 40 };
/** A message counts once more for so many characters. */
const LENGTH_OF_ONE = 16 * 1024;
const PAUSE_MS_MAX = 5_000; // short enough for pings and pongs to be read before the peer counts as gone
