import {
  and,
  asc,
  type Column,
  desc,
  eq,
  exists,
  gt,
  gte,
  isNotNull,
  isNull,
  lt,
  lte,
  type Placeholder,
  type SQL,
  sql,
} from 'drizzle-orm';
import type { BuildStatus, JobStatus, JobTrigger, WorkflowKind } from '../domain/states.ts';
import type { Db } from './client.ts';
import { named } from './named.ts';
import { preparedByShape, type Shape, type Values } from './prepared.ts';
import { type JobRow, jobs, type WorkflowRow, workflows } from './schema.ts';

/**
 * A window of a list, newest first. Its bounds are keys, so it costs the same at any place.
 * `before` and `after` are ids outside the window. Backwards, `count` is counted from the end of
 * the list.
 */
export interface IdWindow {
  count: number;
  backwards: boolean;
  after?: string;
  before?: string;
}

export interface WorkflowFilter {
  kind?: WorkflowKind | null;
  buildStatus?: BuildStatus | null;
  terminated?: boolean | null;
  deleted?: boolean | null;
  nameContains?: string | null;
  intervalMin?: number | null;
  intervalMax?: number | null;
}

export interface JobFilter {
  status?: JobStatus[] | null;
  trigger?: JobTrigger | null;
  workflowId?: string | null;
  scheduledAfter?: Date | null;
  scheduledBefore?: Date | null;
}

/** A user's workflows, newest first. Deleted ones are left out unless the filter asks for them. */
export async function listWorkflows(
  db: Db,
  userId: string,
  { terminated, deleted, ...filter }: WorkflowFilter,
  window: IdWindow,
): Promise<WorkflowRow[]> {
  const marks = { [`terminated_${terminated}`]: true, [`deleted_${deleted === true}`]: true };
  const values = given({ userId, ...filter, ...marks, ...windowValues(window) });
  const rows = await workflowsQuery(db, values).execute(values);
  return window.backwards ? rows.reverse() : rows;
}

/** A user's jobs, newest first, without those of deleted workflows. */
export async function listJobs(db: Db, userId: string, filter: JobFilter, window: IdWindow): Promise<JobRow[]> {
  const values = given({ userId, ...filter, ...windowValues(window) });
  const rows = await jobsQuery(db, values).execute(values);
  return window.backwards ? rows.reverse() : rows;
}

/**
 * The same window of the jobs of several workflows in one statement. Includes jobs of deleted
 * workflows.
 */
export async function listJobsByWorkflow(
  db: Db,
  workflowIds: string[],
  filter: JobFilter,
  window: IdWindow,
): Promise<Map<string, JobRow[]>> {
  const values = given({ workflowIds, ...filter, ...windowValues(window) });
  const rows = await jobsByWorkflowQuery(db, values).execute(values);
  const byWorkflow = new Map<string, JobRow[]>();
  for (const { page: job } of rows) {
    const list = byWorkflow.get(job.workflowId) ?? [];
    list.push(job);
    byWorkflow.set(job.workflowId, list);
  }
  // A join guarantees no order.
  for (const list of byWorkflow.values()) list.sort((a, b) => (a.id < b.id ? 1 : -1));
  return byWorkflow;
}

const workflowsQuery = preparedByShape((db, shape, name) => {
  const { placeholder } = shape;
  return named(
    'listWorkflows',
    db
      .select()
      .from(workflows)
      .where(
        and(
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
          within(workflows.id, shape),
        ),
      )
      .orderBy(order(workflows.id, shape))
      .limit(sql.placeholder('count')),
  ).prepare(name);
});

const jobsQuery = preparedByShape((db, shape, name) => {
  const shown = db
    .select({ one: sql`1` })
    .from(workflows)
    .where(and(eq(workflows.id, jobs.workflowId), isNull(workflows.deletedAt)));
  return named(
    'listJobs',
    db
      .select()
      .from(jobs)
      .where(and(eq(jobs.userId, sql.placeholder('userId')), ...jobConditions(shape), exists(shown)))
      .orderBy(order(jobs.id, shape))
      .limit(sql.placeholder('count')),
  ).prepare(name);
});

const jobsByWorkflowQuery = preparedByShape((db, shape, name) => {
  const page = db
    .select()
    .from(jobs)
    .where(and(sql`${jobs.workflowId} = asked.id`, ...jobConditions(shape)))
    .orderBy(order(jobs.id, shape))
    .limit(sql.placeholder('count'))
    .as('page');
  return named(
    'listJobsByWorkflow',
    db
      .select()
      .from(sql`unnest(${sql.placeholder('workflowIds')}::text[]::uuid[]) AS asked (id)`)
      .crossJoinLateral(page),
  ).prepare(name);
});

function jobConditions(shape: Shape): (SQL | undefined)[] {
  const { placeholder } = shape;
  return [
    shape.has('status') ? sql`${jobs.status} = ANY(${sql.placeholder('status')}::text[])` : undefined,
    where(eq, jobs.trigger, placeholder('trigger')),
    where(eq, jobs.workflowId, placeholder('workflowId')),
    where(gte, jobs.scheduledAt, placeholder('scheduledAfter')),
    where(lt, jobs.scheduledAt, placeholder('scheduledBefore')),
    within(jobs.id, shape),
  ];
}

function within(id: Column, { placeholder }: Shape): SQL | undefined {
  return and(where(lt, id, placeholder('after')), where(gt, id, placeholder('before')));
}

function order(id: Column, shape: Shape): SQL {
  return shape.has('backwards') ? asc(id) : desc(id);
}

function where(
  compare: (column: Column, value: Placeholder) => SQL,
  column: Column,
  value: Placeholder | undefined,
): SQL | undefined {
  return value && compare(column, value);
}

function windowValues({ count, backwards, after, before }: IdWindow): Values {
  return { count, after, before, backwards: backwards || undefined };
}

/**
 * Leaves out null values, which mean no filter. Sends instants as text, because a placeholder has
 * no column type.
 */
function given(values: Values): Values {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      value === undefined || value === null ? [] : [[name, value instanceof Date ? value.toISOString() : value]],
    ),
  );
}
