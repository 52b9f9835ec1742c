import { LRUCache } from 'lru-cache';
import type { HostAndPort } from '../../../domain/network/host-port.ts';

/** One check's way to a host beyond this machine's own links. */
export interface Attempt {
  reached(at: HostAndPort): void;
  /** The host answered, if only with a refusal. */
  answered(): void;
  /** For no reason that is certain. */
  failed(): void;
  /** It says nothing about the network: the host is on this machine or one of its links. */
  withdraw(): void;
}

/** So many hosts that fail, and none that is reached, are no coincidence. */
const HOSTS_MIN = 5;
/** How long a failed attempt counts. */
const FRESH_MS = 5 * 60_000;
/** An attempt that is still without an answer counts as failed after this time. */
export const LATE_MS = 1_000;
/** A user who has had no check here for so long counts no more. */
const USER_MS = 24 * 60 * 60 * 1_000;
const ENTRIES_MAX = 2_000;
/** Thousands of checks may ask at once: a count of many entries serves for a while. */
const ENTRIES_MANY = 200;
const COUNT_EVERY_MS = 250;
const ACQUAINTANCES_MAX = 3;
const ACQUAINTANCE_MS = 60 * 60 * 1_000;

interface Entry {
  userId: string;
  begunAt: number;
  failed: boolean;
}

/**
 * What the checks of all users on this worker say together about its network. Entries are the
 * attempts since any check has last reached a host; each success removes them all. So they grow
 * only while nobody reaches anything.
 */
export function createCrowd(now: () => number = () => performance.now()) {
  const entries = new Map<string, Entry>();
  /** The last two users: is there more than one? */
  const users = new LRUCache<string, true>({ max: 2, ttl: USER_MS });
  const acquaintances = new Map<string, { at: HostAndPort; seenAt: number }>();

  let counted: { at: number; now: number; soon: number } | undefined;

  function clear(): void {
    if (entries.size > 0) entries.clear();
    counted = undefined;
  }

  return {
    begin(userId: string, host: string): Attempt {
      users.set(userId, true);
      // A host that has failed has failed until it is reached, however often it is tried again.
      const known = entries.get(host);
      const entry = known ?? { userId, begunAt: now(), failed: false };
      entries.set(host, entry);
      const [oldest] = entries.size > ENTRIES_MAX ? entries.keys() : [];
      if (oldest !== undefined) entries.delete(oldest);
      return {
        reached(at) {
          clear();
          acquaintances.delete(host);
          acquaintances.set(host, { at, seenAt: now() });
          const [oldest] = acquaintances.keys();
          if (acquaintances.size > ACQUAINTANCES_MAX && oldest !== undefined) acquaintances.delete(oldest);
        },
        answered: clear,
        failed() {
          entry.failed = true;
          entry.begunAt = now();
        },
        withdraw() {
          // Another attempt's entry is not this one's to remove, nor is a failure that it has seen.
          if (known === undefined && !entry.failed && entries.get(host) === entry) entries.delete(host);
        },
      };
    },

    /** Somebody has reached something. */
    clear,

    /** Hosts that checks have reached in the last hour: if one accepts now, the network is well. */
    acquaintances(): HostAndPort[] {
      const known = [...acquaintances.values()].filter(({ seenAt }) => now() - seenAt < ACQUAINTANCE_MS);
      return known.map(({ at }) => at);
    },

    /**
     * How many hosts fail at once, or 0 if these are too few to say anything. A user counts for no
     * more than all others together, unless this worker checks for one user alone: so nobody's own
     * dead hosts pass for a dead network, or make another user's failure pass for one. With `soon`:
     * how many it can be in LATE_MS if nothing that is under way reaches its host.
     */
    failing({ soon = false }: { soon?: boolean } = {}): number {
      if (counted === undefined || entries.size < ENTRIES_MANY || now() - counted.at > COUNT_EVERY_MS) {
        users.purgeStale();
        counted = { at: now(), now: count(false), soon: count(true) };
      }
      return soon ? counted.soon : counted.now;
    },
  };

  function count(soon: boolean): number {
    const counts = new Map<string, number>();
    for (const { userId, begunAt, failed } of entries.values()) {
      const age = now() - begunAt;
      if (age < FRESH_MS && (soon || failed || age > LATE_MS)) counts.set(userId, (counts.get(userId) ?? 0) + 1);
    }
    const total = [...counts.values()].reduce((sum, one) => sum + one, 0);
    const others = total - Math.max(0, ...counts.values());
    const heard = users.size > 1 ? others + Math.min(total - others, others) : total;
    return heard >= HOSTS_MIN ? total : 0;
  }
}

export type Crowd = ReturnType<typeof createCrowd>;
