import { countAuditEvents, listAuditEvents } from '../../db/accounts/audit.ts';
import type { AuditRow } from '../../db/schema.ts';
import { AUDIT_CHANGES_MAX, type AuditChange } from '../../domain/account/audit.ts';
import { COUNTED_MAX } from '../../domain/limits.ts';
import { auditedUserOf, viewerOf } from '../context.ts';
import { counted, PAGE_SIZE, pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { countedConnectionOf, pagingArgs } from './connection.ts';
import { cost, LONG_TEXT_COST, STATEMENT_COST } from './cost.ts';
import { describedEnum } from './enums.ts';
import { Node } from './node.ts';

const AuditOutcomeEnum = describedEnum('AuditOutcome', 'The outcome of a call.', ['DONE', 'REFUSED'] as const, {
  DONE: 'The call did what it says, or found it already done.',
  REFUSED: 'The call changed nothing. `code` says why.',
});

const TokenKindEnum = describedEnum('TokenKind', 'The kind of token that a caller used.', ['SESSION', 'API'] as const, {
  SESSION: 'A session, begun with a password.',
  API: 'An API token.',
});

const AuditChangeType = builder.objectRef<AuditChange>('AuditChange').implement({
  description: 'A field in the input of an audited call.',
  fields: (t) => ({
    field: t.exposeString('field', {
      description: 'The path of the field, for example "payload.container.env.TOKEN".',
    }),
    value: t.exposeString('value', { description: 'The value, or "changed" if the field can hold a secret.' }),
  }),
});

export const AuditEvent = builder.objectRef<AuditRow>('AuditEvent');
AuditEvent.implement({
  description:
    'A call of a mutation, or a command of the operator. Events never change, and are kept for AUDIT_RETENTION_DAYS, a setting of the installation.',
  interfaces: [Node],
  fields: (t) => ({
    at: t.field({ type: 'DateTime', description: 'When the call was made.', resolve: ({ at }) => at }),
    action: t.exposeString('action', {
      description: 'The name of the mutation, like "createWorkflow", or of the command, like "users disable".',
    }),
    outcome: t.field({
      type: AuditOutcomeEnum,
      description: 'Whether the call was done or refused.',
      resolve: ({ outcome }) => outcome,
    }),
    code: t.exposeString('code', {
      nullable: true,
      description: 'Why the call was refused: the code of its first error. Null unless it was REFUSED.',
    }),
    count: t.exposeInt('count', {
      description: 'How many calls the event stands for. Equal refusals within a minute are one event.',
    }),
    userId: t.exposeID('userId', {
      nullable: true,
      description:
        'The id of the account that the call concerns. Null if no account is known, as for a sign-in with an unknown email.',
    }),
    actorId: t.exposeID('actorId', {
      nullable: true,
      description:
        'The id of the account that made the call. Null if nobody was signed in, and for commands of the operator.',
    }),
    tokenId: t.exposeID('tokenId', {
      nullable: true,
      description: 'The id of the session or API token that was used. Null if there was none.',
    }),
    tokenKind: t.field({
      type: TokenKindEnum,
      nullable: true,
      description: 'The kind of token that was used. Null if there was none.',
      resolve: ({ tokenKind }) => tokenKind,
    }),
    tokenName: t.exposeString('tokenName', {
      nullable: true,
      description: 'The name of the API token that was used. Null if there was none.',
    }),
    address: t.exposeString('address', {
      nullable: true,
      description:
        'The IP address that the call came from. For refusals over IPv6, the /64 network. Null for commands of the operator.',
    }),
    objectId: t.exposeID('objectId', {
      nullable: true,
      description: 'The id of the object that was created or changed. Null if nothing was.',
    }),
    changes: t.field({
      type: [AuditChangeType],
      description: 'The fields in the input. Values that can hold a secret are not stored.',
      extensions: cost({ base: LONG_TEXT_COST, itemsMax: AUDIT_CHANGES_MAX }),
      resolve: ({ changes }, _, { budget }) => {
        for (const { field, value } of changes) budget.read(field.length + value.length);
        return changes;
      },
    }),
  }),
});

const AuditEventConnection = countedConnectionOf<AuditRow>(AuditEvent, 'AuditEvent', 'newest first');

builder.queryField('auditEvents', (t) =>
  t.field({
    type: AuditEventConnection,
    extensions: cost({ base: STATEMENT_COST, pageSize: PAGE_SIZE }),
    description:
      'Who did what, newest first. Administrators see the events of all accounts in a session. Everyone else, and every API token, sees the events of their own account.',
    args: pagingArgs(),
    resolve: async (_, args, context) => {
      const of = { userId: auditedUserOf(viewerOf(context)) };
      const window = windowOf(args);
      const { db } = context.services;
      const page = pageOf(await listAuditEvents(db, of, window), window);
      return counted(page, () => countAuditEvents(db, of, COUNTED_MAX));
    },
  }),
);
