import { and, asc, desc, eq, gt, isNull, lt, type SQL, sql } from 'drizzle-orm';
import { newId } from '../domain/ids.ts';
import type { UserLimits } from '../domain/limits.ts';
import type { Payload } from '../domain/payload/payload.ts';
import { checkVolumes, lockUser } from './accounts/user-limits.ts';
import { array } from './arrays.ts';
import type { Db } from './client.ts';
import { countUpTo } from './listing/count.ts';
import type { IdWindow } from './listing/window.ts';
import { generationKey, generationsInUse } from './payloads.ts';
import { rowSet, sortedById } from './row-set.ts';
import { volumes } from './schema.ts';

export interface VolumeRow {
  id: string;
  name: string;
  createdAt: Date;
  /** The sum over all engines that have reported a size. Null if no engine has. */
  sizeBytes: number | null;
  lastUsedAt: Date | null;
}

/** A payload names a volume that its user has deleted but an engine still has. */
export class VolumeBeingRemoved extends Error {
  readonly volume: string;

  constructor(volume: string) {
    super(`The volume ${volume} is being removed.`);
    this.volume = volume;
  }
}

type Transaction = Pick<Db, 'execute'>;

/**
 * Stores the volumes that a payload names. The caller holds the lock of the user, which
 * `deleteVolume` takes too, so that no payload can name a volume that is being removed. Throws
 * LimitExceeded or VolumeBeingRemoved.
 */
export async function reserveVolumes(
  tx: Transaction,
  { userId, payload }: { userId: string; payload: Payload },
  limits: UserLimits,
): Promise<void> {
  const names =
    payload.kind === 'CONTAINER' ? [...new Set((payload.volumes ?? []).map(({ name }) => name))].toSorted() : [];
  if (names.length === 0) return;
  const [going] = await tx.execute<{ name: string }>(sql`
    SELECT /* reserveVolumes */ name FROM volumes
    WHERE user_id = ${userId} AND name = ANY(${array(names, 'text')}) AND delete_requested_at IS NOT NULL LIMIT 1`);
  if (going !== undefined) throw new VolumeBeingRemoved(going.name);
  const wanted = names.map((name) => ({ id: newId(), name }));
  const made = await tx.execute(sql`
    INSERT /* reserveVolumes */ INTO volumes (id, user_id, name)
    SELECT id, ${userId}, name FROM ${rowSet('u', wanted, { id: 'uuid', name: 'text' })}
    ON CONFLICT DO NOTHING RETURNING 1`);
  if (made.length > 0) await checkVolumes(tx, userId, limits);
}

/** A user's volumes, newest first. Volumes that are being removed are left out. */
export async function listVolumes(
  db: Db,
  userId: string,
  { count, backwards, after, before }: IdWindow,
): Promise<VolumeRow[]> {
  const rows = await db
    .select({
      id: volumes.id,
      name: volumes.name,
      createdAt: volumes.createdAt,
      sizeBytes: sql<number | null>`(SELECT sum(size_bytes)::float8 FROM volume_copies WHERE volume_id = volumes.id)`,
      lastUsedAt: sql<Date | null>`(SELECT max(last_used_at) FROM volume_copies WHERE volume_id = volumes.id)`.mapWith(
        volumes.createdAt,
      ),
    })
    .from(volumes)
    .where(
      and(
        ofUser(userId),
        after === undefined ? undefined : lt(volumes.id, after),
        before === undefined ? undefined : gt(volumes.id, before),
      ),
    )
    .orderBy(backwards ? asc(volumes.id) : desc(volumes.id))
    .limit(count);
  return backwards ? rows.reverse() : rows;
}

/** How many volumes a user has, or `max + 1` if there are more than `max`. */
export async function countVolumes(db: Db, userId: string, max: number): Promise<number> {
  return countUpTo(db, 'countVolumes', { table: volumes, condition: ofUser(userId), max });
}

function ofUser(userId: string): SQL | undefined {
  return and(eq(volumes.userId, userId), isNull(volumes.deleteRequestedAt));
}

/**
 * For each of these volumes, the ids of the live workflows that name it: newest first, at most
 * `countMax`.
 */
export async function workflowsByVolume(
  db: Db,
  userId: string,
  names: string[],
  countMax: number,
): Promise<Map<string, string[]>> {
  const rows = await db.execute<{ name: string; ids: string[] }>(sql`
    SELECT /* workflowsByVolume */ name, (array_agg(id ORDER BY id DESC))[:${countMax}] AS ids FROM (
      SELECT DISTINCT v->>'name' AS name, w.id
      FROM workflows w
        JOIN payloads p ON p.workflow_id = w.id AND p.generation = w.generation
        CROSS JOIN LATERAL jsonb_array_elements(p.payload->'volumes') AS v
      WHERE w.user_id = ${userId} AND w.kind = 'CONTAINER' AND w.terminated_at IS NULL) AS named
    WHERE name = ANY(${array(names, 'text')}) GROUP BY name`);
  return new Map(rows.map((row) => [row.name, row.ids]));
}

export type VolumeDeleted = { outcome: 'DELETED' | 'NOT_FOUND' } | { outcome: 'IN_USE'; workflowId: string };

/**
 * Requests the removal of a volume. Workflow workers remove it from their engines; if no engine has
 * it, it is gone at once. A second call changes nothing. Returns IN_USE while a live workflow or an
 * unfinished job names it.
 */
export async function deleteVolume(db: Db, { userId, name }: { userId: string; name: string }): Promise<VolumeDeleted> {
  return db.transaction(async (tx): Promise<VolumeDeleted> => {
    await lockUser(tx, userId);
    const [volume] = await tx.execute<{ id: string }>(
      sql`SELECT /* deleteVolume */ id FROM volumes WHERE user_id = ${userId} AND name = ${name} FOR UPDATE`,
    );
    if (volume === undefined) return { outcome: 'NOT_FOUND' };
    const naming = JSON.stringify({ volumes: [{ name }] });
    const users = await tx.execute<{ id: string; generation: number; current: boolean }>(sql`
      SELECT /* deleteVolume */ w.id, p.generation, p.generation = w.generation AND w.terminated_at IS NULL AS current
      FROM workflows w, LATERAL (
        SELECT generation FROM payloads p WHERE p.workflow_id = w.id AND p.payload @> ${naming}::jsonb
        OFFSET 0) p -- a fence: stale statistics make the planner begin with everybody's payloads
      WHERE w.user_id = ${userId} AND w.kind = 'CONTAINER'`);
    const others = users.filter(({ current }) => !current).map(({ id }) => id);
    const inUse = new Set((await generationsInUse(tx, others)).map(generationKey));
    const user = sortedById(users).find(
      ({ id, generation, current }) => current || inUse.has(generationKey({ workflowId: id, generation })),
    );
    if (user !== undefined) return { outcome: 'IN_USE', workflowId: user.id };
    await tx.execute(sql`
      UPDATE /* deleteVolume */ volumes SET delete_requested_at = coalesce(delete_requested_at, now()) WHERE id = ${volume.id}`);
    await removeForgotten(tx, [volume.id]);
    return { outcome: 'DELETED' };
  });
}

/**
 * Notes that an engine has these volumes, when a job is about to mount them or has made its
 * container. Returns the names of deleted volumes, which the job must not mount.
 */
export async function noteVolumeUse(
  db: Transaction,
  { userId, names, engineId }: { userId: string; names: string[]; engineId: string },
): Promise<string[]> {
  const noted = await db.execute<{ name: string }>(sql`
    WITH /* noteVolumeUse */ kept AS (
      SELECT id, name FROM volumes
      WHERE user_id = ${userId} AND name = ANY(${array(names, 'text')}) AND delete_requested_at IS NULL
    ), noted AS (
      INSERT INTO volume_copies (volume_id, engine_id, last_used_at)
      SELECT id, ${engineId}, now() FROM kept ORDER BY id
      ON CONFLICT (engine_id, volume_id) DO UPDATE SET last_used_at = now()
    )
    SELECT name FROM kept`);
  const kept = new Set(noted.map(({ name }) => name));
  return names.filter((name) => !kept.has(name));
}

/** A volume that some engine has. */
export interface PlacedVolume {
  name: string;
  engines: string[];
  /** Whether the data is on other engines alone. */
  isDistant: boolean;
}

/** Those of these volumes that some engine has, as this engine sees them. */
export async function placesOfVolumes(
  db: Transaction,
  { userId, names, engineId }: { userId: string; names: string[]; engineId: string },
): Promise<PlacedVolume[]> {
  if (names.length === 0) return [];
  const rows = await db.execute<{ name: string; engines: string[] }>(sql`
    SELECT /* placesOfVolumes */ name, engines FROM volumes, LATERAL (
      SELECT array_agg(engine_id ORDER BY engine_id) AS engines FROM volume_copies WHERE volume_id = volumes.id) copies
    WHERE user_id = ${userId} AND name = ANY(${array(names, 'text')}) AND engines IS NOT NULL ORDER BY name`);
  const former = formerIdOf(engineId);
  return rows.map((row) => {
    const engines = [...new Set(row.engines.map((id) => (id === former ? engineId : id)))];
    return { name: row.name, engines, isDistant: !engines.includes(engineId) };
  });
}

/** Older versions stored copies under the first word of an engine's name: its id. */
function formerIdOf(engineId: string): string {
  return engineId.split(' ')[0] ?? engineId;
}

/**
 * Notes that a job is about to mount these volumes on an engine, unless the data of one is on other
 * engines alone: the job would find an empty volume. Of two engines that would make the same new
 * volume, the first one has it. Returns what the job must not mount: deleted ones, and any of
 * `places` that is distant.
 */
export async function placeVolumes(
  db: Db,
  use: { userId: string; names: string[]; engineId: string },
): Promise<{ deleted: string[]; places: PlacedVolume[] }> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`
      SELECT /* placeVolumes */ FROM volumes WHERE id = ANY(ARRAY(
        SELECT id FROM volumes WHERE user_id = ${use.userId} AND name = ANY(${array(use.names, 'text')})))
      ORDER BY id FOR NO KEY UPDATE`);
    // A separate statement: it sees what the last holder of the locks made.
    const places = await placesOfVolumes(tx, use);
    return { places, deleted: places.some(({ isDistant }) => isDistant) ? [] : await noteVolumeUse(tx, use) };
  });
}

/**
 * Copies on an engine of volumes that their owners deleted: at most `limit` behind the volume
 * `after`, in the order of their ids.
 */
export async function unwantedVolumes(
  db: Db,
  engineId: string,
  { after, limit }: { after: string; limit: number },
): Promise<{ id: string; userId: string; name: string }[]> {
  const unwanted = await db.execute<{ id: string; user_id: string; name: string }>(sql`
    SELECT /* unwantedVolumes */ v.id, v.user_id, v.name FROM volumes v JOIN volume_copies c ON c.volume_id = v.id AND c.engine_id = ${engineId}
    WHERE v.delete_requested_at IS NOT NULL AND v.id > ${after} ORDER BY v.id LIMIT ${limit}`);
  return unwanted.map(({ id, user_id: userId, name }) => ({ id, userId, name }));
}

/** Notes that an engine no longer has these volumes. */
export async function volumesRemoved(db: Db, engineId: string, ids: string[]): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.execute(
      sql`
        WITH /* volumesRemoved */ locked AS MATERIALIZED (
          SELECT volume_id FROM volume_copies WHERE engine_id = ${engineId} AND volume_id = ANY(${array(ids, 'uuid')})
          ORDER BY volume_id FOR UPDATE
        )
        DELETE FROM volume_copies USING locked WHERE engine_id = ${engineId} AND volume_copies.volume_id = ANY(ARRAY[locked.volume_id])`,
    );
    await removeForgotten(tx, ids);
  });
}

/** Removes volumes whose deletion was requested and that no engine has. */
async function removeForgotten(tx: Transaction, ids: string[]): Promise<void> {
  await tx.execute(sql`
    WITH /* removeForgotten */ locked AS MATERIALIZED (
      SELECT id FROM volumes WHERE id = ANY(${array(ids, 'uuid')}) AND delete_requested_at IS NOT NULL ORDER BY id FOR UPDATE
    )
    DELETE FROM volumes USING locked WHERE volumes.id = ANY(ARRAY[locked.id])
      AND NOT EXISTS (SELECT FROM volume_copies WHERE volume_id = ANY(ARRAY[volumes.id]))`);
}

export interface FoundVolume {
  userId: string;
  name: string;
  sizeBytes: number | null;
}

/**
 * Stores the volumes and sizes found on an engine, and forgets the copies that are gone. Keeps a
 * copy that a job may be making now.
 */
export async function noteFoundVolumes(db: Db, engineId: string, found: FoundVolume[]): Promise<void> {
  const wanted = found.map((volume) => ({ id: newId(), ...volume }));
  await db.transaction(async (tx) => {
    await tx.execute(sql`
      INSERT /* noteFoundVolumes */ INTO volumes (id, user_id, name)
      SELECT u.id, u.user_id, u.name FROM ${rowSet('u', wanted, { id: 'uuid', userId: 'uuid', name: 'text' })}
        CROSS JOIN LATERAL (SELECT FROM users WHERE users.id = u.user_id LIMIT 1) known -- by key, whatever the statistics say
      ORDER BY u.user_id, u.name
      ON CONFLICT DO NOTHING`);
    const there = await tx.execute<{ volume_id: string }>(sql`
      INSERT /* noteFoundVolumes */ INTO volume_copies (volume_id, engine_id, size_bytes)
      SELECT v.id, ${engineId}, u.size_bytes::bigint
      FROM ${rowSet('u', found, { userId: 'uuid', name: 'text', sizeBytes: 'double precision' })}
        CROSS JOIN LATERAL (SELECT id FROM volumes WHERE user_id = u.user_id AND name = u.name LIMIT 1) v
      ORDER BY v.id
      ON CONFLICT (engine_id, volume_id) DO UPDATE SET size_bytes = coalesce(excluded.size_bytes, volume_copies.size_bytes)
      RETURNING volume_id`);
    const present = there.map((row) => row.volume_id);
    const gone = await tx.execute<{ volume_id: string }>(sql`
      DELETE /* noteFoundVolumes */ FROM volume_copies
      WHERE engine_id = ${engineId}
        AND volume_id <> ALL(${array(present, 'uuid')})
        AND coalesce(last_used_at < now() - make_interval(mins => ${MAKING_MINUTES_MAX}), true)
      RETURNING volume_id`);
    await removeForgotten(
      tx,
      gone.map((row) => row.volume_id),
    );
  });
}

/** Removes the copies of these volumes that are stored under this name of their engine. */
export async function forgetCopies(db: Db, engineId: string, found: { userId: string; name: string }[]): Promise<void> {
  await db.execute(sql`
    WITH /* forgetCopies */ locked AS MATERIALIZED (
      SELECT c.volume_id FROM ${rowSet('u', found, { userId: 'uuid', name: 'text' })}
        CROSS JOIN LATERAL (SELECT id FROM volumes WHERE user_id = u.user_id AND name = u.name LIMIT 1) v
        JOIN volume_copies c ON c.volume_id = ANY(ARRAY[v.id]) AND c.engine_id = ${engineId}
      ORDER BY v.id FOR UPDATE OF c
    )
    DELETE FROM volume_copies USING locked WHERE engine_id = ${engineId} AND volume_copies.volume_id = ANY(ARRAY[locked.volume_id])`);
}

/** The longest time from the note that a job uses a volume until the engine has made it. */
const MAKING_MINUTES_MAX = 10;
