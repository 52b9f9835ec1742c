/** Leases last 30 seconds and are renewed every 10: in a break as long as that none expires. */
const BREAK_MS = 10_000;

/**
 * How long somebody has looked at the rows without a break. By the wall clock, which goes on while the machine sleeps: then, as after an
 * outage of the database, leases expire whose owners had no chance to renew them.
 */
export interface Watch {
  /** To be called at each look: seconds since the first one after the last break. */
  seconds(): number;
}

export function createWatch(now: () => number = Date.now): Watch {
  let since = Number.NEGATIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  return {
    seconds() {
      const at = now();
      if (at - last > BREAK_MS || at < last) since = at;
      last = at;
      return (at - since) / 1_000;
    },
  };
}
