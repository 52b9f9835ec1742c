export interface Entry {
  id: string;
  userId: string;
}

/**
 * QUEUED jobs of users who hold their share of the checks already. They are hints, unclaimed and
 * only in memory. A job that is dropped here, or lost in a crash, stays QUEUED, and the scheduling
 * worker dispatches it again.
 */
export interface DeferredJobs {
  readonly size: number;
  /** Adding a job again changes nothing. */
  add(entry: Entry): void;
  /** Takes up to `limit` jobs, one of each user in turn, of users for whom `take` returns true. */
  next(limit: number, take: (userId: string) => boolean): Entry[];
  /** Removes and returns all jobs. */
  clear(): Entry[];
}

/** Some 150 bytes each. */
const ASIDE_MAX = 100_000;

export function createDeferredJobs(max = ASIDE_MAX): DeferredJobs {
  const users = new Map<string, Set<string>>(); // the user with the next turn comes first
  let size = 0;

  /**
   * The user with the longest queue loses its newer half: a flood drives out no job of another
   * user.
   */
  function makeRoom(): void {
    let longest = new Set<string>();
    for (const ids of users.values()) if (ids.size > longest.size) longest = ids;
    const dropped = [...longest].slice(Math.floor(longest.size / 2));
    for (const id of dropped) longest.delete(id);
    size -= dropped.length;
  }

  return {
    get size() {
      return size;
    },
    add({ id, userId }) {
      if (users.get(userId)?.has(id)) return;
      if (size >= max) makeRoom();
      const ids = users.get(userId) ?? new Set();
      ids.add(id);
      users.set(userId, ids);
      size += 1;
    },
    next(limit, take) {
      const taken: Entry[] = [];
      let open = [...users.keys()];
      while (taken.length < limit && open.length > 0) {
        const still: string[] = [];
        for (const userId of open) {
          if (taken.length >= limit) break;
          const ids = users.get(userId);
          const [id] = ids ?? [];
          if (ids === undefined || id === undefined) {
            users.delete(userId);
            continue;
          }
          if (!take(userId)) continue;
          ids.delete(id);
          taken.push({ id, userId });
          still.push(userId);
          users.delete(userId);
          if (ids.size > 0) users.set(userId, ids); // behind the users who have not had a turn
        }
        open = still;
      }
      size -= taken.length;
      return taken;
    },
    clear() {
      const all = [...users].flatMap(([userId, ids]) => [...ids].map((id) => ({ id, userId })));
      users.clear();
      size = 0;
      return all;
    },
  };
}
