import { and, type Column, desc, eq, getTableColumns, gt, isNull, or, type SQL, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { Payload } from '../domain/payload/payload.ts';
import { array, arrayText } from './arrays.ts';
import type { Db } from './client.ts';
import { eachDayOf, jobsIn } from './job-days.ts';
import { named } from './named.ts';
import { preparedByShape, type Shape } from './prepared.ts';
import { rowSet } from './row-set.ts';
import {
  type BuildRow,
  builds,
  type JobRow,
  jobs,
  logChunks,
  payloads,
  schedules,
  type WorkflowRow,
  workflows,
} from './schema.ts';

/**
 * Rows by id, in one statement for any number of ids. Functions named `...Of` return only the rows
 * of one user. The ids must be UUIDs. Workflows that are being purged are left out.
 */

const IDS = sql`${sql.placeholder('ids')}::uuid[]`;
const ANY_ID = sql`ANY(${IDS})`;
const ASKED = sql`unnest(${IDS}) AS asked (id)`;

const OF_USER = and(
  eq(workflows.id, ANY_ID),
  eq(workflows.userId, sql.placeholder('userId')),
  isNull(workflows.purgeRequestedAt),
);

export async function workflowsOf(db: Db, userId: string, ids: string[]): Promise<WorkflowRow[]> {
  const values = { ids: arrayText(ids, 'uuid'), userId };
  return workflowsOfQuery(db, values).execute(values);
}

const workflowsOfQuery = preparedByShape((db, _, name) =>
  named('workflowsOf', db.select().from(workflows).where(OF_USER)).prepare(name),
);

const LABEL = { id: workflows.id, name: workflows.name, kind: workflows.kind };
export type WorkflowLabel = Pick<WorkflowRow, keyof typeof LABEL>;

/** What lists of jobs show of their workflows. Reading all columns takes three times as long. */
export async function workflowLabelsOf(db: Db, userId: string, ids: string[]): Promise<WorkflowLabel[]> {
  const values = { ids: arrayText(ids, 'uuid'), userId };
  return workflowLabelsOfQuery(db, values).execute(values);
}

const workflowLabelsOfQuery = preparedByShape((db, _, name) =>
  named('workflowLabelsOf', db.select(LABEL).from(workflows).where(OF_USER)).prepare(name),
);

export function jobsOf(db: Db, userId: string, ids: string[]): Promise<JobRow[]> {
  return eachDayOf(db, ids, async (day, ofDay) => {
    const values = { ids: arrayText(ofDay, 'uuid'), userId, ...inDay(day) };
    return jobsOfQuery(db, values).execute(values);
  });
}

const jobsOfQuery = preparedByShape((db, shape, name) =>
  named(
    'jobsOf',
    db
      .select(getTableColumns(jobs))
      .from(jobsIn(dayOf(shape)))
      .where(and(eq(jobs.id, ANY_ID), eq(jobs.userId, sql.placeholder('userId')), isKept(jobs.workflowId))),
  ).prepare(name),
);

/** The day is a part of the shape: each has its own statement. */
function inDay(day: SQL): Record<string, true> {
  return { [IN_DAY + DIALECT.sqlToQuery(day).sql]: true };
}

function dayOf({ names }: Shape): SQL {
  const [name = ''] = names.filter((one) => one.startsWith(IN_DAY));
  return sql.raw(name.slice(IN_DAY.length));
}

const IN_DAY = 'in ';
const DIALECT = new PgDialect();

export async function buildsOf(db: Db, userId: string, ids: string[]): Promise<BuildRow[]> {
  const values = { ids: arrayText(ids, 'uuid'), userId };
  return buildsOfQuery(db, values).execute(values);
}

const buildsOfQuery = preparedByShape((db, _, name) =>
  named(
    'buildsOf',
    db
      .select()
      .from(builds)
      .where(and(eq(builds.id, ANY_ID), eq(builds.userId, sql.placeholder('userId')), isKept(builds.workflowId))),
  ).prepare(name),
);

/** Rows of any user, for streams that checked the owner when they began. */
export async function anyWorkflows(db: Db, ids: string[]): Promise<WorkflowRow[]> {
  const values = { ids: arrayText(ids, 'uuid') };
  return anyWorkflowsQuery(db, values).execute(values);
}

const anyWorkflowsQuery = preparedByShape((db, _, name) =>
  named(
    'anyWorkflows',
    db
      .select()
      .from(workflows)
      .where(and(eq(workflows.id, ANY_ID), isNull(workflows.purgeRequestedAt))),
  ).prepare(name),
);

export function anyJobs(db: Db, ids: string[]): Promise<JobRow[]> {
  return eachDayOf(db, ids, async (day, ofDay) => {
    const values = { ids: arrayText(ofDay, 'uuid'), ...inDay(day) };
    return anyJobsQuery(db, values).execute(values);
  });
}

const anyJobsQuery = preparedByShape((db, shape, name) =>
  named(
    'anyJobs',
    db
      .select(getTableColumns(jobs))
      .from(jobsIn(dayOf(shape)))
      .where(and(eq(jobs.id, ANY_ID), isKept(jobs.workflowId))),
  ).prepare(name),
);

export async function anyBuilds(db: Db, ids: string[]): Promise<BuildRow[]> {
  const values = { ids: arrayText(ids, 'uuid') };
  return anyBuildsQuery(db, values).execute(values);
}

const anyBuildsQuery = preparedByShape((db, _, name) =>
  named(
    'anyBuilds',
    db
      .select()
      .from(builds)
      .where(and(eq(builds.id, ANY_ID), isKept(builds.workflowId))),
  ).prepare(name),
);

/**
 * The condition that the workflow of a row is not being purged. The index that it reads is nearly
 * always empty.
 */
export function isKept(workflowId: Column): SQL {
  return sql`NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = ${workflowId} AND purged.purge_requested_at IS NOT NULL)`;
}

/** The newest build of each of the workflows. */
export async function newestBuilds(db: Db, workflowIds: string[]): Promise<BuildRow[]> {
  const values = { ids: arrayText(workflowIds, 'uuid') };
  return newestBuildsQuery(db, values).execute(values);
}

const newestBuildsQuery = preparedByShape((db, _, name) =>
  named(
    'newestBuilds',
    db
      .selectDistinctOn([builds.workflowId])
      .from(builds)
      .where(eq(builds.workflowId, ANY_ID))
      .orderBy(builds.workflowId, desc(builds.generation)),
  ).prepare(name),
);

/**
 * Workflows of these users that changed since `since`. With it, a stream of all workflows of a user
 * finds the changes whose hints were lost.
 */
export async function workflowsChangedSince(db: Db, userIds: string[], since: Date): Promise<WorkflowRow[]> {
  return named(
    'workflowsChangedSince',
    db
      .select()
      .from(workflows)
      .where(
        and(
          eq(workflows.userId, sql`ANY(${array(userIds, 'uuid')})`),
          isNull(workflows.purgeRequestedAt),
          or(gt(workflows.updatedAt, since), gt(workflows.deletedAt, since)),
        ),
      )
      .orderBy(workflows.updatedAt),
  );
}

/** The newest `count` workflows of a user, newest first, also the deleted ones. */
export async function newestWorkflowsOf(db: Db, userId: string, count: number): Promise<WorkflowRow[]> {
  return named(
    'newestWorkflowsOf',
    db
      .select()
      .from(workflows)
      .where(and(eq(workflows.userId, userId), isNull(workflows.purgeRequestedAt)))
      .orderBy(desc(workflows.id))
      .limit(count),
  );
}

/** Those of the ids whose workflows exist and are not being purged. */
export async function keptWorkflows(db: Db, ids: string[]): Promise<string[]> {
  const rows = await named(
    'keptWorkflows',
    db
      .select({ id: workflows.id })
      .from(workflows)
      .where(and(eq(workflows.id, sql`ANY(${array(ids, 'uuid')})`), isNull(workflows.purgeRequestedAt))),
  );
  return rows.map(({ id }) => id);
}

/** The time by the database's clock, which also sets the times in rows. */
export async function databaseNow(db: Db): Promise<Date> {
  const [row] = await db.execute<{ now: string }>(sql`SELECT /* databaseNow */ now() AS now`);
  return new Date(row?.now ?? Number.NaN);
}

/** The payload of one generation of each of the workflows, in any order. */
export async function payloadsOf(
  db: Db,
  keys: { workflowId: string; generation: number }[],
): Promise<{ workflowId: string; generation: number; payload: Payload }[]> {
  const asked = rowSet('asked', keys, { workflowId: 'uuid', generation: 'integer' });
  return named(
    'payloadsOf',
    db.select().from(payloads).where(sql`(${payloads.workflowId}, ${payloads.generation}) IN (SELECT * FROM ${asked})`),
  );
}

/** What is shown of a schedule. */
export type ScheduleRow = Pick<
  typeof schedules.$inferSelect,
  'workflowId' | 'state' | 'nextRunAt' | 'delaySeconds' | 'lateSeconds' | 'paused' | 'pausedUntil' | 'skippedRunCount'
>;

export async function schedulesOf(db: Db, workflowIds: string[]): Promise<ScheduleRow[]> {
  const values = { ids: arrayText(workflowIds, 'uuid') };
  return schedulesOfQuery(db, values).execute(values);
}

const schedulesOfQuery = preparedByShape((db, _, name) =>
  named(
    'schedulesOf',
    db
      .select({
        workflowId: schedules.workflowId,
        state: schedules.state,
        nextRunAt: schedules.nextRunAt,
        delaySeconds: schedules.delaySeconds,
        lateSeconds: schedules.lateSeconds,
        paused: schedules.paused,
        pausedUntil: schedules.pausedUntil,
        skippedRunCount: schedules.skippedRunCount,
      })
      .from(schedules)
      .where(eq(schedules.workflowId, ANY_ID)),
  ).prepare(name),
);

/** The number of the first stored line of each job or build. Those without lines are left out. */
export async function firstLineNumbers(db: Db, sourceIds: string[]): Promise<Map<string, number>> {
  const values = { ids: arrayText(sourceIds, 'uuid') };
  const rows = await firstLineNumbersQuery(db, values).execute(values);
  return new Map(rows.map((row) => [row.sourceId, row.firstNumber]));
}

const firstLineNumbersQuery = preparedByShape((db, _, name) => {
  const first = db
    .select({ sourceId: logChunks.sourceId, firstNumber: logChunks.firstNumber })
    .from(logChunks)
    .where(sql`${logChunks.sourceId} = asked.id`)
    .orderBy(logChunks.firstNumber)
    .limit(1)
    .as('first');
  return named(
    'firstLineNumbers',
    db.select({ sourceId: first.sourceId, firstNumber: first.firstNumber }).from(ASKED).crossJoinLateral(first),
  ).prepare(name);
});

/** The number of the last stored line of each job or build. Those without lines are left out. */
export async function lastLineNumbers(db: Db, sourceIds: string[]): Promise<Map<string, number>> {
  const values = { ids: arrayText(sourceIds, 'uuid') };
  const rows = await lastLineNumbersQuery(db, values).execute(values);
  return new Map(rows.map((row) => [row.sourceId, row.lastNumber]));
}

const lastLineNumbersQuery = preparedByShape((db, _, name) => {
  const last = db
    .select({ sourceId: logChunks.sourceId, lastNumber: logChunks.lastNumber })
    .from(logChunks)
    .where(sql`${logChunks.sourceId} = asked.id`)
    .orderBy(desc(logChunks.firstNumber))
    .limit(1)
    .as('last');
  return named(
    'lastLineNumbers',
    db.select({ sourceId: last.sourceId, lastNumber: last.lastNumber }).from(ASKED).crossJoinLateral(last),
  ).prepare(name);
});
