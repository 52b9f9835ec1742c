import { sql } from 'drizzle-orm';
import { array } from './arrays.ts';
import type { Db } from './client.ts';
import { type Generation, type GenerationKey, generationKey } from './payloads.ts';

/** Those of these workflows of which a build runs. */
export async function workflowsBuilding(db: Db, workflowIds: string[]): Promise<Set<string>> {
  if (workflowIds.length === 0) return new Set();
  const rows = await db.execute<{ id: string }>(sql`
    SELECT DISTINCT workflow_id AS id FROM builds
    WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND completed_at IS NULL AND status = 'STARTED'`);
  return new Set(rows.map((row) => row.id));
}

/**
 * Those of these generations whose image is needed, with the id of what their build made, null while it has not ended: the present one
 * of a workflow that lives, unless its build failed; and one that a job which has not ended began with or waits to run.
 */
export async function neededGenerations(
  db: Db,
  generations: Generation[],
): Promise<Map<GenerationKey, { imageId: string | null }>> {
  if (generations.length === 0) return new Map();
  const rows = await db.execute<{ workflow_id: string; generation: number; image_id: string | null }>(sql`
    SELECT b.workflow_id, b.generation, b.image_id
    FROM unnest(
      ${array(
        generations.map(({ workflowId }) => workflowId),
        'uuid',
      )},
      ${array(
        generations.map(({ generation }) => generation),
        'integer',
      )}
    ) AS u (workflow_id, generation)
      JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation
      JOIN workflows w ON w.id = u.workflow_id
    WHERE w.generation = u.generation AND w.terminated_at IS NULL AND b.status IN ('QUEUED', 'STARTED', 'COMPLETED')
      OR EXISTS (
        SELECT FROM schedules s JOIN jobs j ON j.id = s.last_job_id
        WHERE s.workflow_id = w.id AND j.generation = u.generation AND j.completed_at IS NULL)
      OR EXISTS (
        SELECT FROM run_requests r JOIN jobs j ON j.id = r.job_id
        WHERE r.workflow_id = w.id AND j.generation = u.generation)`);
  return new Map(
    rows.map((row) => [
      generationKey({ workflowId: row.workflow_id, generation: row.generation }),
      { imageId: row.image_id },
    ]),
  );
}

/** What a login has just brought onto an engine, and the name that it was asked for by. */
export async function notePrivateImage(db: Db, imageId: string, image: string): Promise<void> {
  await db.execute(
    sql`INSERT INTO private_images (image_id, image) VALUES (${imageId}, ${image}) ON CONFLICT DO NOTHING`,
  );
}

/** The names by which logins have brought this image onto an engine. */
export async function privateNames(db: Db, imageId: string): Promise<string[]> {
  const rows = await db.execute<{ image: string }>(sql`SELECT image FROM private_images WHERE image_id = ${imageId}`);
  return rows.map((row) => row.image);
}
