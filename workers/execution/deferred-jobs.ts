export interface Entry {
  id: string;
  userId: string;
}

/**
 * Queued jobs of users who have their share of the checks already. They are hints, unclaimed and in memory alone: one that is dropped,
 * or lost in a crash, is QUEUED still and handed out again by the scheduling worker.
 */
export interface DeferredJobs {
  readonly size: number;
  /** One that is here already is not added again. */
  add(entry: Entry): void;
  /** Takes up to `limit`, one of each user in turn, of users of whom `take` takes it. */
  next(limit: number, take: (userId: string) => boolean): Entry[];
  /** Removes everything. */
  clear(): Entry[];
}

/** Some 150 bytes each. */
const ASIDE_MAX = 100_000;

export function createDeferredJobs(max = ASIDE_MAX): DeferredJobs {
  const users = new Map<string, Set<string>>(); // the user whose turn is next comes first
  let size = 0;

  /** The user who waits with the most loses half of it, the newest: a flood drives out none of the others' jobs. */
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
          if (ids.size > 0) users.set(userId, ids); // behind those who have not had a turn
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
