import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDay } from '../job-days.ts';
import { type Generation, type GenerationKey, generationKey, generationsInUse } from '../payloads.ts';
import { rowSet } from '../row-set.ts';

/** The workflows among these that have a running build. */
export async function workflowsBuilding(db: Db, workflowIds: string[]): Promise<Set<string>> {
  if (workflowIds.length === 0) return new Set();
  const rows = await db.execute<{ id: string }>(sql`
    SELECT /* workflowsBuilding */ DISTINCT workflow_id AS id FROM builds
    WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND completed_at IS NULL AND status = 'STARTED'`);
  return new Set(rows.map((row) => row.id));
}

/**
 * Whether the generation of the build `b` of the workflow `w` is needed, even if no unfinished job
 * uses it (generationsInUse). A live workflow needs its current generation unless its build failed.
 * A workflow that is built again needs the generation that it runs meanwhile. Without the fence
 * (OFFSET 0), all schedules are hashed.
 */
export const IS_NEEDED = sql`w.generation = b.generation AND w.terminated_at IS NULL AND b.status IN ('QUEUED', 'STARTED', 'COMPLETED')
      OR EXISTS (SELECT FROM schedules s WHERE s.workflow_id = w.id AND s.state = 'READY' AND s.generation = b.generation OFFSET 0)`;

/**
 * Those of the generations whose image is needed, with the image id of their build (null while the
 * build runs).
 */
export async function neededGenerations(
  db: Db,
  generations: Generation[],
): Promise<Map<GenerationKey, { imageId: string | null }>> {
  if (generations.length === 0) return new Map();
  const rows = await db.execute<{
    workflow_id: string;
    generation: number;
    image_id: string | null;
    needed: boolean;
  }>(sql`
    SELECT /* neededGenerations */ b.workflow_id, b.generation, b.image_id, ${IS_NEEDED} AS needed
    FROM ${rowSet('u', generations, { workflowId: 'uuid', generation: 'integer' })}
      JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation
      JOIN workflows w ON w.id = u.workflow_id`);
  const others = rows.filter(({ needed }) => !needed).map((row) => row.workflow_id);
  const inUse = new Set((await generationsInUse(db, others)).map(generationKey));
  const found = rows.map((row) => {
    const key = generationKey({ workflowId: row.workflow_id, generation: row.generation });
    return { key, imageId: row.image_id, isNeeded: row.needed || inUse.has(key) };
  });
  return new Map(found.filter(({ isNeeded }) => isNeeded).map(({ key, imageId }) => [key, { imageId }]));
}

/** The full name of an image on an engine: `docker.io/library/alpine:3`. */
export interface ImageName {
  image: string;
  /** The registry and repository of the image. */
  repository: string;
}

/** A pull with a login. `puller` is the build or job that needs the image. */
export interface PrivatePull extends ImageName {
  puller: string;
  engineId: string;
}

/**
 * Records that a pull with a login begins. `imageIdBefore` is the image that the name means on the
 * engine now. Until the pull is decided, everything with the name counts as private. A retry after
 * a crash keeps the first record.
 */
export async function beginPrivatePull(
  db: Db,
  { puller, image, repository, engineId }: PrivatePull,
  imageIdBefore: string | undefined,
): Promise<void> {
  await db.execute(sql`
    INSERT /* beginPrivatePull */ INTO private_pulls (puller, image, repository, engine_id, image_id_before)
    VALUES (${puller}, ${image}, ${repository}, ${engineId}, ${imageIdBefore ?? null})
    ON CONFLICT DO NOTHING`);
}

/**
 * Records that the pull has ended and that the name now means `imageId`. The image is private,
 * unless the name meant the same image before the pull.
 */
export async function settlePrivatePull(
  db: Db,
  { puller, image, engineId }: PrivatePull,
  imageId: string | undefined,
): Promise<void> {
  await db.execute(sql`
    WITH /* settlePrivatePull */ settled AS (
      DELETE FROM private_pulls WHERE puller = ${puller} AND image = ${image} AND engine_id = ${engineId}
      RETURNING image_id_before
    )
    INSERT INTO private_images (image_id, image)
      SELECT ${imageId ?? null}::text, ${image} FROM settled
      WHERE ${imageId ?? null}::text IS NOT NULL AND image_id_before IS DISTINCT FROM ${imageId ?? null}::text
    ON CONFLICT DO NOTHING`);
}

/**
 * An engine may continue a pull after its worker has stopped, for at most this time. The margin is
 * wide.
 */
const PULL_END_MINUTES = 10;

/**
 * At most `limit` pulls of an engine whose build or job ended so long ago that the engine no longer
 * pulls.
 */
export async function endedPrivatePulls(db: Db, engineId: string, countMax: number): Promise<PrivatePull[]> {
  const margin = sql`now() - make_interval(mins => ${PULL_END_MINUTES})`;
  const rows = await db.execute<{ puller: string; image: string; repository: string }>(sql`
    SELECT /* endedPrivatePulls */ puller, image, repository FROM private_pulls p
    WHERE engine_id = ${engineId} AND started_at < ${margin}
      AND NOT EXISTS (SELECT FROM builds WHERE id = ANY(ARRAY[p.puller]) AND (completed_at IS NULL OR completed_at >= ${margin}))
    ORDER BY started_at`);
  const pulling = await eachDay(
    db,
    rows,
    ({ puller }) => puller,
    (jobs, ofDay) =>
      db.execute<{ id: string }>(sql`
    SELECT /* endedPrivatePulls */ id FROM ${jobs} WHERE id = ANY(${array(
      ofDay.map(({ puller }) => puller),
      'uuid',
    )})
      AND (completed_at IS NULL OR completed_at >= ${margin})`),
  );
  const kept = new Set(pulling.map(({ id }) => id));
  const ended = rows.filter(({ puller }) => !kept.has(puller)).slice(0, countMax);
  return ended.map((row) => ({ puller: row.puller, image: row.image, repository: row.repository, engineId }));
}

/**
 * The names under which a login has brought this image onto an engine, or may be bringing it.
 * Candidates are pulls of this name. For a digest they are pulls of any name of the repository,
 * because a pull of any tag may bring the digest.
 */
export async function privateNames(
  db: Db,
  imageId: string,
  { image, repository }: ImageName,
  isByDigest: boolean,
): Promise<string[]> {
  const rows = await db.execute<{ image: string }>(sql`
    SELECT /* privateNames */ image FROM private_images WHERE image_id = ${imageId}
    UNION ALL
    SELECT image FROM private_pulls
    WHERE repository = ${repository} AND image_id_before IS DISTINCT FROM ${imageId}
      AND (${isByDigest} OR image IN (${image}, ${repository}))`);
  return rows.map((row) => row.image);
}

/** Older rows are removed. The registry is then asked again for those images. */
const IMAGES_PER_USER_MAX = 1_000;

interface PulledImage {
  userId: string;
  imageId: string;
  repository: string;
}

/** Notes that a registry has given this image to the user. */
export async function notePulledImage(db: Db, { userId, imageId, repository }: PulledImage): Promise<void> {
  await db.execute(sql`
    WITH /* notePulledImage */ noted AS (
      INSERT INTO pulled_images (user_id, image_id, image) VALUES (${userId}, ${imageId}, ${repository})
      ON CONFLICT (user_id, image_id, image) DO UPDATE SET pulled_at = now()
    )
    DELETE FROM pulled_images p USING (
      SELECT image_id, image FROM pulled_images
      WHERE user_id = ${userId} AND (image_id, image) <> (${imageId}, ${repository})
      ORDER BY pulled_at DESC OFFSET ${IMAGES_PER_USER_MAX - 1} FOR UPDATE SKIP LOCKED) old
    WHERE p.user_id = ${userId} AND p.image_id = old.image_id AND p.image = old.image`);
}

export async function wasPulledFor(db: Db, { userId, imageId, repository }: PulledImage): Promise<boolean> {
  const rows = await db.execute(sql`
    SELECT /* wasPulledFor */ FROM pulled_images WHERE user_id = ${userId} AND image_id = ${imageId} AND image = ${repository}`);
  return rows.length > 0;
}
