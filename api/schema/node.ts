import { findAuditEvents } from '../../db/accounts/audit.ts';
import { isId } from '../../domain/ids.ts';
import { auditedUserOf, type Context, viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';

export const Node = builder.interfaceRef<{ id: string }>('Node');
Node.implement({
  description: 'An object with an id.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'The id of the object: a UUID, unique across all types.' }),
  }),
});

/** One for each type. */
const STATEMENTS = 10;
const IDS_MAX = 100;

builder.queryField('node', (t) =>
  t.field({
    type: Node,
    nullable: true,
    description: 'The object with this id among those that you may see. Null if there is none.',
    args: { id: t.arg.id({ required: true, description: 'The id of the object.' }) },
    extensions: cost({ base: STATEMENTS * STATEMENT_COST }),
    resolve: async (_, { id }, context) => (await nodesOf([id], context))[0] ?? null,
  }),
);

builder.queryField('nodes', (t) =>
  t.field({
    type: [Node],
    nullable: { list: false, items: true },
    description:
      'The objects with these ids among those that you may see, in the order of the ids. Null in the place of each id that has none.',
    args: {
      ids: t.arg.idList({ required: true, description: `The ids of the objects: at most ${IDS_MAX}.` }),
    },
    extensions: cost({ base: STATEMENTS * STATEMENT_COST, itemsOf: 'ids', itemsMax: IDS_MAX }),
    resolve: (_, { ids }, context) => {
      viewerOf(context);
      if (ids.length > IDS_MAX)
        throw failure('BAD_REQUEST', `\`ids\` may have ${IDS_MAX} ids at most, not ${ids.length}.`);
      return nodesOf(ids, context);
    },
  }),
);

type TypedNode = { __typename: string; id: string };

/** The objects with these ids, with one statement for each type: the loaders gather the ids. */
async function nodesOf(ids: string[], context: Context): Promise<(TypedNode | null)[]> {
  const viewer = viewerOf(context);
  const { load, services } = context;
  const wanted = ids.map((id) => id.toLowerCase());
  const all = <Row>(read: (id: string) => Promise<Row | undefined>, asked = wanted) => Promise.all(asked.map(read));
  const [workflows, jobs, builds, notifications, tokens, sessions, events] = await Promise.all([
    all(load.workflow),
    all(load.job),
    all(load.build),
    all(load.notification),
    load.apiTokens(viewer.user.id),
    load.sessions(viewer.user.id),
    findAuditEvents(services.db, { ids: wanted.filter(isId), userId: auditedUserOf(viewer) }),
  ]);
  const found = new Map<string, TypedNode>();
  // The interface needs the name of the type.
  const add = (type: string, rows: ({ id: string } | undefined)[]) => {
    for (const row of rows) if (row) found.set(row.id, { ...row, __typename: type });
  };
  add('User', [viewer.user]);
  add('Workflow', workflows);
  add('Job', jobs);
  add('Build', builds);
  add('Notification', notifications);
  add('ApiToken', tokens);
  add('Session', sessions);
  add('AuditEvent', events);
  // Few ask for one of these, so that all others are found without them.
  const missing = wanted.filter((id) => !found.has(id));
  const [channels, deliveries, incidents] = await Promise.all([
    all(load.alertChannel, missing),
    all(load.alertDelivery, missing),
    all(load.incident, missing),
  ]);
  add('AlertChannel', channels);
  add('AlertDelivery', deliveries);
  add('Incident', incidents);
  return wanted.map((id) => found.get(id) ?? null);
}
