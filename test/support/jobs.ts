import { asc, eq } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { type JobRow, jobs } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { until } from './time.ts';

type NewJob = typeof jobs.$inferInsert;

/**
 * Stores the row of a CONTAINER job and returns its id. Its workflow need not exist. The job is
 * RUNNING unless `changes` say otherwise.
 */
export async function insertJob(db: Db, userId: string, changes: Partial<NewJob> = {}): Promise<string> {
  const id = newId();
  await db.insert(jobs).values({
    id,
    workflowId: newId(),
    userId,
    kind: 'CONTAINER',
    trigger: 'MANUAL',
    status: 'RUNNING',
    generation: 1,
    attempt: 1,
    scheduledAt: new Date(),
    startedAt: new Date(),
    ...(changes.completedAt ? {} : { leaseToken: newId() }),
    ...changes,
  });
  return id;
}

/** Stores only the row of a running job of this user, which is all that a log needs. */
export function runningJob({ db }: { db: Db }, { id: userId }: { id: string }): Promise<string> {
  return insertJob(db, userId);
}

/** Completes such a job and publishes the change, unless `published` is false. */
export async function endJob(
  { db, cache }: { db: Db; cache: Cache },
  { id: userId }: { id: string },
  id: string,
  logLineCount: number,
  { published = true } = {},
): Promise<void> {
  await db
    .update(jobs)
    .set({ status: 'COMPLETED', completedAt: new Date(), leaseToken: null, logLineCount })
    .where(eq(jobs.id, id));
  if (published) await cache.publish(userChannel(userId), encodeChanged({ jobs: [id] }));
}

/** The jobs of a workflow, oldest first. */
export async function jobsOf(db: Db, workflowId: string): Promise<JobRow[]> {
  return db.select().from(jobs).where(eq(jobs.workflowId, workflowId)).orderBy(asc(jobs.id));
}

/** Waits until job number `nth` of the workflow, counted from 0, is in `status`. */
export function jobIn(db: Db, workflowId: string, status: string, nth = 0): Promise<JobRow> {
  return until(`job ${nth} ${status}`, async () => {
    const row = (await jobsOf(db, workflowId))[nth];
    return row?.status === status ? row : undefined;
  });
}
