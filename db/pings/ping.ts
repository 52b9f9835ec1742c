import { type SQL, sql } from 'drizzle-orm';
import { noEffects } from '../../domain/effects.ts';
import { PING_LOG_BYTES_MAX } from '../../domain/limits.ts';
import type { Ping, Pinged, PingRefused } from '../../domain/ping.ts';
import { COUNT_ENDED } from '../analytics.ts';
import { words } from '../arrays.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import { withJobDay } from '../job-days.ts';
import { IS_AWAITED, nextPing } from '../jobs/next-ping.ts';
import { NOTIFY_COMPLETED } from '../notifications.ts';
import { endByPing } from './end.ts';

/**
 * Pings of push heartbeats. The slots of such a workflow say when a ping is expected, and
 * `schedules.delay_seconds` how late it may be. A slot "runs" when no ping came: its job fails
 * (miss.ts). So scheduling knows nothing of pings, and pings only move `next_run_at`.
 *
 * - The statements lock the row of `pings`, then the schedule. So two pings of one workflow come
 *   one after the other, and each reads what the one before has written: a locked row is read again
 *   in its newest version.
 * - A ping and the slot of the same moment (queueDueSlots) both hold the lock of the schedule.
 *   Either the ping moves the slot first, and the other finds it in the future; or the job is made,
 *   fails, and the ping comes after it.
 * - A pause, a change, a termination and a purge lock the row of the schedule or of `pings` too: a
 *   ping comes before or after them. A pause makes no slots, so a ping moves the next one as ever.
 *   Its end reads `pings` under the lock of the schedule alone. That is enough, because all that
 *   change what is expected lock the schedule before their commit.
 *   After a termination the workflow takes no pings.
 * - The failure count of a workflow changes under the lock of its schedule, which has `failing`. A
 *   success that finds it false changes no count, whatever else happens.
 */

type Judged = { outcome: 'DONE' | 'POST_ONLY' | 'GONE'; sooner: boolean };

type Completed = {
  outcome: Judged['outcome'] | 'SLOW';
  user_id: string;
  job_id: string;
  notified: string | null;
  sooner: boolean;
};

/**
 * A ping that says that all is well: a COMPLETED job, and the next ping is expected at the next
 * slot. One statement does it, unless the workflow has failed before, or the statement cannot tell
 * the next slot.
 */
export async function completeByPing(db: Db, ping: Ping, exitCode?: number): Promise<Pinged> {
  const { lines, rid } = ping;
  const complete = () =>
    db.execute<Completed>(sql`
    WITH /* completeByPing */ ${foundBy(ping)}, planned AS MATERIALIZED (
      SELECT token.workflow_id, s.user_id, s.kind, s.generation, log, log_line_count, start_grace_seconds, matches, keeps, next_slot, s.wake_at,
        CASE WHEN s.paused THEN s.wake_at WHEN s.is_busy THEN least(s.wake_at, runs_at) ELSE runs_at END AS next_wake,
        CASE WHEN matches THEN least(started_at, now()) ELSE now() END AS began_at,
        CASE WHEN refusal <> 'DONE' THEN refusal WHEN s.may_notify OR is_unknown THEN 'SLOW' ELSE 'DONE' END AS outcome
      FROM token LEFT JOIN schedule s ON true ${nextPing('s')}, LATERAL (
        SELECT ${REFUSAL} AS refusal, ${matches(rid)} AS matches
      ) seen, LATERAL (
        -- pings of other runs leave the end of a run where it is
        SELECT ${IS_AWAITED} AND NOT matches AS keeps, next_slot + make_interval(secs => start_grace_seconds) AS runs_at
      ) ahead
    ), moved AS (
      UPDATE schedules SET next_run_at = next_slot, delay_seconds = start_grace_seconds, wake_at = next_wake
      FROM planned WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE' AND NOT keeps
    ), noted AS (
      UPDATE pings SET ended_at = CASE WHEN matches THEN now() ELSE ended_at END, log = '', log_line_count = 0
      FROM planned WHERE pings.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE' AND (matches OR planned.log_line_count > 0)
    ), ended AS (
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, attempt, scheduled_at, started_at, completed_at, exit_code,
        log_line_count, after_failure, awaited)
      SELECT ${NEW_ID}, workflow_id, user_id, kind, 'PING', 'COMPLETED', generation, 1, now(), began_at, now(), ${exitCode ?? null}::integer,
        log_line_count + ${lines.count}, false, false
      FROM planned WHERE outcome = 'DONE'
      RETURNING id, workflow_id, user_id, status, started_at, attempt, log_line_count
    ), stored AS (
      INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
      SELECT id, 1, ended.log_line_count, attempt, log || ${lines.text}::bytea FROM ended, planned WHERE ended.log_line_count > 0
    ), counted AS (${COUNT_ENDED}), ${NOTIFY_COMPLETED}
    SELECT outcome, planned.user_id, coalesce(next_wake < wake_at, next_wake IS NOT NULL) AND NOT keeps AS sooner,
      (SELECT id FROM ended) AS job_id, (SELECT string_agg(id::text, ' ') FROM notified) AS notified
    FROM planned`);
  const [row] = await withJobDay(db, complete);
  if (row === undefined) return { outcome: 'UNKNOWN' };
  const { outcome, user_id: userId, job_id: jobId, notified, sooner } = row;
  if (outcome === 'SLOW') return endByPing(db, ping, { status: 'COMPLETED', exitCode });
  if (outcome !== 'DONE') return { outcome };
  const changed = [{ userId, jobs: [jobId], notifications: words(notified ?? '') }];
  return { outcome, effects: { ...noEffects, changed, wakeScheduler: sooner } };
}

/**
 * A ping that says that a run has started. It makes no job; from now on its end is expected. A run
 * before it that has not ended is forgotten.
 */
export async function startByPing(db: Db, ping: Ping): Promise<Pinged> {
  const [row] = await db.execute<Judged>(sql`
    WITH /* startByPing */ ${foundBy(ping)}, planned AS MATERIALIZED (
      SELECT token.workflow_id, s.wake_at, run_grace_seconds, ${REFUSAL} AS outcome,
        CASE WHEN s.paused THEN s.wake_at WHEN s.is_busy THEN least(s.wake_at, runs_at) ELSE runs_at END AS next_wake
      FROM token LEFT JOIN schedule s ON true, LATERAL (SELECT now() + make_interval(secs => run_grace_seconds) AS runs_at) ahead
    ), moved AS (
      UPDATE schedules SET next_run_at = now(), delay_seconds = run_grace_seconds, wake_at = next_wake
      FROM planned WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
    ), noted AS (
      UPDATE pings SET started_at = now(), start_rid = ${ping.rid ?? null}::uuid, ended_at = NULL, given_up_at = NULL
      FROM planned WHERE pings.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
    )
    SELECT outcome, coalesce(next_wake < wake_at, next_wake IS NOT NULL) AS sooner FROM planned`);
  if (row === undefined) return { outcome: 'UNKNOWN' };
  const { outcome, sooner } = row;
  if (outcome !== 'DONE') return { outcome };
  return { outcome, effects: { ...noEffects, wakeScheduler: sooner } };
}

/**
 * Keeps lines for the log of the next job, and changes nothing else. FULL: with these there would
 * be more than PING_LOG_BYTES_MAX.
 */
export async function logByPing(db: Db, ping: Ping): Promise<{ outcome: 'DONE' | 'FULL' } | PingRefused> {
  const { text, count } = ping.lines;
  const [row] = await db.execute<{ outcome: 'DONE' | 'FULL' | 'POST_ONLY' | 'GONE' }>(sql`
    WITH /* logByPing */ ${foundBy(ping)}, planned AS MATERIALIZED (
      SELECT token.workflow_id, CASE WHEN refusal <> 'DONE' THEN refusal
        WHEN octet_length(log) + octet_length(${text}::bytea) > ${PING_LOG_BYTES_MAX} THEN 'FULL' ELSE 'DONE' END AS outcome
      FROM token LEFT JOIN schedule s ON true, LATERAL (SELECT ${REFUSAL} AS refusal) seen
    ), noted AS (
      UPDATE pings SET log = pings.log || ${text}::bytea, log_line_count = pings.log_line_count + ${count}
      FROM planned WHERE pings.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
    )
    SELECT outcome FROM planned`);
  return { outcome: row?.outcome ?? 'UNKNOWN' };
}

/** The CTEs that lock the token and its schedule. */
function foundBy({ tokenHash, isPost }: Ping): SQL {
  return sql`token AS MATERIALIZED (
      SELECT workflow_id, start_grace_seconds, run_grace_seconds, post_only AND NOT ${isPost}::boolean AS is_refused,
        started_at, start_rid, ended_at, given_up_at, log, log_line_count
      FROM pings WHERE token_hash = ${tokenHash}::bytea FOR UPDATE
    ), schedule AS MATERIALIZED (
      SELECT user_id, kind, generation, state, failing OR watches_ends AS may_notify, paused, wake_at, interval_minutes, calendar_id, starts_at, ends_at,
        last_job_id IS NOT NULL OR requested OR waiting AS is_busy
      FROM schedules WHERE workflow_id = (SELECT workflow_id FROM token) FOR UPDATE
    )`;
}

const REFUSAL = sql`CASE WHEN is_refused THEN 'POST_ONLY' WHEN s.state IS DISTINCT FROM 'READY' THEN 'GONE' ELSE 'DONE' END`;

/** Whether the ping ends the run that started. */
function matches(rid: string | undefined): SQL {
  return sql`started_at IS NOT NULL AND ended_at IS NULL AND start_rid IS NOT DISTINCT FROM ${rid ?? null}::uuid`;
}
