import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { databaseNow } from '../../db/lookup.ts';
import type { NotificationRow } from '../../db/schema.ts';
import { firstIdAt, timeOfId } from '../../domain/ids.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import { Signal } from '../../platform/async/signal.ts';
import type { Changes } from './changes.ts';
import { NOTIFICATIONS_PER_READ } from './notification-feed.ts';

interface Sources {
  db: Db;
  changes: Changes;
  log: Logger;
}

/**
 * Follows a user's notifications: new ones, each once, or all behind the one with the id `after`.
 * Ids are made before they are committed, so behind `after` it begins some time before, and those
 * of that time may be known to the caller.
 * Hints name what to read, and the slow re-check reads recent ones, which finds what no hint named.
 * Rows wait nowhere: a subscriber that does not read costs only the ids that it has recently seen.
 */
export function followNotifications(
  { db, changes, log }: Sources,
  userId: string,
  after?: string,
): AsyncGenerator<NotificationRow, void, undefined> {
  return cancellable(async function* (signal) {
    const begun = (await databaseNow(db)).getTime() - performance.now();
    // By the clock of the database, which makes the ids.
    const now = () => new Date(begun + performance.now());
    let floor = lookBehind(after === undefined ? now() : timeOfId(after));
    const seen = new Set<string>();
    // These are not new.
    if (after === undefined) for await (const page of pagesAfter(floor)) for (const { id } of page) seen.add(id);
    const queue = new NotificationQueue();
    const leave = await changes.join(userId);
    const unwatch = changes.notifications.watch(userId, (ids) => queue.put(ids));
    // Notifications made while the channel opened are new, but no hint named them.
    queue.put(undefined);
    try {
      for (;;) {
        const taken = await queue.take(signal);
        if (taken === undefined) return;
        const nextFloor = taken === 'ALL' ? lookBehind(now()) : floor;
        try {
          // None comes before this in a page that is read later.
          let reached = nextFloor;
          const pages = taken === 'ALL' ? pagesAfter(floor) : [await changes.notifications.readNamed(userId, taken)];
          for await (const page of pages) {
            for (const row of page) {
              if (seen.has(row.id) || row.id < floor || row.id === after) continue;
              seen.add(row.id);
              yield row;
              if (signal.aborted) return;
            }
            if (taken === 'ALL') floor = forget(seen, later(floor, earlier(page.at(-1)?.id ?? floor, reached)));
            reached = lookBehind(now());
          }
          floor = forget(seen, later(floor, nextFloor));
        } catch (error) {
          // From the same place.
          log.warn({ err: error }, 'Notifications could not be read; the re-check reads them soon.');
        }
      }
    } finally {
      unwatch();
      leave();
    }
  });

  async function* pagesAfter(floor: string): AsyncGenerator<NotificationRow[], void, undefined> {
    for (let last: string | undefined = floor; last !== undefined; ) {
      const page: NotificationRow[] = await changes.notifications.readAfter(userId, last);
      yield page;
      last = page.length < NOTIFICATIONS_PER_READ ? undefined : page.at(-1)?.id;
    }
  }
}

/**
 * A transaction can commit after one that began later, so each look begins some time before the
 * last one.
 */
const OVERLAP_MS = 60_000;
const GRAIN_MS = 10_000; // so that a user's subscribers ask for the same page, which is read once
const SEEN_MAX = 10_000; // with more of them the overlap shrinks

function lookBehind(now: Date): string {
  return firstIdAt(new Date(Math.floor((now.getTime() - OVERLAP_MS) / GRAIN_MS) * GRAIN_MS));
}

const earlier = (one: string, other: string) => (one < other ? one : other);
const later = (one: string, other: string) => (one < other ? other : one);

/** Forgets the ids that no look finds again. Returns where the next look may begin. */
function forget(seen: Set<string>, floor: string): string {
  const kept = [...seen].filter((id) => id >= floor).sort();
  const from = kept.length > SEEN_MAX ? (kept.at(-SEEN_MAX) ?? floor) : floor;
  for (const id of seen) if (id < from) seen.delete(id);
  return from;
}

/**
 * What one subscriber still has to read: the ids that hints named, or everything if there were too
 * many or a re-check is due.
 */
class NotificationQueue {
  readonly #ids = new Set<string>();
  readonly #wake = new Signal();
  #all = false;

  /** Adds ids. Undefined means that hints may have been lost. */
  put(ids: string[] | undefined): void {
    if (ids === undefined || this.#ids.size + ids.length > IDS_MAX) {
      this.#all = true;
      this.#ids.clear();
    } else if (!this.#all) for (const id of ids) this.#ids.add(id);
    this.#wake.notify();
  }

  /** Returns the ids to read, 'ALL', or undefined when `signal` has aborted. */
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
