import { markNotificationsRead, setNotificationPreference } from '../../db/notifications.ts';
import type { NotificationRow, UserRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { viewerOf } from '../context.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { NotificationPreferenceEnum } from './enums.ts';
import { costsOfList } from './field-cost.ts';
import { Notification } from './notification.ts';
import { User } from './user.ts';
import { invalid, refused, UserError, type UserErrorShape } from './user-error.ts';

/** Ids in one call: a page of the list, and some more. */
const IDS_MAX = 1_000;

interface Marked {
  notifications?: NotificationRow[];
  userErrors: UserErrorShape[];
}

const MarkNotificationsReadInput = builder.inputType('MarkNotificationsReadInput', {
  description: 'Notifications that were read.',
  fields: (t) => ({ ids: t.idList({ required: true, description: `Their ids, at most ${IDS_MAX}.` }) }),
});

const MarkNotificationsReadPayload = builder.objectRef<Marked>('MarkNotificationsReadPayload').implement({
  description: 'What `markNotificationsRead` answers.',
  fields: (t) => ({
    notifications: t.field({
      type: [Notification],
      nullable: true,
      description: 'The notifications, in the order of their ids in the input.',
      extensions: costsOfList(IDS_MAX),
      resolve: ({ notifications }) => notifications,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      extensions: costsOfList(IDS_MAX),
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('markNotificationsRead', (t) =>
  t.field({
    type: MarkNotificationsReadPayload,
    description:
      'Marks notifications as read: all of them, or none where one is not there. One that was read before keeps its time.',
    args: { input: t.arg({ type: MarkNotificationsReadInput, required: true, description: 'Which notifications.' }) },
    resolve: audited(
      'markNotificationsRead',
      'WRITE',
      async ({ input }: Input<typeof MarkNotificationsReadInput>, context, audit): Promise<Marked> => {
        const { user } = viewerOf(context);
        const ids = input.ids.map((id) => id.toLowerCase());
        if (ids.length > IDS_MAX)
          return invalid([{ path: ['ids'], message: `At most ${IDS_MAX} at once, not ${ids.length}.` }]);
        const malformed = ids.filter((id) => !isId(id));
        if (malformed.length > 0) return unknown(ids, malformed);
        const result = await audit.change(
          context.services.db,
          (tx) => markNotificationsRead(tx, user.id, ids),
          ({ outcome }) => (outcome === 'MARKED' ? user.id : undefined),
        );
        if (result.outcome === 'NOT_FOUND') return unknown(ids, result.ids);
        const rows = new Map(result.notifications.map((row) => [row.id, row]));
        return { notifications: ids.flatMap((id) => rows.get(id) ?? []), userErrors: [] };
      },
    ),
  }),
);

function unknown(ids: string[], missing: string[]): Marked {
  const set = new Set(missing);
  return refused(
    ...ids.flatMap((id, index): UserErrorShape[] =>
      set.has(id)
        ? [{ code: 'NOT_FOUND', message: 'You have no notification with this id.', path: ['ids', String(index)] }]
        : [],
    ),
  );
}

interface Preferred {
  user?: UserRow;
  userErrors: UserErrorShape[];
}

const UpdateNotificationPreferenceInput = builder.inputType('UpdateNotificationPreferenceInput', {
  description: 'What the viewer wants to be told of.',
  fields: (t) => ({
    preference: t.field({ type: NotificationPreferenceEnum, required: true, description: 'Which notifications.' }),
  }),
});

const UpdateNotificationPreferencePayload = builder
  .objectRef<Preferred>('UpdateNotificationPreferencePayload')
  .implement({
    description: 'What `updateNotificationPreference` answers.',
    fields: (t) => ({
      user: t.field({ type: User, nullable: true, description: 'The viewer.', resolve: ({ user }) => user }),
      userErrors: t.field({
        type: [UserError],
        description: 'What is to be mended.',
        resolve: ({ userErrors }) => userErrors,
      }),
    }),
  });

builder.mutationField('updateNotificationPreference', (t) =>
  t.field({
    type: UpdateNotificationPreferencePayload,
    description: 'Changes what the viewer is told of from now on.',
    args: { input: t.arg({ type: UpdateNotificationPreferenceInput, required: true, description: 'The preference.' }) },
    resolve: audited(
      'updateNotificationPreference',
      'WRITE',
      async (
        { input: { preference } }: Input<typeof UpdateNotificationPreferenceInput>,
        context,
        audit,
      ): Promise<Preferred> => {
        const { user } = viewerOf(context);
        const changed = await audit.change(
          context.services.db,
          (tx) => setNotificationPreference(tx, user.id, preference),
          () => user.id,
        );
        return { user: changed ?? user, userErrors: [] };
      },
    ),
  }),
);
