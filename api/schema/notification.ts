import { listNotifications } from '../../db/notifications.ts';
import type { NotificationRow } from '../../db/schema.ts';
import { messageOf, NOTIFICATION_KINDS, titleOf } from '../../domain/notifications.ts';
import { viewerOf } from '../context.ts';
import { followNotifications } from '../live/notifications.ts';
import { PAGE_SIZE, PAGE_SIZE_MAX, pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { connectionOf } from './connection.ts';
import { describedEnum } from './enums.ts';
import { costs, STATEMENT_COST } from './field-cost.ts';
import { Job } from './job.ts';
import { Node } from './node.ts';
import { Workflow } from './workflow.ts';

const NotificationKindEnum = describedEnum('NotificationKind', 'What a notification tells of.', NOTIFICATION_KINDS, {
  WORKFLOW_BUILD_FAILED: 'The build of a workflow has FAILED.',
  WORKFLOW_TERMINATED: 'A workflow was terminated, because as many jobs in a row have failed as it allows.',
  WORKFLOW_RECOVERED: 'A job has COMPLETED, the first one after failures.',
  JOB_FAILED: 'A job has FAILED.',
  JOB_COMPLETED: 'A job has COMPLETED: told to those who prefer ALL.',
});

export const Notification = builder.objectRef<NotificationRow>('Notification');
Notification.implement({
  description: 'Something that has happened to a workflow, told to its owner once.',
  interfaces: [Node],
  fields: (t) => ({
    kind: t.field({ type: NotificationKindEnum, description: 'What it tells of.', resolve: ({ kind }) => kind }),
    title: t.string({ description: 'What has happened, as a line for a list.', resolve: titleOf }),
    message: t.string({ description: 'Why, as a sentence.', resolve: messageOf }),
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The workflow that it happened to; null when that is purged.',
      resolve: ({ workflowId }, _, { load }) => load.workflow(workflowId),
    }),
    job: t.field({
      type: Job,
      nullable: true,
      description: 'The job that it tells of; null where it tells of none, or that one is gone.',
      resolve: ({ jobId }, _, { load }) => (jobId === null ? null : load.job(jobId)),
    }),
    readAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was marked as read; null while it is not.',
      resolve: (notification) => notification.readAt,
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When it happened.',
      resolve: (notification) => notification.createdAt,
    }),
  }),
});

const NotificationConnection = connectionOf<NotificationRow>(Notification, 'Notification', 'newest first');

builder.queryField('notifications', (t) =>
  t.field({
    type: NotificationConnection,
    description: 'What the viewer was told of, newest first.',
    args: {
      first: t.arg.int({
        description: `How many from the beginning (or \`after\`) on: 1 to ${PAGE_SIZE_MAX}; ${PAGE_SIZE} unless given.`,
      }),
      after: t.arg.string({ description: 'A cursor: what comes after it.' }),
      unreadOnly: t.arg.boolean({ description: 'Those alone that are not marked as read.' }),
    },
    extensions: costs(STATEMENT_COST),
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

builder.subscriptionField('notificationAdded', (t) =>
  t.field({
    type: Notification,
    description: 'What the viewer is told of from now on, each once.',
    subscribe: (_, __, context) => followNotifications(context.services, viewerOf(context).user.id),
    resolve: (notification) => notification,
  }),
);
