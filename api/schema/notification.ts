import { listNotifications, markNotificationsRead, setNotificationPreference } from '../../db/notifications.ts';
import type { NotificationRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { messageOf, NOTIFICATION_KINDS, titleOf } from '../../domain/notifications.ts';
import { viewerOf } from '../context.ts';
import { followNotifications } from '../live/notifications.ts';
import { PAGE_SIZE, pageOf, windowOf } from '../paging.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { connectionOf, forwardPagingArgs } from './connection.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { describedEnum, NotificationPreferenceEnum } from './enums.ts';
import { Job } from './job.ts';
import { mutation } from './mutation.ts';
import { Node } from './node.ts';
import { invalid, refused, type UserErrorShape } from './user-error.ts';
import { Workflow } from './workflow.ts';

const NotificationKindEnum = describedEnum('NotificationKind', 'What a notification is about.', NOTIFICATION_KINDS, {
  WORKFLOW_BUILD_FAILED: 'The build of a workflow failed.',
  WORKFLOW_TERMINATED: 'A workflow was terminated because too many of its jobs failed in a row.',
  WORKFLOW_RECOVERED: 'A job completed, the first one after failures.',
  JOB_FAILED: 'A job failed.',
  JOB_COMPLETED: 'A job completed. Only users with the preference ALL get these.',
});

export const Notification = builder.objectRef<NotificationRow>('Notification');
Notification.implement({
  description: 'An event of one of your workflows.',
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
      description: 'The workflow. Null if it was purged.',
      resolve: ({ workflowId }, _, { load }) => load.workflow(workflowId),
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

const NotificationConnection = connectionOf<NotificationRow>(Notification, 'Notification', 'newest first');

builder.queryField('notifications', (t) =>
  t.field({
    type: NotificationConnection,
    description: 'Your notifications, newest first.',
    args: {
      ...forwardPagingArgs(),
      unreadOnly: t.arg.boolean({
        description: 'Whether to leave out notifications that are marked as read. Defaults to false.',
      }),
    },
    extensions: cost({ base: STATEMENT_COST, pageSize: PAGE_SIZE }),
    resolve: async (_, { unreadOnly, ...args }, context) => {
      const { user } = viewerOf(context);
      const window = windowOf(args);
      const { count, after } = window;
      const rows = await listNotifications(context.services.db, user.id, {
        count,
        after,
        unreadOnly: unreadOnly === true,
      });
      return pageOf(rows, window);
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
    description: 'Your new notifications from now on, each once.',
    subscribe: (_, __, context) => followNotifications(context.services, viewerOf(context).user.id),
    resolve: (notification) => notification,
  }),
);
