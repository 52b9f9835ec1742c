import type { Notified } from '../../db/notifications.ts';
import { type Changed, encodeChanged, userChannel } from '../../domain/hints.ts';
import type { Cache } from '../../platform/cache/cache.ts';

/** Rows of one user that have changed. */
export type UserChange = { userId: string } & Changed;

/** Tells those who watch: one hint a user, whatever the number of rows. Lost hints heal by the watchers' slow re-check. */
export async function announce(cache: Cache, changes: UserChange[]): Promise<void> {
  const byUser = new Map<string, Required<Changed>>();
  for (const { userId, jobs = [], builds = [], workflows = [], notifications = [] } of changes) {
    const all = byUser.get(userId) ?? { jobs: [], builds: [], workflows: [], notifications: [] };
    byUser.set(userId, all);
    all.jobs.push(...jobs);
    all.builds.push(...builds);
    all.workflows.push(...workflows);
    all.notifications.push(...notifications);
  }
  await Promise.all([...byUser].map(([userId, all]) => cache.publish(userChannel(userId), encodeChanged(all))));
}

export function notifiedChanges(notified: Notified[]): UserChange[] {
  return notified.map(({ userId, id }) => ({ userId, notifications: [id] }));
}
