import DataLoader from 'dataloader';
import type { Db } from '../../db/client.ts';
import { anyNotifications, notificationsAfter } from '../../db/notifications.ts';
import type { NotificationRow } from '../../db/schema.ts';

/** Gets the ids that a hint named, or undefined if hints may have been lost. */
export type NotificationListener = (ids: string[] | undefined) => void;

export const NOTIFICATIONS_PER_READ = 100;

/**
 * The subscribers to notifications in this process. What several ask for in the same turn of the
 * event loop is one query.
 */
export class NotificationFeed {
  readonly #listeners = new Map<string, Set<NotificationListener>>();
  readonly #byId: DataLoader<string, NotificationRow | undefined>;
  readonly #pages: DataLoader<{ userId: string; after: string }, NotificationRow[], string>;

  constructor(db: Db) {
    const options = { cache: false, maxBatchSize: BATCH_MAX } as const;
    this.#byId = new DataLoader(async (ids) => {
      const rows = new Map((await anyNotifications(db, [...new Set(ids)])).map((row) => [row.id, row]));
      return ids.map((id) => rows.get(id));
    }, options);
    this.#pages = new DataLoader(async (asked) => {
      const distinct = new Map(asked.map((page) => [page.userId + page.after, page]));
      const rows = await notificationsAfter(db, [...distinct.values()], NOTIFICATIONS_PER_READ);
      const pages = new Map<string, NotificationRow[]>([...distinct.keys()].map((key) => [key, []]));
      for (const { userId, asked: after, notification } of rows) pages.get(userId + after)?.push(notification);
      return asked.map(({ userId, after }) => pages.get(userId + after) ?? []);
    }, options);
  }

  watch(userId: string, listener: NotificationListener): () => void {
    const listeners = this.#listeners.get(userId) ?? new Set();
    this.#listeners.set(userId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(userId) === listeners) this.#listeners.delete(userId);
    };
  }

  hint(userId: string, ids: string[]): void {
    if (ids.length > 0) for (const listener of this.#listeners.get(userId) ?? []) listener(ids);
  }

  recheck(): void {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener(undefined);
  }

  /** Reads a user's notifications after an id, oldest first, at most NOTIFICATIONS_PER_READ. */
  readAfter(userId: string, after: string): Promise<NotificationRow[]> {
    return this.#pages.load({ userId, after });
  }

  /** Reads the notifications with these ids that are the user's, oldest first. */
  async readNamed(userId: string, ids: string[]): Promise<NotificationRow[]> {
    const rows = await Promise.all(ids.map((id) => this.#byId.load(id)));
    return rows.flatMap((row) => (row?.userId === userId ? [row] : [])).sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}

const BATCH_MAX = 1_000;
