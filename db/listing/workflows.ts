import { and, eq, getTableColumns, gte, isNotNull, isNull, lte, type SQL, sql } from 'drizzle-orm';
import type { BuildStatus, WorkflowKind } from '../../domain/states.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { preparedByShape, type Shape, type Values } from '../prepared.ts';
import { type WorkflowRow, workflows } from '../schema.ts';
import { given, inListOrder, type KeyWindow, type OrderKey, order, where, windowValues, within } from './window.ts';

export interface WorkflowFilter {
  kind?: WorkflowKind | null;
  buildStatus?: BuildStatus | null;
  terminated?: boolean | null;
  deleted?: boolean | null;
  nameContains?: string | null;
  intervalMin?: number | null;
  intervalMax?: number | null;
}

export type WorkflowOrder = 'CREATED_AT' | keyof typeof WORKFLOW_KEYS;

/** A workflow, and its key in the order of the list. The key is null in the order of creation. */
export type ListedWorkflow = WorkflowRow & { key: string | null };

/** A time in microseconds: as a JavaScript date it would lose some, and rows between pages. */
const microseconds = (time: SQL) => sql`(extract(epoch FROM ${time}) * 1000000)::bigint`;

/**
 * No index has these keys: the rows of one user are sorted, whose number WORKFLOWS_PER_USER limits
 * (5,000 take 20 ms). An index of `updated_at` would be written by every end of a failed job, and
 * one of `next_run_at` by every slot.
 */
export const WORKFLOW_KEYS = {
  // Case makes no difference, and the order does not depend on the database's locale.
  NAME: { sql: sql`lower(${workflows.name}) COLLATE "C"`, type: 'text' },
  UPDATED_AT: { sql: microseconds(sql`${workflows.updatedAt}`), type: 'bigint' },
  NEXT_RUN_AT: {
    sql: sql`coalesce(CASE WHEN ${workflows.terminatedAt} IS NULL THEN (SELECT ${microseconds(sql`next_run_at`)}
      FROM schedules WHERE workflow_id = ${workflows.id} AND state = 'READY') END, 9223372036854775807)`,
    type: 'bigint',
  },
} as const satisfies Record<string, OrderKey>;

/**
 * A user's workflows, by default newest first. Deleted ones are left out unless the filter asks for
 * them.
 */
export async function listWorkflows(
  db: Db,
  userId: string,
  filter: WorkflowFilter,
  { order = 'CREATED_AT', ...window }: KeyWindow & { order?: WorkflowOrder },
): Promise<ListedWorkflow[]> {
  const values = given({ userId, ...filterValues(filter), [`by_${order}`]: true, ...windowValues(window) });
  return inListOrder(await workflowsQuery(db, values).execute(values), window);
}

/** How many of a user's workflows there are, or `max + 1` if there are more than `max`. */
export async function countWorkflows(db: Db, userId: string, filter: WorkflowFilter, max: number): Promise<number> {
  const values = given({ userId, ...filterValues(filter), limit: max + 1 });
  const [row] = await countQuery(db, values).execute(values);
  return row?.count ?? 0;
}

const workflowsQuery = preparedByShape((db, shape, name) => {
  const [, key] = Object.entries<OrderKey>(WORKFLOW_KEYS).find(([order]) => shape.has(`by_${order}`)) ?? [];
  return named(
    'listWorkflows',
    db
      .select({ ...getTableColumns(workflows), key: sql<string | null>`${key?.sql ?? sql`NULL`}::text`.as('key') })
      .from(workflows)
      .where(and(...conditions(shape), within(workflows.id, shape, key)))
      .orderBy(...order(workflows.id, shape, key))
      .limit(sql.placeholder('count')),
  ).prepare(name);
});

const countQuery = preparedByShape((db, shape, name) => {
  const counted = db
    .select({ one: sql`1`.as('one') })
    .from(workflows)
    .where(and(...conditions(shape)))
    .limit(sql.placeholder('limit'))
    .as('counted');
  return named('countWorkflows', db.select({ count: sql<number>`count(*)::integer` }).from(counted)).prepare(name);
});

function filterValues({ terminated, deleted, ...filter }: WorkflowFilter): Values {
  return { ...filter, [`terminated_${terminated}`]: true, [`deleted_${deleted === true}`]: true };
}

function conditions(shape: Shape): (SQL | undefined)[] {
  const { placeholder } = shape;
  return [
    eq(workflows.userId, sql.placeholder('userId')),
    isNull(workflows.purgeRequestedAt),
    shape.has('deleted_true') ? isNotNull(workflows.deletedAt) : isNull(workflows.deletedAt),
    shape.has('terminated_true') ? isNotNull(workflows.terminatedAt) : undefined,
    shape.has('terminated_false') ? isNull(workflows.terminatedAt) : undefined,
    where(eq, workflows.kind, placeholder('kind')),
    where(eq, workflows.buildStatus, placeholder('buildStatus')),
    shape.has('nameContains')
      ? sql`strpos(lower(${workflows.name}), lower(${sql.placeholder('nameContains')})) > 0`
      : undefined,
    where(gte, workflows.intervalMinutes, placeholder('intervalMin')),
    where(lte, workflows.intervalMinutes, placeholder('intervalMax')),
  ];
}
