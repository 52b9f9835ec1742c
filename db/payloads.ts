import { sql } from 'drizzle-orm';
import type { Payload } from '../domain/payload/payload.ts';
import { array } from './arrays.ts';
import type { Db } from './client.ts';
import { eachDayOf } from './job-days.ts';
import { rowSet } from './row-set.ts';

export interface Generation {
  workflowId: string;
  generation: number;
}

export type GenerationKey = `${string}:${number}`;

export function generationKey({ workflowId, generation }: Generation): GenerationKey {
  return `${workflowId}:${generation}`;
}

/**
 * The payload of each generation, and the image that its build pinned, with the engine that had it.
 * Generations that were removed are missing.
 */
export async function loadPayloads(
  db: Db,
  generations: Generation[],
): Promise<
  Map<
    GenerationKey,
    {
      workflowId: string;
      payload: Payload;
      imageId: string | null;
      imageDigest: string | null;
      engineId: string | null;
    }
  >
> {
  if (generations.length === 0) return new Map();
  const rows = await db.execute<{
    workflow_id: string;
    generation: number;
    payload: Payload;
    image_id: string | null;
    image_digest: string | null;
    engine_id: string | null;
  }>(sql`
    SELECT /* loadPayloads */ p.workflow_id, p.generation, p.payload, b.image_id, b.image_digest, b.engine_id
    FROM ${rowSet('u', generations, { workflowId: 'uuid', generation: 'integer' })}
      JOIN payloads p ON p.workflow_id = u.workflow_id AND p.generation = u.generation
      LEFT JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation`);
  return new Map(
    rows.map((row) => [
      generationKey({ workflowId: row.workflow_id, generation: row.generation }),
      {
        workflowId: row.workflow_id,
        payload: row.payload,
        imageId: row.image_id,
        imageDigest: row.image_digest,
        engineId: row.engine_id,
      },
    ]),
  );
}

/**
 * Removes the generations before `generation` that no job needs. The last dispatched job needs its
 * generation until it ends, and a requested job needs its own. A workflow that is built again needs
 * the generation that it runs meanwhile. The builds of the removed
 * generations are already canceled. The caller holds the lock of the schedule, so that no job is
 * made meanwhile.
 */
export async function pruneGenerations(tx: Pick<Db, 'execute'>, { workflowId, generation }: Generation): Promise<void> {
  const generations = (await generationsInUse(tx, [workflowId])).map((used) => used.generation);
  await tx.execute(sql`
    DELETE /* pruneGenerations */ FROM payloads WHERE workflow_id = ${workflowId} AND generation < ${generation}
      AND generation <> ALL(${array(generations, 'integer')})
      AND generation NOT IN (SELECT schedules.generation FROM schedules WHERE schedules.workflow_id = ${workflowId} AND state = 'READY')`);
}

/**
 * The generations that unfinished jobs of these workflows use: the job that was dispatched last,
 * and those that are requested.
 */
export async function generationsInUse(db: Pick<Db, 'execute'>, workflowIds: string[]): Promise<Generation[]> {
  if (workflowIds.length === 0) return [];
  const ids = array(workflowIds, 'uuid');
  const rows = await db.execute<{ id: string }>(sql`
    SELECT /* generationsInUse */ last_job_id AS id FROM schedules WHERE workflow_id = ANY(${ids}) AND last_job_id IS NOT NULL
    UNION ALL SELECT job_id FROM run_requests WHERE workflow_id = ANY(${ids})`);
  const used = await eachDayOf(
    db,
    rows.map(({ id }) => id),
    (jobs, ofDay) =>
      db.execute<{ workflow_id: string; generation: number }>(sql`
    SELECT /* generationsInUse */ workflow_id, generation FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')}) AND completed_at IS NULL`),
  );
  return used.map((job) => ({ workflowId: job.workflow_id, generation: job.generation }));
}
