import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { databaseNow } from '../../db/lookup.ts';
import type { NotificationRow } from '../../db/schema.ts';
import { firstIdAt } from '../../domain/ids.ts';
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
 * What a user is told of from now on, each once. A hint names what is to be read; the slow re-check reads what came in the last while, which
 * finds what no hint told of. Rows wait nowhere: a subscriber that does not read costs the ids that it has seen lately.
 */
export function followNotifications(
  { db, changes, log }: Sources,
  userId: string,
): AsyncGenerator<NotificationRow, void, undefined> {
  return cancellable(async function* (signal) {
    const begun = (await databaseNow(db)).getTime() - performance.now();
    const now = () => new Date(begun + performance.now()); // the database's clock, which ids are made by
    let floor = lookBehind(now());
    const seen = new Set<string>();
    for await (const { id } of everythingAfter(floor)) seen.add(id); // these are not new
    const inbox = new NotificationQueue();
    const leave = await changes.join(userId);
    const unwatch = changes.notifications.watch(userId, (ids) => inbox.put(ids));
    inbox.put(undefined); // what came while the channel opened is new, and no hint of it was heard
    try {
      for (;;) {
        const taken = await inbox.take(signal);
        if (taken === undefined) return;
        const nextFloor = taken === 'ALL' ? lookBehind(now()) : floor;
        try {
          const rows = taken === 'ALL' ? everythingAfter(floor) : await changes.notifications.readNamed(userId, taken);
          for await (const row of rows) {
            if (seen.has(row.id) || row.id < floor) continue;
            seen.add(row.id);
            yield row;
            if (signal.aborted) return;
          }
          floor = forget(seen, nextFloor);
        } catch (error) {
          log.warn({ err: error }, 'Notifications could not be read; the re-check reads them soon.'); // from the same floor
        }
      }
    } finally {
      unwatch();
      leave();
    }
  });

  async function* everythingAfter(floor: string): AsyncGenerator<NotificationRow, void, undefined> {
    for (let after: string | undefined = floor; after !== undefined; ) {
      const page: NotificationRow[] = await changes.notifications.readAfter(userId, after);
      yield* page;
      after = page.length < NOTIFICATIONS_PER_READ ? undefined : page.at(-1)?.id;
    }
  }
}

/** A transaction may commit after one that began later: each look begins some time before the last one. */
const OVERLAP_MS = 60_000;
const GRAIN_MS = 10_000; // so that the subscribers of a user ask for the same, which is read once
const SEEN_MAX = 10_000; // with more in the overlap, the overlap shrinks

function lookBehind(now: Date): string {
  return firstIdAt(new Date(Math.floor((now.getTime() - OVERLAP_MS) / GRAIN_MS) * GRAIN_MS));
}

/** Forgets the ids that no look finds again; where the next one may begin. */
function forget(seen: Set<string>, floor: string): string {
  const kept = [...seen].filter((id) => id >= floor).sort();
  const from = kept.length > SEEN_MAX ? (kept.at(-SEEN_MAX) ?? floor) : floor;
  for (const id of seen) if (id < from) seen.delete(id);
  return from;
}

/** What one subscriber has yet to look at: ids that hints named, or everything, where there were too many or a re-check is due. */
class NotificationQueue {
  readonly #ids = new Set<string>();
  readonly #wake = new Signal();
  #all = false;

  /** Undefined: hints may have been lost. */
  put(ids: string[] | undefined): void {
    if (ids === undefined || this.#ids.size + ids.length > IDS_MAX) {
      this.#all = true;
      this.#ids.clear();
    } else if (!this.#all) for (const id of ids) this.#ids.add(id);
    this.#wake.notify();
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
