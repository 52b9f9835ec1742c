import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { generationKey, generationsInUse } from '../payloads.ts';
import { rowSet } from '../row-set.ts';
import { IS_NEEDED } from './images.ts';

/**
 * The images that this installation has pulled onto its engines. An image that was on the engine
 * before the first pull is not among them. Nor is one that a build made: its labels say whose it
 * is.
 *
 * The sweep that removes an image holds the lock of its row until the engine has answered. A build
 * or a job that finds the image notes its use first, so it waits for that lock:
 *
 *   use, then removal                   the removal finds a fresh row, and skips it
 *   removal, then use                   the use waits. Then the image is gone, and is pulled again
 *   removal skips: container, needed    the use waits for that answer, then goes on
 *   the sweep's process ends            the lock ends with its session. The next sweep looks again
 */
export interface EngineImage {
  /** The name of the engine's store. */
  engineId: string;
  imageId: string;
}

/**
 * Notes the names that a pull has given to an image. An image that was there before the pull stays
 * whose it was: its names are noted only if it is one of ours.
 */
export async function noteEngineImage(
  db: Db,
  { engineId, imageId, names, isNew }: EngineImage & { names: string[]; isNew: boolean },
): Promise<void> {
  const added = array(names, 'text');
  await db.execute(
    isNew
      ? sql`
        INSERT /* noteEngineImage */ INTO engine_images (engine_id, image_id, names) VALUES (${engineId}, ${imageId}, ${added})
        ON CONFLICT (engine_id, image_id) DO UPDATE SET pulled_at = now(), last_used_at = now(), look_at = now(),
          names = ARRAY(SELECT unnest(engine_images.names) UNION SELECT unnest(excluded.names) ORDER BY 1)`
      : sql`
        UPDATE /* noteEngineImage */ engine_images SET pulled_at = now(), last_used_at = now(),
          names = ARRAY(SELECT unnest(names) UNION SELECT unnest(${added}) ORDER BY 1)
        WHERE engine_id = ${engineId} AND image_id = ${imageId}`,
  );
}

/** A use within this time after the last one is not written down. */
const USE_MINUTES = 60;

/**
 * Notes that a build or a job is about to use an image. Waits while a sweep decides about it. The
 * image may be gone afterwards.
 */
export async function noteImageUse(db: Db, { engineId, imageId }: EngineImage): Promise<void> {
  await db.execute(sql`
    UPDATE /* noteImageUse */ engine_images SET last_used_at = now()
    WHERE engine_id = ${engineId} AND image_id = ${imageId}
      AND last_used_at < now() - make_interval(mins => ${USE_MINUTES})`);
}

/** An image as the table has it at one time. Each note of a pull changes `version`. */
export interface KnownImage {
  imageId: string;
  names: string[];
  version: string;
}

export async function engineImages(db: Db, engineId: string): Promise<KnownImage[]> {
  const rows = await db.execute<{ image_id: string; names: string[]; version: string }>(sql`
    SELECT /* engineImages */ image_id, names, pulled_at::text AS version FROM engine_images WHERE engine_id = ${engineId}`);
  return rows.map(({ image_id: imageId, names, version }) => ({ imageId, names, version }));
}

/**
 * Forgets images that the engine has no more, unless they were pulled again since they were read:
 * the same image may come back by another hand.
 */
export async function forgetEngineImages(db: Db, engineId: string, gone: KnownImage[]): Promise<void> {
  if (gone.length === 0) return;
  await db.execute(sql`
    DELETE /* forgetEngineImages */ FROM engine_images WHERE ctid = ANY(ARRAY(
      SELECT e.ctid FROM ${rowSet('u', gone, { imageId: 'text', version: 'text' })}
        JOIN engine_images e ON e.engine_id = ${engineId} AND e.image_id = u.image_id
      WHERE e.pulled_at = u.version::timestamptz ORDER BY e.image_id FOR UPDATE OF e SKIP LOCKED))`);
}

/** Forgets names that an image has lost: who gives it one of them later is somebody else. */
export async function forgetImageNames(
  db: Db,
  engineId: string,
  { imageId, version }: KnownImage,
  lost: string[],
): Promise<void> {
  await db.execute(sql`
    UPDATE /* forgetImageNames */ engine_images
    SET names = ARRAY(SELECT unnest(names) EXCEPT SELECT unnest(${array(lost, 'text')}) ORDER BY 1)
    WHERE engine_id = ${engineId} AND image_id = ${imageId} AND pulled_at = ${version}::timestamptz`);
}

/** Images that nothing has used for `days`, those first that wait longest for a look. */
export async function unusedImages(
  db: Db,
  engineId: string,
  { days, limit }: { days: number; limit: number },
): Promise<string[]> {
  const rows = await db.execute<{ image_id: string }>(sql`
    SELECT /* unusedImages */ image_id FROM engine_images
    WHERE engine_id = ${engineId} AND last_used_at < now() - make_interval(days => ${days}) AND look_at <= now()
    ORDER BY look_at, image_id LIMIT ${limit}`);
  return rows.map((row) => row.image_id);
}

/** A sweep looks again at an image that is needed, or that the engine did not remove. */
const LOOK_AGAIN_MINUTES = 60;

/**
 * Lets `remove` take an image from its engine if nothing has used it for `days` and nothing needs
 * it. Nobody else uses the image until the answer is written down. `remove` gets the names under
 * which it was pulled, and says whether the image is gone.
 */
export async function removeUnusedImage(
  db: Db,
  { engineId, imageId, days }: EngineImage & { days: number },
  remove: (names: string[], waitingBuilds: BuildSource[]) => Promise<boolean>,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [row] = await tx.execute<{ names: string[] }>(sql`
      SELECT /* removeUnusedImage */ names FROM engine_images
      WHERE engine_id = ${engineId} AND image_id = ${imageId} AND last_used_at < now() - make_interval(days => ${days})
      FOR UPDATE SKIP LOCKED`);
    if (row === undefined) return false;
    // Separate statements: they see what was committed before the lock.
    const waiting = (await isImageNeeded(tx, imageId)) ? undefined : await waitingSources(tx);
    const isGone = waiting !== undefined && (await remove(row.names, waiting));
    await tx.execute(
      isGone
        ? sql`DELETE /* removeUnusedImage */ FROM engine_images WHERE engine_id = ${engineId} AND image_id = ${imageId}`
        : sql`
          UPDATE /* removeUnusedImage */ engine_images SET look_at = now() + make_interval(mins => ${LOOK_AGAIN_MINUTES})
          WHERE engine_id = ${engineId} AND image_id = ${imageId}`,
    );
    return isGone;
  });
}

/** Whether a generation that is needed has pinned this image, on whatever engine. */
export async function isImageNeeded(db: Pick<Db, 'execute'>, imageId: string): Promise<boolean> {
  const rows = await db.execute(sql`
    SELECT /* isImageNeeded */ FROM builds b JOIN workflows w ON w.id = b.workflow_id
    WHERE b.image_id = ${imageId} AND (${IS_NEEDED}) LIMIT 1`);
  if (rows.length > 0) return true;
  const built = await db.execute<{ workflow_id: string; generation: number }>(sql`
    SELECT /* isImageNeeded */ b.workflow_id, b.generation FROM builds b WHERE b.image_id = ${imageId}`);
  const used = await generationsInUse(db, [...new Set(built.map((build) => build.workflow_id))]);
  const inUse = new Set(used.map(generationKey));
  return built.some((build) =>
    inUse.has(generationKey({ workflowId: build.workflow_id, generation: build.generation })),
  );
}

/** What a build that waits or runs is for. */
export interface BuildSource {
  image: string | null;
  dockerfile: string | null;
}

const WAITING_MAX = 10_000;

/** The sources of the builds that wait or run. Undefined if they are too many to look through. */
export async function waitingSources(db: Pick<Db, 'execute'>): Promise<BuildSource[] | undefined> {
  const rows = await db.execute<{ image: string | null; dockerfile: string | null }>(sql`
    SELECT /* waitingSources */ p.payload->>'image' AS image, p.payload->'build'->>'dockerfile' AS dockerfile
    FROM builds b JOIN payloads p ON p.workflow_id = b.workflow_id AND p.generation = b.generation
    WHERE b.completed_at IS NULL LIMIT ${WAITING_MAX + 1}`);
  return rows.length > WAITING_MAX ? undefined : rows.map(({ image, dockerfile }) => ({ image, dockerfile }));
}
