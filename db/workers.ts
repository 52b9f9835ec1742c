import { sql } from 'drizzle-orm';
import { ENGINE_AWAY_SECONDS, WORKER_KEPT_SECONDS, WORKER_LIVE_SECONDS, WORKERS_LISTED_MAX } from '../domain/limits.ts';
import type { SeenWorker, WorkerName, WorkerState } from '../domain/workers.ts';
import { seconds } from './arrays.ts';
import type { Db } from './client.ts';

/** One worker of one process. */
export interface WorkerKey {
  /** The name of the process. */
  owner: string;
  name: WorkerName;
}

/**
 * Stores a sign of life. All times are the database's, because several machines compare them. An
 * engine that does not answer keeps the time of its last answer.
 */
export async function noteWorker(
  db: Db,
  {
    owner,
    name,
    version,
    host,
    engineId,
  }: WorkerKey & { version: string; host: string; engineId?: string | undefined },
): Promise<void> {
  const engine = engineId ?? null;
  await db.execute(sql`
    INSERT /* noteWorker */ INTO workers (owner, name, version, host, engine_id, engine_seen_at)
    VALUES (${owner}, ${name}, ${version}, ${host}, ${engine}::text, CASE WHEN ${engine}::text IS NOT NULL THEN now() END)
    ON CONFLICT (owner, name) DO UPDATE SET seen_at = now(), stopped_at = NULL, version = excluded.version,
      engine_id = coalesce(excluded.engine_id, workers.engine_id),
      engine_seen_at = coalesce(excluded.engine_seen_at, workers.engine_seen_at)`);
}

/**
 * Notes that a worker has stopped as it should. Its row stays for a while, and with it its engine.
 */
export async function noteWorkerStopped(db: Db, { owner, name }: WorkerKey): Promise<void> {
  await db.execute(sql`
    UPDATE /* noteWorkerStopped */ workers SET stopped_at = now() WHERE owner = ${owner} AND name = ${name}`);
}

/** Removes the rows of workers that gave no sign of life for long. */
export async function removeOldWorkers(db: Db): Promise<number> {
  const removed = await db.execute(sql`
    WITH /* removeOldWorkers */ locked AS MATERIALIZED (
      SELECT owner, name FROM workers WHERE seen_at < now() - ${seconds(WORKER_KEPT_SECONDS)} ORDER BY owner, name FOR UPDATE
    )
    DELETE FROM workers USING locked WHERE workers.owner = locked.owner AND workers.name = locked.name RETURNING 1`);
  return removed.length;
}

export interface WorkerRow extends SeenWorker {
  version: string;
  host: string;
  startedAt: Date;
  seenAt: Date;
  engineId: string | null;
}

/** Of a row of `workers`. */
export const IS_LIVE = sql`stopped_at IS NULL AND seen_at > now() - ${seconds(WORKER_LIVE_SECONDS)}`;

/** The workers of the installation, those that live first. At most WORKERS_LISTED_MAX. */
export async function listWorkers(db: Db): Promise<WorkerRow[]> {
  const rows = await db.execute<{
    name: WorkerName;
    version: string;
    host: string;
    started_at: string;
    seen_at: string;
    silent_seconds: number;
    state: WorkerState;
    engine_id: string | null;
    engine_answers: boolean | null;
  }>(sql`
    SELECT /* listWorkers */ name, version, host, started_at, seen_at, extract(epoch FROM now() - seen_at)::float8 AS silent_seconds,
      CASE WHEN stopped_at IS NOT NULL THEN 'STOPPED' WHEN ${IS_LIVE} THEN 'LIVE' ELSE 'LOST' END AS state,
      engine_id, engine_seen_at > now() - ${seconds(WORKER_LIVE_SECONDS)} AS engine_answers
    FROM workers ORDER BY (${IS_LIVE}) DESC, name, seen_at DESC, owner LIMIT ${WORKERS_LISTED_MAX}`);
  return rows.map((row) => ({
    name: row.name,
    version: row.version,
    host: row.host,
    startedAt: new Date(row.started_at),
    seenAt: new Date(row.seen_at),
    silentSeconds: row.silent_seconds,
    state: row.state,
    engineId: row.engine_id,
    engineAnswers: row.engine_answers,
  }));
}

/** A Docker engine that a workflow worker reached within ENGINE_AWAY_SECONDS. */
export interface KnownEngine {
  id: string;
  /** Whether a live workflow worker reaches it now. Otherwise it is expected back. */
  isLive: boolean;
}

/**
 * The engines that workflow workers reached lately. `isSettled` tells whether a workflow worker has
 * run for so long that each engine that comes back after a stop of all would have been seen.
 */
export async function knownEngines(db: Db): Promise<{ engines: KnownEngine[]; isSettled: boolean }> {
  const rows = await db.execute<{ id: string; live: boolean; settled: boolean }>(sql`
    SELECT /* knownEngines */ engine_id AS id, bool_or(${IS_LIVE} AND engine_seen_at > now() - ${seconds(WORKER_LIVE_SECONDS)}) AS live,
      EXISTS (SELECT FROM workers WHERE name = 'workflow' AND ${IS_LIVE} AND started_at <= now() - ${seconds(ENGINE_AWAY_SECONDS)}) AS settled
    FROM workers WHERE name = 'workflow' AND engine_seen_at > now() - ${seconds(ENGINE_AWAY_SECONDS)} GROUP BY engine_id`);
  return { engines: rows.map(({ id, live }) => ({ id, isLive: live })), isSettled: rows[0]?.settled === true };
}
