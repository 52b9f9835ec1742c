import { and, eq, exists, gte, isNull, lt, type SQL, sql } from 'drizzle-orm';
import type { JobStatus, JobTrigger } from '../../domain/states.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { preparedByShape, type Shape } from '../prepared.ts';
import { type JobRow, jobs, workflows } from '../schema.ts';
import { given, type IdWindow, inListOrder, order, where, windowValues, within } from './window.ts';

export interface JobFilter {
  status?: JobStatus[] | null;
  trigger?: JobTrigger | null;
  scheduledAfter?: Date | null;
  scheduledBefore?: Date | null;
}

/** The jobs of one user: of all workflows, or of these. Those of deleted workflows are left out. */
export interface JobsOfUser {
  userId: string;
  workflowIds?: string[] | undefined;
}

/** A user's jobs, by default newest first. */
export async function listJobs(db: Db, of: JobsOfUser, filter: JobFilter, window: IdWindow): Promise<JobRow[]> {
  const values = given({ ...of, ...filter, ...windowValues(window) });
  if (of.workflowIds === undefined) return inListOrder(await jobsQuery(db, values).execute(values), window);
  const rows = await jobsOfSomeQuery(db, values).execute(values);
  return inListOrder(
    rows.map(({ page }) => page),
    window,
  );
}

/** How many of a user's jobs there are, or `max + 1` if there are more than `max`. */
export async function countJobs(db: Db, of: JobsOfUser, filter: JobFilter, max: number): Promise<number> {
  const values = given({ ...of, ...filter, limit: max + 1 });
  const [row] = await (of.workflowIds === undefined ? countQuery : countOfSomeQuery)(db, values).execute(values);
  return row?.count ?? 0;
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
  const up = window.ascending ? 1 : -1;
  for (const list of byWorkflow.values()) list.sort((a, b) => (a.id < b.id ? -up : up));
  return byWorkflow;
}

/** The number of the jobs of each of the workflows, or `max + 1` if there are more than `max`. */
export async function countJobsByWorkflow(
  db: Db,
  workflowIds: string[],
  filter: JobFilter,
  max: number,
): Promise<Map<string, number>> {
  const values = given({ workflowIds, ...filter, limit: max + 1 });
  const rows = await countByWorkflowQuery(db, values).execute(values);
  return new Map(rows.map(({ id, count }) => [id, count]));
}

const jobsQuery = preparedByShape((db, shape, name) =>
  named(
    'listJobs',
    db
      .select()
      .from(jobs)
      .where(and(...ofUser(db), ...conditions(shape), within(jobs.id, shape)))
      .orderBy(...order(jobs.id, shape))
      .limit(sql.placeholder('count')),
  ).prepare(name),
);

/** Reads a window of each workflow by its index, at most `count` rows, and merges them. */
const jobsOfSomeQuery = preparedByShape((db, shape, name) => {
  const page = pageOfAsked(db, shape);
  return named(
    'listJobs',
    db
      .select()
      .from(ASKED_OF_USER)
      .crossJoinLateral(page)
      .orderBy(...order(page.id, shape))
      .limit(sql.placeholder('count')),
  ).prepare(name);
});

const jobsByWorkflowQuery = preparedByShape((db, shape, name) =>
  named('listJobsByWorkflow', db.select().from(ASKED).crossJoinLateral(pageOfAsked(db, shape))).prepare(name),
);

const countQuery = preparedByShape((db, shape, name) => {
  const counted = db
    .select({ one: sql`1`.as('one') })
    .from(jobs)
    .where(and(...ofUser(db), ...conditions(shape)))
    .limit(sql.placeholder('limit'))
    .as('counted');
  return named('countJobs', db.select({ count: COUNT }).from(counted)).prepare(name);
});

const countOfSomeQuery = preparedByShape((db, shape, name) => {
  const counted = db
    .select({ one: sql`1`.as('one') })
    .from(ASKED_OF_USER)
    .crossJoinLateral(countedOfAsked(db, shape))
    .limit(sql.placeholder('limit'))
    .as('of_all');
  return named('countJobs', db.select({ count: COUNT }).from(counted)).prepare(name);
});

const countByWorkflowQuery = preparedByShape((db, shape, name) =>
  named(
    'countJobsByWorkflow',
    db
      .select({ id: sql<string>`asked.id`, count: COUNT })
      .from(ASKED)
      .crossJoinLateral(countedOfAsked(db, shape))
      .groupBy(sql`asked.id`),
  ).prepare(name),
);

const COUNT = sql<number>`count(*)::integer`;

const IDS = sql`${sql.placeholder('workflowIds')}::text[]::uuid[]`;
const ASKED = sql`unnest(${IDS}) AS asked (id)`;
/** The owner comes first, so that no job of another user is read. */
const ASKED_OF_USER = sql`(SELECT id FROM workflows WHERE id = ANY(${IDS}) AND user_id = ${sql.placeholder('userId')}
  AND deleted_at IS NULL) AS asked`;

function pageOfAsked(db: Db, shape: Shape) {
  return db
    .select()
    .from(jobs)
    .where(and(sql`${jobs.workflowId} = asked.id`, ...conditions(shape), within(jobs.id, shape)))
    .orderBy(...order(jobs.id, shape))
    .limit(sql.placeholder('count'))
    .as('page');
}

function countedOfAsked(db: Db, shape: Shape) {
  return db
    .select({ one: sql`1`.as('one') })
    .from(jobs)
    .where(and(sql`${jobs.workflowId} = asked.id`, ...conditions(shape)))
    .limit(sql.placeholder('limit'))
    .as('counted');
}

function ofUser(db: Db): SQL[] {
  const shown = db
    .select({ one: sql`1` })
    .from(workflows)
    .where(and(eq(workflows.id, jobs.workflowId), isNull(workflows.deletedAt)));
  return [eq(jobs.userId, sql.placeholder('userId')), exists(shown)];
}

function conditions(shape: Shape): (SQL | undefined)[] {
  const { placeholder } = shape;
  return [
    shape.has('status') ? sql`${jobs.status} = ANY(${sql.placeholder('status')}::text[])` : undefined,
    where(eq, jobs.trigger, placeholder('trigger')),
    where(gte, jobs.scheduledAt, placeholder('scheduledAfter')),
    where(lt, jobs.scheduledAt, placeholder('scheduledBefore')),
  ];
}
