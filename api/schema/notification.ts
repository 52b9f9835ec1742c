import {
  countNotifications,
  listNotifications,
  markNotificationsRead,
  markSomeRead,
  markUpTo,
  setNotificationPreference,
} from '../../db/notifications.ts';
import type { NotificationRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { COUNTED_MAX } from '../../domain/limits.ts';
import { messageOf, NOTIFICATION_KINDS, titleOf } from '../../domain/notifications.ts';
import { mapped } from '../../platform/async/iterator.ts';
import { resumedAfter, viewerOf } from '../context.ts';
import { followNotifications } from '../live/notifications.ts';
import { counted, cursorOfId, idOfPlace, PAGE_SIZE, pageOf, windowOf } from '../paging.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { countedConnectionOf, pagingArgs } from './connection.ts';
import { COUNT_COST, cost, SEARCH_COST, STATEMENT_COST } from './cost.ts';
import { describedEnum, NotificationPreferenceEnum } from './enums.ts';
import { Job } from './job.ts';
import { mutation } from './mutation.ts';
import { Node } from './node.ts';
import { invalid, refused, type UserErrorShape } from './user-error.ts';
import { Workflow } from './workflow.ts';

const NotificationKindEnum = describedEnum('NotificationKind', 'What a notification is about.', NOTIFICATION_KINDS, {
  WORKFLOW_BUILD_FAILED: 'The build of a workflow failed.',
  WORKFLOW_TERMINATED: 'A workflow was terminated because too many of its jobs failed in a row.',
  WORKFLOW_PAUSED: 'A workflow was paused because too many of its jobs failed in a row.',
  WORKFLOW_RECOVERED: 'A job completed, the first one after failures.',
  RUN_SKIPPED: 'A run was skipped, as the run policy of its workflow says. At most one an hour for each workflow.',
  RUN_LATE: 'A slot has not started within `lateAfterSeconds` of the run policy.',
  JOB_LONG: 'A job runs longer than `expectedMaxSeconds` of the run policy. It goes on.',
  JOB_SHORT: 'A job completed sooner than `expectedMinSeconds` of the run policy.',
  JOB_FAILED: 'A job failed, and is not retried.',
  JOB_COMPLETED: 'A job completed. Only users with the preference ALL get these.',
  CHANNEL_DISABLED: 'An alert channel was disabled because it takes no messages.',
});

export const Notification = builder.objectRef<NotificationRow>('Notification');
Notification.implement({
  description: 'An event of one of your workflows or alert channels.',
  interfaces: [Node],
  fields: (t) => ({
    kind: t.field({
      type: NotificationKindEnum,
      description: 'What the notification is about.',
      resolve: ({ kind }) => kind,
    }),
    title: t.string({ description: 'What happened, as a line for a list.', resolve: titleOf }),
    message: t.string({ description: 'Why it happened, as a sentence.', resolve: messageOf }),
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The workflow. Null if it was purged, or if the notification is not about a workflow.',
      resolve: ({ workflowId }, _, { load }) => (workflowId === null ? null : load.workflow(workflowId)),
    }),
    job: t.field({
      type: Job,
      nullable: true,
      description: 'The job. Null if the notification is not about a job, or the job no longer exists.',
      resolve: ({ jobId }, _, { load }) => (jobId === null ? null : load.job(jobId)),
    }),
    readAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the notification was marked as read. Null until then.',
      resolve: (notification) => notification.readAt,
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the event happened.',
      resolve: (notification) => notification.createdAt,
    }),
  }),
});

const NotificationConnection = countedConnectionOf<NotificationRow>(Notification, 'Notification', 'newest first');

builder.queryField('notifications', (t) =>
  t.field({
    type: NotificationConnection,
    description: 'Your notifications, newest first.',
    args: {
      ...pagingArgs(),
      unreadOnly: t.arg.boolean({
        description: 'Whether to leave out notifications that are marked as read. Defaults to false.',
      }),
    },
    extensions: cost({ base: STATEMENT_COST, pageSize: PAGE_SIZE }),
    resolve: async (_, { unreadOnly, ...args }, context) => {
      const { user } = viewerOf(context);
      const window = windowOf(args);
      const of = { userId: user.id, unreadOnly: unreadOnly === true };
      const { db } = context.services;
      const page = pageOf(await listNotifications(db, of, window), window);
      return counted(page, () => countNotifications(db, of, COUNTED_MAX));
    },
  }),
);

builder.objectField(User, 'unreadNotificationCount', (t) =>
  t.int({
    nullable: true,
    description: `How many notifications of the account are not marked as read. Null if they are more than ${COUNTED_MAX.toLocaleString('en')}.`,
    extensions: cost({ base: COUNT_COST }),
    resolve: async ({ id }, _, { services: { db } }) => {
      const count = await countNotifications(db, { userId: id, unreadOnly: true }, COUNTED_MAX);
      return count > COUNTED_MAX ? null : count;
    },
  }),
);

/** Ids in one call: a page of the list, and some more. */
const IDS_MAX = 1_000;

mutation('markNotificationsRead', 'WRITE', {
  description:
    'Marks notifications as read: all of them, or none if one does not exist. A notification that was read before keeps its time.',
  input: (t) => ({
    ids: t.idList({
      required: true,
      description: `The ids of the notifications: at most ${IDS_MAX.toLocaleString('en')}.`,
    }),
  }),
  payload: {
    notifications: {
      type: [Notification],
      description: 'The notifications, in the order of `ids`.',
      itemsMax: IDS_MAX,
    },
  },
  userErrorsMax: IDS_MAX,
  resolve: async ({ input, viewer: { user }, change }) => {
    const ids = input.ids.map((id) => id.toLowerCase());
    if (ids.length > IDS_MAX)
      return invalid([{ path: ['ids'], message: `At most ${IDS_MAX} at once, not ${ids.length}.` }]);
    const malformed = ids.filter((id) => !isId(id));
    if (malformed.length > 0) return unknown(ids, malformed);
    const result = await change(
      (tx) => markNotificationsRead(tx, user.id, ids),
      ({ outcome }) => (outcome === 'MARKED' ? user.id : undefined),
    );
    if (result.outcome === 'NOT_FOUND') return unknown(ids, result.ids);
    const rows = new Map(result.notifications.map((row) => [row.id, row]));
    return { notifications: ids.flatMap((id) => rows.get(id) ?? []) };
  },
});

function unknown(ids: string[], missing: string[]) {
  const set = new Set(missing);
  return refused(
    ...ids.flatMap((id, index): UserErrorShape[] =>
      set.has(id)
        ? [{ code: 'NOT_FOUND', message: 'You have no notification with this id.', path: ['ids', String(index)] }]
        : [],
    ),
  );
}

/** Rows that one transaction marks. Other changes of the user wait for it. */
const MARK_BATCH_ROWS = 5_000;

mutation('markAllNotificationsRead', 'WRITE', {
  description:
    'Marks all of your unread notifications as read, or those up to one of them. Newer ones stay unread, so give the newest one that the user has seen.',
  cost: 5 * SEARCH_COST,
  input: (t) => ({
    upToId: t.id({
      description:
        'The id of the newest notification to mark: it and all older ones. Without it, all that exist when the call begins.',
    }),
  }),
  payload: {
    markedCount: { type: 'Int', description: 'How many notifications were unread and are marked now.' },
    user: { type: User, description: 'Your account.' },
  },
  resolve: async ({ input, viewer: { user }, context, change }) => {
    const { db } = context.services;
    const asked = input.upToId?.toLowerCase() ?? undefined;
    const upToId = asked === undefined || isId(asked) ? await markUpTo(db, user.id, asked) : undefined;
    if (upToId === undefined)
      return refused({ code: 'NOT_FOUND', message: 'You have no notification with this id.', path: ['upToId'] });
    const markSome = () =>
      change(
        (tx) => markSomeRead(tx, { userId: user.id, upToId, limit: MARK_BATCH_ROWS }),
        (count) => (count === 0 ? user.id : undefined), // one row in the audit for the whole call
      );
    let markedCount = 0;
    for (let count = await markSome(); count > 0; count = await markSome()) markedCount += count;
    return { markedCount, user };
  },
});

mutation('updateNotificationPreference', 'WRITE', {
  description: 'Changes which notifications you get from now on.',
  input: (t) => ({
    preference: t.field({ type: NotificationPreferenceEnum, required: true, description: 'Which notifications.' }),
  }),
  payload: { user: { type: User, description: 'Your account.' } },
  resolve: async ({ input: { preference }, viewer: { user }, change }) => {
    const changed = await change(
      (tx) => setNotificationPreference(tx, user.id, preference),
      () => user.id,
    );
    return { user: changed ?? user };
  },
});

builder.subscriptionField('notificationAdded', (t) =>
  t.field({
    type: Notification,
    description:
      'Your new notifications, each once, from now on. With `after`, those that were stored since the one that it names come first, and some of the minute before it may come again: tell them apart by `id`.',
    args: {
      after: t.arg.string({
        description: 'The id of the last notification that you have, or its cursor in `notifications`.',
      }),
    },
    subscribe: (_, { after }, context) => {
      const { user } = viewerOf(context);
      const last = resumedAfter(context, after);
      let furthest = last === undefined ? undefined : idOfPlace(last);
      return mapped(followNotifications(context.services, user.id, furthest), (notification) => {
        // A place never goes back: from one before it, the next resume would repeat more.
        if (furthest === undefined || notification.id > furthest) furthest = notification.id;
        return { ...notification, cursor: cursorOfId(furthest) };
      });
    },
    resolve: (notification) => notification,
  }),
);
