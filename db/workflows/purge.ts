import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDayOf, jobsOfPiece, piecesOfJobs } from '../job-days.ts';
import { deleteChunks } from '../logs/append.ts';

/**
 * Removes a bounded part of the stored data of one workflow whose purge was requested. Resolves
 * with whether there may be more to remove now.
 *
 * The row of the schedule stays while a job of the workflow is active (db/jobs/reconcile.ts), so a
 * workflow without a schedule has nothing running. Each call is a transaction under the lock of the
 * workflow; concurrent calls skip that workflow. It removes lines first, then jobs, and the
 * workflow last, so that a later call finds what a crash left. A line that arrives after its job is
 * gone is dropped (db/logs/append.ts).
 */
export async function purgeSome(db: Db): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [workflow] = await tx.execute<{ id: string }>(sql`
      SELECT /* purgeSome */ id FROM workflows WHERE purge_requested_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM schedules WHERE workflow_id = workflows.id)
      ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED`);
    if (workflow === undefined) return false;
    const jobIds = await firstJobs(tx, workflow.id);
    if (jobIds.length === 0) return purgeRest(tx, workflow.id);
    if (await hasChunksLeft(tx, jobIds)) return true;
    await eachDayOf(tx, jobIds, (partition, ids) =>
      tx.execute(
        sql`DELETE /* purgeSome */ FROM ${partition} USING unnest(${array(ids, 'uuid')}) AS u (id) WHERE jobs.id = ANY(ARRAY[u.id])`,
      ),
    );
    return true;
  });
}

/**
 * Requests the purge of at most `limit` workflows that were deleted at least `days` days ago by the
 * database's clock. Resolves with their number.
 */
export async function purgeDeleted(db: Db, { days, limit }: { days: number; limit: number }): Promise<number> {
  const rows = await db.execute(sql`
    UPDATE /* purgeDeleted */ workflows SET purge_requested_at = now() WHERE purge_requested_at IS NULL AND id = ANY(ARRAY(
      SELECT id FROM workflows WHERE purge_requested_at IS NULL AND deleted_at <= now() - make_interval(days => ${days})
      ORDER BY deleted_at LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED)) RETURNING 1`);
  return rows.length;
}

type Transaction = Pick<Db, 'execute'>;

/** Jobs of the workflow, from the oldest piece that has some. */
async function firstJobs(tx: Transaction, workflowId: string): Promise<string[]> {
  for (const piece of await piecesOfJobs(tx, { ascending: true })) {
    const page = jobsOfPiece(piece, {
      columns: sql`id`,
      where: sql`workflow_id = ${workflowId}`,
      order: 'ASC',
      limit: sql`${JOBS_PER_CALL_MAX}`,
    });
    const rows = await tx.execute<{ id: string }>(sql`SELECT /* firstJobs */ id FROM ${page} AS jobs`);
    if (rows.length > 0) return rows.map(({ id }) => id);
  }
  return [];
}

/**
 * Removes the builds of a purged workflow without jobs, then the workflow itself together with its
 * payloads.
 */
async function purgeRest(tx: Transaction, workflowId: string): Promise<boolean> {
  const builds = await tx.execute<{ id: string }>(sql`
    SELECT /* purgeRest */ id FROM builds WHERE workflow_id = ${workflowId} ORDER BY id LIMIT ${JOBS_PER_CALL_MAX}`);
  const buildIds = builds.map((build) => build.id);
  if (buildIds.length > 0) {
    if (await hasChunksLeft(tx, buildIds)) return true;
    await tx.execute(
      sql`DELETE /* purgeRest */ FROM builds USING unnest(${array(buildIds, 'uuid')}) AS u (id) WHERE builds.id = ANY(ARRAY[u.id])`,
    );
    return true;
  }
  await tx.execute(sql`DELETE /* purgeRest */ FROM run_requests WHERE workflow_id = ${workflowId}`);
  await tx.execute(sql`DELETE /* purgeRest */ FROM workflows WHERE id = ${workflowId}`);
  return true;
}

/** Removes chunks of these jobs or builds. Resolves with whether there may be more of them. */
async function hasChunksLeft(tx: Transaction, sourceIds: string[]): Promise<boolean> {
  return (await deleteChunks(tx, sourceIds, { limit: CHUNKS_PER_CALL_MAX })) === CHUNKS_PER_CALL_MAX;
}

const JOBS_PER_CALL_MAX = 1_000;
const CHUNKS_PER_CALL_MAX = 1_000; // a chunk has up to 256 KiB, compressed
