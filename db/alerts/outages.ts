import { type SQL, sql } from 'drizzle-orm';
import type { OutageKind } from '../../domain/alerts/states.ts';
import { ENGINE_AWAY_SECONDS, WORKER_LIVE_SECONDS } from '../../domain/limits.ts';
import { seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { NEW_ID, newIdAfter } from '../ids.ts';
import { IS_LIVE } from '../workers.ts';

/**
 * Outages of the platform, which its administrators hear of. At most one is open for each kind and
 * place: of two workers that see the same one begin, the second changes nothing. Each function is
 * one statement, which records what must be delivered too.
 */

export interface OutagePlace {
  kind: OutageKind;
  /** The name of the machine, or the id of the engine. */
  place: string;
  /** How long ago it began or ended. The database may have been away since then. */
  secondsAgo?: number;
}

/** Returns false if the outage is known already. `detail` says why, in sentences. */
export async function beginOutage(
  db: Db,
  { kind, place, secondsAgo = 0, host, detail }: OutagePlace & { host: string; detail: string },
): Promise<boolean> {
  const begun = await db.execute(sql`
    WITH /* beginOutage */ changed AS (
      INSERT INTO outages (id, kind, place, host, detail, began_at)
      VALUES (${NEW_ID}, ${kind}, ${place}, ${host}, left(${detail}, ${DETAIL_LENGTH_MAX}), now() - ${seconds(secondsAgo)})
      ON CONFLICT (kind, place) WHERE ended_at IS NULL DO NOTHING RETURNING id, detail
    ), ${ALERT_BEGINNING}
    SELECT 1 FROM changed`);
  return begun.length > 0;
}

/** Returns false if none is open. */
export async function endOutage(db: Db, { kind, place, secondsAgo = 0 }: OutagePlace): Promise<boolean> {
  const ended = await db.execute(sql`
    WITH /* endOutage */ changed AS (
      UPDATE outages SET ended_at = greatest(began_at, now() - ${seconds(secondsAgo)}), resolution = 'RECOVERED'
      WHERE kind = ${kind} AND place = ${place} AND ended_at IS NULL RETURNING id, NULL AS detail
    ), ${ALERT_END}
    SELECT 1 FROM changed`);
  return ended.length > 0;
}

/**
 * Begins the outages of engines that have not answered any live workflow worker for
 * ENGINE_AWAY_SECONDS. Returns their number. An engine that has never answered is none that anybody
 * knows.
 */
export async function beginEngineOutages(db: Db): Promise<number> {
  const detail = `No workflow worker has reached it for ${ENGINE_AWAY_SECONDS / 60} minutes. Jobs that need this engine wait or fail.`;
  const begun = await db.execute(sql`
    WITH /* beginEngineOutages */ changed AS (
      INSERT INTO outages (id, kind, place, host, detail, began_at)
      SELECT ${NEW_ID}, 'ENGINE', engine_id, (array_agg(host ORDER BY (${IS_LIVE}) DESC, seen_at DESC))[1], ${detail}, max(engine_seen_at)
      FROM workers WHERE name = 'workflow' AND engine_id IS NOT NULL
      GROUP BY engine_id HAVING bool_or(${IS_LIVE}) AND max(engine_seen_at) < now() - ${seconds(ENGINE_AWAY_SECONDS)}
      ORDER BY engine_id
      ON CONFLICT (kind, place) WHERE ended_at IS NULL DO NOTHING RETURNING id, detail
    ), ${ALERT_BEGINNING}
    SELECT 1 FROM changed`);
  return begun.length;
}

/**
 * Ends the outages of engines that answer again, and those that nobody can end: all workers of the
 * engine were stopped as they should, or no worker of the place has been seen for a day. Returns
 * their number.
 *
 * A worker that is started anew during an outage does not know its engine: while one waits on the
 * same machine, the outage goes on.
 */
export async function endLeftOutages(db: Db): Promise<number> {
  const ended = await db.execute(sql`
    WITH /* endLeftOutages */ judged AS MATERIALIZED (
      SELECT o.id, CASE
          WHEN engine.answers THEN 'RECOVERED'
          WHEN engine.is_awaited THEN NULL
          WHEN engine.is_stopped OR o.began_at < now() - make_interval(days => ${GONE_DAYS}) AND NOT here.is_known THEN 'GONE'
        END AS resolution
      FROM outages o, LATERAL (
        SELECT bool_or(engine_id = o.place AND (${IS_LIVE}) AND engine_seen_at > now() - ${seconds(WORKER_LIVE_SECONDS)}) AS answers,
          bool_or(engine_id IS NULL AND host = o.host AND (${IS_LIVE})) AS is_awaited,
          bool_and((stopped_at < now() - ${seconds(WORKER_LIVE_SECONDS)}) IS TRUE) FILTER (WHERE engine_id = o.place) AS is_stopped
        FROM workers WHERE name = 'workflow' AND o.kind = 'ENGINE'
      ) engine, LATERAL (
        SELECT EXISTS (SELECT FROM workers WHERE CASE o.kind WHEN 'ENGINE' THEN engine_id = o.place ELSE name = 'execution' AND host = o.place END) AS is_known
      ) here
      WHERE o.ended_at IS NULL
    ), locked AS MATERIALIZED (
      SELECT id FROM outages WHERE id = ANY(ARRAY(SELECT id FROM judged WHERE resolution IS NOT NULL)) AND ended_at IS NULL
      ORDER BY id FOR NO KEY UPDATE
    ), changed AS (
      UPDATE outages SET ended_at = now(), resolution = judged.resolution FROM locked JOIN judged USING (id)
      WHERE outages.id = ANY(ARRAY[locked.id]) RETURNING outages.id, NULL AS detail
    ), ${ALERT_END}
    SELECT 1 FROM changed`);
  return ended.length;
}

const DETAIL_LENGTH_MAX = 2_000;
const GONE_DAYS = 1;

/** CTEs that record what has `changed`, over the default channels of the administrators. */
const ALERT_BEGINNING = alertAdministrators('PLATFORM_OUTAGE', sql`c.is_default`, NEW_ID);

/**
 * A channel that heard of the beginning hears of the end. One that did not hears nothing, unless it
 * never wants to hear of beginnings.
 */
const ALERT_END = alertAdministrators(
  'PLATFORM_RECOVERED',
  sql`(EXISTS (SELECT FROM alert_deliveries d WHERE d.incident_id = changed.id AND d.channel_id = c.id OFFSET 0)
        OR c.is_default AND NOT 'PLATFORM_OUTAGE' = ANY(c.events))`,
  newIdAfter(sql`1`),
);

function alertAdministrators(event: 'PLATFORM_OUTAGE' | 'PLATFORM_RECOVERED', isChosen: SQL, id: SQL): SQL {
  return sql`recorded AS (
      INSERT INTO alert_deliveries (id, channel_id, user_id, event, incident_id, detail, status)
      SELECT ${id}, channel.id, u.id, ${sql.raw(`'${event}'`)}, changed.id, changed.detail, 'PENDING'
      FROM changed CROSS JOIN (SELECT id FROM users WHERE administrator AND disabled_at IS NULL OFFSET 0) u CROSS JOIN LATERAL (
        SELECT c.id FROM alert_channels c
        WHERE c.user_id = u.id AND c.deleted_at IS NULL AND c.state = 'ACTIVE' AND ${sql.raw(`'${event}'`)} = ANY(c.events) AND ${isChosen} OFFSET 0
      ) channel
      RETURNING id, channel_id
    ), queued AS (
      INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded
    )`;
}
