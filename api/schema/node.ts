import { findAuditEvent } from '../../db/accounts/audit.ts';
import type { Identity } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import { isId } from '../../domain/ids.ts';
import { auditedUserOf, viewerOf } from '../context.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';

export const Node = builder.interfaceRef<{ id: string }>('Node');
Node.implement({
  description: 'An object with an id.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'The id of the object: a UUID, unique across all types.' }),
  }),
});

builder.queryField('node', (t) =>
  t.field({
    type: Node,
    nullable: true,
    description: 'The object with this id among those that you may see. Null if there is none.',
    args: { id: t.arg.id({ required: true, description: 'The id of the object.' }) },
    extensions: cost({ base: STATEMENTS * STATEMENT_COST }),
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

/** One for each type. */
const STATEMENTS = 7;

/** The event with this id, if the caller may see it. */
async function auditEvent(db: Db, id: string, viewer: Identity) {
  return isId(id) ? findAuditEvent(db, { id: id.toLowerCase(), userId: auditedUserOf(viewer) }) : undefined;
}

/** Adds the name of its type to a row, because the interface needs it. */
function named<Row extends object>(type: string, row: Row | undefined): (Row & { __typename: string }) | undefined {
  return row && { ...row, __typename: type };
}
