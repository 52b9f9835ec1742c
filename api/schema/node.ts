import { findAuditEvent } from '../../db/accounts/audit.ts';
import type { Identity } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import { isId } from '../../domain/ids.ts';
import { auditedUserOf, viewerOf } from '../context.ts';
import { builder } from './builder.ts';
import { costs, STATEMENT_COST } from './field-cost.ts';

export const Node = builder.interfaceRef<{ id: string }>('Node');
Node.implement({
  description: 'Whatever has an id.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'A UUID, unique across all types.' }),
  }),
});

builder.queryField('node', (t) =>
  t.field({
    type: Node,
    nullable: true,
    description: "Whatever of the viewer's has this id; null where nothing has.",
    args: { id: t.arg.id({ required: true, description: 'The id. A malformed one is an unknown one.' }) },
    extensions: costs(STATEMENTS * STATEMENT_COST),
    resolve: async (_, { id }, context) => {
      const viewer = viewerOf(context);
      const { user } = viewer;
      const { load, services } = context;
      if (id.toLowerCase() === user.id) return named('User', user);
      const [workflow, job, build, notification, tokens, sessions] = await Promise.all([
        load.workflow(id),
        load.job(id),
        load.build(id),
        load.notification(id),
        load.apiTokens(user.id),
        load.sessions(user.id),
      ]);
      const token = tokens.find((row) => row.id === id.toLowerCase());
      const session = sessions.find((row) => row.id === id.toLowerCase());
      return (
        named('Workflow', workflow) ??
        named('Job', job) ??
        named('Build', build) ??
        named('Notification', notification) ??
        named('ApiToken', token) ??
        named('Session', session) ??
        named('AuditEvent', await auditEvent(services.db, id, viewer)) ??
        null
      );
    },
  }),
);

/** It looks among all types. */
const STATEMENTS = 7;

/** One that the caller may see. */
async function auditEvent(db: Db, id: string, viewer: Identity) {
  return isId(id) ? findAuditEvent(db, { id: id.toLowerCase(), userId: auditedUserOf(viewer) }) : undefined;
}

/** Says of which type a row is, for where the schema allows several. */
function named<Row extends object>(type: string, row: Row | undefined): (Row & { __typename: string }) | undefined {
  return row && { ...row, __typename: type };
}
