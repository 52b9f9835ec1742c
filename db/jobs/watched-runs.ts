import { type SQL, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { isoTime } from '../../domain/iso-time.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDayOf } from '../job-days.ts';
import { type Event, notificationEffects, notify } from '../notifications.ts';
import { rowSet, sortedById } from '../row-set.ts';
import { slotsUntil } from './slots.ts';

type Watched = {
  id: string;
  last_job_id: string | null;
  /** The slot that is due and waits, the last one of them, in milliseconds since 1970. */
  waiting_ms: number | null;
  late_after: number | null;
  expected_max: number | null;
  delay: number;
  late_slot_ms: number | null;
  long_job_id: string | null;
  now_ms: number;
};

type LastJob = {
  id: string;
  is_slot: boolean;
  slot_ms: number;
  /** Whether an attempt before the newest one has started. Returned attempts have not. */
  started_before: boolean;
  /** The start of the newest attempt; null while the job waits for the next one. */
  started_ms: number | null;
  ended_ms: number | null;
};

/**
 * Notifies the owners of runs that have not started in time, and of jobs that take longer than
 * expected, as their run policies say: each once. Looks at no more than `limit` workflows behind
 * `after`. Returns the last id, or undefined if there are no more.
 *
 * It reads without locks. What it writes says that the notification was made: of several schedulers
 * that see the same, one changes the row.
 */
export async function notifyWatchedRuns(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<{ after: string | undefined; count: number; effects: Effects }> {
  const watched = await db.execute<Watched>(sql`
    SELECT /* notifyWatchedRuns */ workflow_id AS id, last_job_id, late_after_seconds AS late_after, expected_max_seconds AS expected_max,
      delay_seconds AS delay, long_job_id, ${ms(sql`late_slot_at`)} AS late_slot_ms, ${ms(sql`now()`)} AS now_ms,
      ${ms(sql`waiting.slot`)} AS waiting_ms
    FROM schedules s LEFT JOIN LATERAL (
        SELECT slot FROM (SELECT) one ${slotsUntil('s', RUNS_NOW)} WHERE s.state = 'READY' AND NOT s.paused AND s.next_run_at <= ${RUNS_NOW}
      ) waiting ON true
    WHERE workflow_id > ${after} AND (late_after_seconds IS NOT NULL OR expected_max_seconds IS NOT NULL)
      AND NOT EXISTS (SELECT FROM pings WHERE pings.workflow_id = s.workflow_id)
    ORDER BY workflow_id LIMIT ${limit}`);
  const read = (jobs: SQL, ids: string[]) =>
    db.execute<LastJob>(sql`
    SELECT /* notifyWatchedRuns */ id, trigger = 'AUTOMATIC' AS is_slot, ${ms(sql`scheduled_at`)} AS slot_ms,
      attempt - uncounted_attempts > (is_started::integer) AS started_before,
      CASE WHEN is_started THEN ${ms(sql`started_at`)} END AS started_ms, ${ms(sql`completed_at`)} AS ended_ms
    FROM ${jobs}, LATERAL (SELECT started_at IS NOT NULL AND (lease_token IS NOT NULL OR completed_at IS NOT NULL) AS is_started) seen
    WHERE id = ANY(${array(ids, 'uuid')})`);
  const lastJobs = watched.flatMap((row) => row.last_job_id ?? []);
  const found = new Map((await eachDayOf(db, lastJobs, read)).map((job) => [job.id, job]));
  const notices = watched.flatMap((row) => noticesOf(row, found.get(row.last_job_id ?? '')));
  const last = watched.length < limit ? undefined : watched.at(-1)?.id;
  if (notices.length === 0) return { after: last, count: 0, effects: noEffects };
  const notified = await db.transaction(async (tx) => {
    const made = await tx.execute<{ id: string; is_late: boolean }>(sql`
      WITH /* notifyWatchedRuns */ u AS MATERIALIZED (
        SELECT * FROM ${rowSet('u', sortedById(notices), { id: 'uuid', lateSlot: 'timestamptz', longJobId: 'uuid' })}
      ), locked AS MATERIALIZED (
        SELECT workflow_id FROM schedules WHERE workflow_id = ANY(ARRAY(SELECT id FROM u)) ORDER BY workflow_id FOR UPDATE
      )
      UPDATE schedules SET late_slot_at = coalesce(late_slot, late_slot_at), long_job_id = coalesce(u.long_job_id, schedules.long_job_id)
      FROM u JOIN locked ON locked.workflow_id = u.id
      WHERE schedules.workflow_id = ANY(ARRAY[u.id])
        AND (late_slot IS DISTINCT FROM late_slot_at OR late_slot IS NULL)
        AND (u.long_job_id IS DISTINCT FROM schedules.long_job_id OR u.long_job_id IS NULL)
      RETURNING schedules.workflow_id AS id, late_slot IS NOT NULL AS is_late`);
    const isMade = new Set(made.map((row) => `${row.id} ${row.is_late}`));
    return notify(
      tx,
      notices.filter(({ id, lateSlot }) => isMade.has(`${id} ${lateSlot !== undefined}`)).map(({ event }) => event),
    );
  });
  return { after: last, count: notified.length, effects: notificationEffects(notified) };
}

interface Notice {
  id: string;
  lateSlot?: string;
  longJobId?: string;
  event: Event;
}

function noticesOf(row: Watched, job: LastJob | undefined): Notice[] {
  const { id, late_after: lateAfter, expected_max: expectedMax, now_ms: now } = row;
  const notices: Notice[] = [];
  if (lateAfter !== null) {
    const isLate = (slotMs: number, startedMs: number) => startedMs - slotMs > (row.delay + lateAfter) * 1_000;
    const isJobLate = (of: LastJob) => !of.started_before && isLate(of.slot_ms, of.started_ms ?? of.ended_ms ?? now);
    const late = [
      ...(job?.is_slot && isJobLate(job) ? [{ slotMs: job.slot_ms, jobId: job.id }] : []),
      ...(row.waiting_ms !== null && isLate(row.waiting_ms, now) ? [{ slotMs: row.waiting_ms, jobId: undefined }] : []),
    ];
    // The slot of the job comes first. Once it is notified, the one that waits behind it is.
    const next = late.find(({ slotMs }) => row.late_slot_ms === null || slotMs > row.late_slot_ms);
    if (next) {
      const slot = isoTime(new Date(next.slotMs));
      const detail = `The run of ${slot} had not started ${lateAfter} s after it was due.`;
      notices.push({ id, lateSlot: slot, event: { kind: 'RUN_LATE', workflowId: id, jobId: next.jobId, detail } });
    }
  }
  if (expectedMax !== null && job && job.started_ms !== null && job.id !== row.long_job_id) {
    if ((job.ended_ms ?? now) - job.started_ms > expectedMax * 1_000) {
      const detail = `It has run for more than the ${expectedMax} s that are expected.`;
      notices.push({ id, longJobId: job.id, event: { kind: 'JOB_LONG', workflowId: id, jobId: job.id, detail } });
    }
  }
  return notices;
}

const RUNS_NOW = sql`now() - make_interval(secs => s.delay_seconds)`;

function ms(time: SQL): SQL {
  return sql`floor(extract(epoch FROM ${time}) * 1000)::float8`;
}
