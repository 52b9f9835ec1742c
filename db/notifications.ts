import { and, asc, desc, eq, getTableColumns, gt, isNull, lt, type SQL, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../domain/effects.ts';
import { NO_ID } from '../domain/ids.ts';
import type { NotificationKind } from '../domain/notifications.ts';
import { array } from './arrays.ts';
import type { Db } from './client.ts';
import { firstIdBefore, NEW_ID, newIdAfter } from './ids.ts';
import { countUpTo } from './listing/count.ts';
import { type IdWindow, inListOrder } from './listing/window.ts';
import { named } from './named.ts';
import { rowSet } from './row-set.ts';
import { type NotificationRow, notifications, users } from './schema.ts';

/** A new notification. */
export interface Notified {
  id: string;
  userId: string;
}

export interface Event {
  kind: NotificationKind;
  workflowId: string;
  jobId?: string | undefined;
  detail?: string | undefined;
}

/**
 * Writes the notifications of these events, according to each owner's preference. It runs in the
 * transaction of the change, so each is written exactly once. Returns the new rows.
 */
export async function notify(tx: Pick<Db, 'execute'>, events: Event[]): Promise<Notified[]> {
  if (events.length === 0) return [];
  const rows = await tx.execute<{ id: string; user_id: string }>(sql`
    INSERT /* notify */ INTO notifications (id, user_id, kind, workflow_id, workflow_name, job_id, detail)
    SELECT ${newIdAfter(sql`CASE WHEN job_id IS NULL THEN 1 ELSE 0 END`)}, workflows.user_id, u.kind, workflows.id, workflows.name, u.job_id, u.detail
    FROM ${rowSet('u', events, { kind: 'text', workflowId: 'uuid', jobId: 'uuid', detail: 'text' })}
      JOIN workflows ON workflows.id = ANY(ARRAY[u.workflow_id]) JOIN users ON users.id = ANY(ARRAY[workflows.user_id])
    WHERE notification_preference = 'ALL' OR notification_preference = 'ALERTS' AND u.kind <> 'JOB_COMPLETED'
    RETURNING id, user_id`);
  return rows.map((row) => ({ id: row.id, userId: row.user_id }));
}

/** The effects of new notifications. */
export function notificationEffects(notified: readonly Notified[]): Effects {
  return { ...noEffects, changed: notified.map(({ id, userId }) => ({ userId, notifications: [id] })) };
}

/**
 * CTEs for a statement that ends jobs in its CTE `ended`. They notify the owners of COMPLETED jobs
 * who prefer ALL. They look up the users once per set. Nearly always no such user is among them,
 * and then they do no work for each job.
 */
export const NOTIFY_COMPLETED = sql`
  eager AS MATERIALIZED (
    SELECT id FROM users WHERE id = ANY(ARRAY(SELECT DISTINCT user_id FROM ended)) AND notification_preference = 'ALL'
  ), notified AS (
    INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, job_id)
    SELECT ${NEW_ID}, ended.user_id, 'JOB_COMPLETED', workflows.id, workflows.name, ended.id
    FROM eager JOIN ended ON ended.user_id = eager.id JOIN workflows ON workflows.id = ANY(ARRAY[ended.workflow_id])
    WHERE ended.status = 'COMPLETED'
    RETURNING id, user_id
  )`;

/** A user's notifications, newest first. */
export async function listNotifications(db: Db, of: NotificationsOfUser, window: IdWindow): Promise<NotificationRow[]> {
  const { count, backwards, after, before } = window;
  const rows = await named(
    'listNotifications',
    db
      .select()
      .from(notifications)
      .where(
        and(
          ofUser(of),
          after === undefined ? undefined : lt(notifications.id, after),
          before === undefined ? undefined : gt(notifications.id, before),
        ),
      )
      .orderBy(backwards ? asc(notifications.id) : desc(notifications.id))
      .limit(count),
  );
  return inListOrder(rows, window);
}

/** How many notifications a user has, or `max + 1` if there are more than `max`. */
export async function countNotifications(db: Db, of: NotificationsOfUser, max: number): Promise<number> {
  return countUpTo(db, 'countNotifications', { table: notifications, condition: ofUser(of), max });
}

export interface NotificationsOfUser {
  userId: string;
  unreadOnly: boolean;
}

function ofUser({ userId, unreadOnly }: NotificationsOfUser): SQL | undefined {
  return and(eq(notifications.userId, userId), unreadOnly ? isNull(notifications.readAt) : undefined);
}

/** Notifications of any users: the caller gives each subscriber its own. */
export async function anyNotifications(db: Db, ids: string[]): Promise<NotificationRow[]> {
  return named(
    'anyNotifications',
    db
      .select()
      .from(notifications)
      .where(eq(notifications.id, sql`ANY(${array(ids, 'uuid')})`)),
  );
}

export async function notificationsOf(db: Db, userId: string, ids: string[]): Promise<NotificationRow[]> {
  return named(
    'notificationsOf',
    db
      .select()
      .from(notifications)
      .where(and(eq(notifications.id, sql`ANY(${array(ids, 'uuid')})`), eq(notifications.userId, userId))),
  );
}

/**
 * For each pair in `from`: the user's first `count` notifications after an id, oldest first, in one
 * query.
 */
export async function notificationsAfter(
  db: Db,
  from: { userId: string; after: string }[],
  count: number,
): Promise<{ userId: string; asked: string; notification: NotificationRow }[]> {
  const next = db
    .select({ ...getTableColumns(notifications), asked: sql<string>`asked.after`.as('asked') })
    .from(notifications)
    .where(sql`${notifications.userId} = asked.user_id AND ${notifications.id} > asked.after`)
    .orderBy(notifications.id)
    .limit(count)
    .as('next');
  const rows = await named(
    'notificationsAfter',
    db
      .select()
      .from(rowSet('asked', from, { userId: 'uuid', after: 'uuid' }))
      .crossJoinLateral(next),
  );
  return rows
    .map(({ next: { asked, ...notification } }) => ({ userId: notification.userId, asked, notification }))
    .sort((a, b) => (a.notification.id < b.notification.id ? -1 : 1)); // a join guarantees no order
}

export type Marked = { outcome: 'MARKED'; notifications: NotificationRow[] } | { outcome: 'NOT_FOUND'; ids: string[] };

/**
 * Marks all of them as read, or none if one of them is not this user's. A notification that was
 * read before keeps its time.
 */
export async function markNotificationsRead(db: Db, userId: string, ids: string[]): Promise<Marked> {
  return db.transaction(async (tx): Promise<Marked> => {
    const found = await named(
      'markNotificationsRead',
      tx
        .select({ id: notifications.id })
        .from(notifications)
        .where(and(eq(notifications.id, sql`ANY(${array(ids, 'uuid')})`), eq(notifications.userId, userId)))
        .orderBy(notifications.id)
        .for('update'),
    ); // in the order of the ids, so that two calls do not deadlock
    const known = new Set(found.map(({ id }) => id));
    const unknown = ids.filter((id) => !known.has(id));
    if (unknown.length > 0) return { outcome: 'NOT_FOUND', ids: unknown };
    const rows = await named(
      'markNotificationsRead',
      tx
        .update(notifications)
        .set({ readAt: sql`coalesce(${notifications.readAt}, now())` })
        .where(eq(notifications.id, sql`ANY(${array(ids, 'uuid')})`))
        .returning(),
    );
    return { outcome: 'MARKED', notifications: rows };
  });
}

/**
 * The newest id up to which a call marks notifications: `upToId` if it is the id of one of the
 * user's, undefined if it is not. Without it, an id after those of all that exist: `notify` makes
 * some of them a millisecond ahead.
 */
export async function markUpTo(db: Db, userId: string, upToId: string | undefined): Promise<string | undefined> {
  if (upToId !== undefined) return (await notificationsOf(db, userId, [upToId]))[0]?.id;
  const [row] = await db.execute<{ id: string }>(sql`SELECT /* markUpTo */ ${newIdAfter(sql`2`)} AS id`);
  return row?.id;
}

/**
 * Marks at most `limit` of a user's unread notifications up to an id as read, oldest first. Returns
 * their number.
 */
export async function markSomeRead(
  db: Db,
  { userId, upToId, limit }: { userId: string; upToId: string; limit: number },
): Promise<number> {
  // A range of both columns, because by `id <= x ORDER BY id` the planner may go through the ids of
  // all users.
  const marked = await db.execute(sql`
    UPDATE /* markSomeRead */ notifications SET read_at = now() WHERE id = ANY(ARRAY(
      SELECT id FROM notifications WHERE (user_id, id) >= (${userId}::uuid, ${NO_ID}::uuid)
        AND (user_id, id) <= (${userId}::uuid, ${upToId}::uuid) AND read_at IS NULL
      ORDER BY user_id, id LIMIT ${limit} FOR UPDATE)) RETURNING 1`);
  return marked.length;
}

/**
 * Removes at most `limit` notifications that are older than `days` days by the database's clock,
 * which made their ids. Returns their number. Skips rows that another transaction marks or removes.
 */
export async function removeOldNotifications(
  db: Db,
  { days, limit }: { days: number; limit: number },
): Promise<number> {
  const removed = await db.execute(sql`
    DELETE /* removeOldNotifications */ FROM notifications WHERE id = ANY(ARRAY(
      SELECT id FROM notifications WHERE id < ${firstIdBefore(sql`${days}`)} ORDER BY id LIMIT ${limit}
      FOR UPDATE SKIP LOCKED)) RETURNING 1`);
  return removed.length;
}

export async function setNotificationPreference(
  db: Db,
  userId: string,
  preference: (typeof users.$inferSelect)['notificationPreference'],
) {
  const [user] = await named(
    'setNotificationPreference',
    db.update(users).set({ notificationPreference: preference }).where(eq(users.id, userId)).returning(),
  );
  return user;
}
