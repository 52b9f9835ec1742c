import { listAuditEvents } from '../../db/accounts/audit.ts';
import type { AuditRow } from '../../db/schema.ts';
import { AUDIT_CHANGES_MAX, type AuditChange } from '../../domain/account/audit.ts';
import { auditedUserOf, viewerOf } from '../context.ts';
import { PAGE_SIZE, PAGE_SIZE_MAX, pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { connectionOf } from './connection.ts';
import { describedEnum } from './enums.ts';
import { costs, costsOfList, LONG_TEXT_COST, STATEMENT_COST } from './field-cost.ts';
import { Node } from './node.ts';

const AuditOutcomeEnum = describedEnum('AuditOutcome', 'What came of a call.', ['DONE', 'REFUSED'] as const, {
  DONE: 'The call did what it says, or found it done before.',
  REFUSED: 'The call changed nothing: `code` says why.',
});

const TokenKindEnum = describedEnum('TokenKind', 'What a caller showed.', ['SESSION', 'API'] as const, {
  SESSION: 'The session of a person who signed in with a password.',
  API: 'An API token.',
});

const AuditChangeType = builder.objectRef<AuditChange>('AuditChange').implement({
  description: 'A field that the input of an audited call gave.',
  fields: (t) => ({
    field: t.exposeString('field', { description: 'Its path, for example "payload.container.env.TOKEN".' }),
    value: t.exposeString('value', { description: 'Its value, or "changed" for what can hold a secret.' }),
  }),
});

export const AuditEvent = builder.objectRef<AuditRow>('AuditEvent');
AuditEvent.implement({
  description:
    'A call of a mutation, or a command of the operator. It is never changed, and is kept for AUDIT_RETENTION_DAYS.',
  interfaces: [Node],
  fields: (t) => ({
    at: t.field({ type: 'DateTime', description: 'When it happened.', resolve: ({ at }) => at }),
    action: t.exposeString('action', {
      description:
        'The name of the mutation, for example "createWorkflow", or of the command, for example "users disable".',
    }),
    outcome: t.field({ type: AuditOutcomeEnum, description: 'What came of it.', resolve: ({ outcome }) => outcome }),
    code: t.exposeString('code', {
      nullable: true,
      description: 'Why it was refused: the code of the first error. Null when it was not.',
    }),
    count: t.exposeInt('count', {
      description: 'How many calls it stands for: refusals that are alike are counted together, for a minute.',
    }),
    userId: t.exposeID('userId', {
      nullable: true,
      description: 'The account that it concerns. Null if no account is known, as for a sign-in with an unknown email.',
    }),
    actorId: t.exposeID('actorId', {
      nullable: true,
      description: 'The account that did it. Null if nobody was signed in, and for commands of the operator.',
    }),
    tokenId: t.exposeID('tokenId', { nullable: true, description: 'The session or API token that was used.' }),
    tokenKind: t.field({
      type: TokenKindEnum,
      nullable: true,
      description: 'What was used. Null if nobody was signed in.',
      resolve: ({ tokenKind }) => tokenKind,
    }),
    tokenName: t.exposeString('tokenName', { nullable: true, description: 'The name of the API token that was used.' }),
    address: t.exposeString('address', {
      nullable: true,
      description: 'Where the call came from; of refusals over IPv6, the /64. Null for commands of the operator.',
    }),
    objectId: t.exposeID('objectId', {
      nullable: true,
      description: 'What was made or changed, a workflow for example.',
    }),
    changes: t.field({
      type: [AuditChangeType],
      description: 'The fields that the input gave. Values that can hold a secret are not stored.',
      extensions: costsOfList(AUDIT_CHANGES_MAX, LONG_TEXT_COST),
      resolve: ({ changes }, _, { budget }) => {
        for (const { field, value } of changes) budget.take(field.length + value.length);
        return changes;
      },
    }),
  }),
});

const AuditEventConnection = connectionOf<AuditRow>(AuditEvent, 'AuditEvent', 'newest first');

builder.queryField('auditEvents', (t) =>
  t.field({
    type: AuditEventConnection,
    extensions: costs(STATEMENT_COST),
    description:
      'Who did what, newest first. An administrator sees all events in a session; others, and API tokens, those that concern their account.',
    args: {
      first: t.arg.int({
        description: `How many from the beginning (or \`after\`) on: 1 to ${PAGE_SIZE_MAX}; ${PAGE_SIZE} unless given.`,
      }),
      after: t.arg.string({ description: 'A cursor: what comes after it.' }),
    },
    resolve: async (_, args, context) => {
      const userId = auditedUserOf(viewerOf(context));
      const window = windowOf(args);
      const { count, after } = window;
      return pageOf(await listAuditEvents(context.services.db, { userId, count, after }), window);
    },
  }),
);
