import { aliasedTable, and, eq, exists, getTableColumns, gte, isNull, lt, type SQL, Subquery, sql } from 'drizzle-orm';
import type { JobStatus, JobTrigger } from '../../domain/states.ts';
import type { Db } from '../client.ts';
import { jobsOfPiece, type Piece, piecesOfJobs } from '../job-days.ts';
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

/** What most lists of jobs show. */
const SUMMARY = [
  'id',
  'workflowId',
  'trigger',
  'status',
  'attempt',
  'scheduledAt',
  'startedAt',
  'completedAt',
  'exitCode',
  'failureReason',
  'failureMessage',
  'logLineCount',
  'logOpen',
] as const satisfies (keyof JobRow)[];
export type JobSummary = Pick<JobRow, (typeof SUMMARY)[number]>;

/** A user's jobs, by default newest first. */
export function listJobs(db: Db, of: JobsOfUser, filter: JobFilter, window: IdWindow): Promise<JobRow[]> {
  return readJobs(db, of, filter, window);
}

/** The same without the columns that most lists do not show. */
export function listJobSummaries(db: Db, of: JobsOfUser, filter: JobFilter, window: IdWindow): Promise<JobSummary[]> {
  return readJobs(db, of, { ...filter, summary: true }, window);
}

/** A filter, and whether the rows are summaries. */
type Asked = JobFilter & { summary?: true };

async function readJobs(db: Db, of: JobsOfUser, filter: Asked, window: IdWindow): Promise<JobRow[]> {
  const rows: JobRow[] = [];
  for (const piece of await piecesOf(db, window)) {
    const count = window.count - rows.length;
    if (count <= 0) break;
    const values = given({ ...of, ...filter, ...windowValues({ ...window, count }), ...inPiece(piece) });
    const page =
      of.workflowIds === undefined
        ? await jobsQuery(db, values).execute(values)
        : (await jobsOfSomeQuery(db, values).execute(values)).map((row) => row.page);
    rows.push(...page);
  }
  return inListOrder(rows, window);
}

/** How many of a user's jobs there are, or `max + 1` if there are more than `max`. */
export async function countJobs(db: Db, of: JobsOfUser, filter: JobFilter, max: number): Promise<number> {
  let count = 0;
  for (const piece of await piecesOfJobs(db, { ascending: false })) {
    if (count > max) break;
    const values = given({ ...of, ...filter, limit: max + 1 - count, ...inPiece(piece) });
    const [row] = await (of.workflowIds === undefined ? countQuery : countOfSomeQuery)(db, values).execute(values);
    count += row?.count ?? 0;
  }
  return count;
}

/**
 * The same window of the jobs of several workflows. Includes jobs of deleted workflows.
 */
export function listJobsByWorkflow(
  db: Db,
  workflowIds: string[],
  filter: JobFilter,
  window: IdWindow,
): Promise<Map<string, JobRow[]>> {
  return readJobsByWorkflow(db, workflowIds, filter, window);
}

/** The same without the columns that most lists do not show. */
export function listJobSummariesByWorkflow(
  db: Db,
  workflowIds: string[],
  filter: JobFilter,
  window: IdWindow,
): Promise<Map<string, JobSummary[]>> {
  return readJobsByWorkflow(db, workflowIds, { ...filter, summary: true }, window);
}

async function readJobsByWorkflow(
  db: Db,
  workflowIds: string[],
  filter: Asked,
  window: IdWindow,
): Promise<Map<string, JobRow[]>> {
  const byWorkflow = new Map<string, JobRow[]>();
  for (const piece of await piecesOf(db, window)) {
    const open = workflowIds.filter((id) => (byWorkflow.get(id)?.length ?? 0) < window.count);
    if (open.length === 0) break;
    const values = given({ workflowIds: open, ...filter, ...windowValues(window), ...inPiece(piece) });
    const rows = await jobsByWorkflowQuery(db, values).execute(values);
    for (const { page: job } of inReadOrder(rows, window)) {
      const list = byWorkflow.get(job.workflowId) ?? [];
      if (list.length < window.count) list.push(job);
      byWorkflow.set(job.workflowId, list);
    }
  }
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
  const counts = new Map<string, number>();
  for (const piece of await piecesOfJobs(db, { ascending: false })) {
    const open = workflowIds.filter((id) => (counts.get(id) ?? 0) <= max);
    if (open.length === 0) break;
    const values = given({ workflowIds: open, ...filter, limit: max + 1, ...inPiece(piece) });
    for (const { id, count } of await countByWorkflowQuery(db, values).execute(values))
      counts.set(id, Math.min((counts.get(id) ?? 0) + count, max + 1));
  }
  return counts;
}

/** The pieces in the order in which the rows of a window are read. */
function piecesOf(db: Db, window: IdWindow): Promise<Piece[]> {
  const { after, before, ascending = false, backwards } = window;
  return piecesOfJobs(db, {
    ascending: ascending !== backwards,
    above: ascending ? after : before,
    below: ascending ? before : after,
  });
}

/** A join guarantees no order. */
function inReadOrder<Row extends { page: JobRow }>(rows: Row[], { ascending = false, backwards }: IdWindow): Row[] {
  const up = ascending !== backwards ? 1 : -1;
  return rows.toSorted((a, b) => (a.page.id < b.page.id ? -up : up));
}

/** The piece is a part of the shape: each has its own statement. */
function inPiece(piece: Piece): Record<string, true> {
  return { [IN_PIECE + JSON.stringify(piece)]: true };
}
const IN_PIECE = 'in ';

function pieceOf(shape: Shape): Piece {
  const [name = ''] = shape.names.filter((one) => one.startsWith(IN_PIECE));
  return JSON.parse(name.slice(IN_PIECE.length));
}

const jobsQuery = preparedByShape((db, shape, name) =>
  named(
    'listJobs',
    db
      .select(shown(getTableColumns(jobs), shape))
      .from(new Subquery(page(shape, and(...ofUser(db), ...conditions(shape))), getTableColumns(jobs), 'jobs'))
      .orderBy(...order(jobs.id, shape))
      .limit(sql.placeholder('count')),
  ).prepare(name),
);

/** Reads a window of each workflow by its index, at most `count` rows, and merges them. */
const jobsOfSomeQuery = preparedByShape((db, shape, name) =>
  named(
    'listJobs',
    db
      .select({ page: shown(PAGE, shape) })
      .from(ASKED_OF_USER)
      .crossJoinLateral(new Subquery(pageOfAsked(shape), PAGE, 'page'))
      .orderBy(sql`page.id ${direction(shape)}`)
      .limit(sql.placeholder('count')),
  ).prepare(name),
);

const jobsByWorkflowQuery = preparedByShape((db, shape, name) =>
  named(
    'listJobsByWorkflow',
    db
      .select({ page: shown(PAGE, shape) })
      .from(ASKED)
      .crossJoinLateral(new Subquery(pageOfAsked(shape), PAGE, 'page')),
  ).prepare(name),
);

const countQuery = preparedByShape((db, shape, name) =>
  named(
    'countJobs',
    db.select({ count: COUNT }).from(sql`${counted(shape, and(...ofUser(db), ...conditions(shape)))} AS counted`),
  ).prepare(name),
);

const countOfSomeQuery = preparedByShape((db, shape, name) =>
  named(
    'countJobs',
    db
      .select({ count: COUNT })
      .from(
        sql`(SELECT 1 FROM ${ASKED_OF_USER} CROSS JOIN LATERAL ${countedOfAsked(shape)} AS of_one LIMIT ${sql.placeholder('limit')}) AS counted`,
      ),
  ).prepare(name),
);

const countByWorkflowQuery = preparedByShape((db, shape, name) =>
  named(
    'countJobsByWorkflow',
    db
      .select({ id: sql<string>`asked.id`, count: COUNT })
      .from(sql`${ASKED} CROSS JOIN LATERAL ${countedOfAsked(shape)} AS counted`)
      .groupBy(sql`asked.id`),
  ).prepare(name),
);

const PAGE = getTableColumns(aliasedTable(jobs, 'page'));

/** The columns that the caller asks for. */
function shown(columns: typeof PAGE, shape: Shape): typeof PAGE {
  if (!shape.has('summary')) return columns;
  const summary: Partial<typeof PAGE> = Object.fromEntries(SUMMARY.map((name) => [name, columns[name]]));
  return summary as typeof PAGE; // listJobSummaries has the type of what is left
}

const COUNT = sql<number>`count(*)::integer`;

const IDS = sql`${sql.placeholder('workflowIds')}::text[]::uuid[]`;
const ASKED = sql`unnest(${IDS}) AS asked (id)`;
/** The owner comes first, so that no job of another user is read. */
const ASKED_OF_USER = sql`(SELECT id FROM workflows WHERE id = ANY(${IDS}) AND user_id = ${sql.placeholder('userId')}
  AND deleted_at IS NULL) AS asked`;

const direction = (shape: Shape) => sql.raw(isUp(shape) ? 'ASC' : 'DESC');
const isUp = (shape: Shape) => shape.has('ascending') !== shape.has('backwards');

/** The first jobs of the piece that meet the condition, in the window. */
function page(shape: Shape, condition: SQL | undefined): SQL {
  return jobsOfPiece(pieceOf(shape), {
    where: and(condition, within(jobs.id, shape)),
    order: isUp(shape) ? 'ASC' : 'DESC',
    limit: sql`${sql.placeholder('count')}`,
  });
}

/** A row for each job of the piece that meets the condition. Any index serves, without an order. */
function counted(shape: Shape, condition: SQL | undefined): SQL {
  return jobsOfPiece(pieceOf(shape), { columns: sql`1`, where: condition, limit: sql`${sql.placeholder('limit')}` });
}

function pageOfAsked(shape: Shape): SQL {
  return page(shape, and(sql`${jobs.workflowId} = asked.id`, ...conditions(shape)));
}

function countedOfAsked(shape: Shape): SQL {
  return counted(shape, and(sql`${jobs.workflowId} = asked.id`, ...conditions(shape)));
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
