import { sql } from 'drizzle-orm';
import { type Effects, mergeEffects } from '../../domain/effects.ts';
import { type Alerting, recordAlerts } from '../alerts/record.ts';
import type { Db } from '../client.ts';
import { buildEffects, CHANGED_COLUMNS, type ChangedBuild, SHOW_STATUS } from '../ends/builds.ts';
import { cancelRequests } from '../ends/cancel-jobs.ts';
import { endColumns } from '../ends/columns.ts';
import { type Event, notificationEffects, notify } from '../notifications.ts';

export type BuildOutcome = { id: string; workflowId: string; leaseToken: string; logLineCount: number } & (
  | { status: 'COMPLETED'; imageId: string; imageDigest?: string | undefined; engineId?: string | undefined }
  | { status: 'FAILED'; error: string }
);

/**
 * STARTED -> COMPLETED or FAILED under the presented lease. Returns undefined if the lease is lost.
 *
 * COMPLETED makes the workflow READY. The first slot of an interval is due now, and so is a slot
 * that came due meanwhile. FAILED cancels the waiting requested jobs, unless the
 * workflow goes on with the image that it had (db/workflows/rebuild.ts).
 */
export async function endBuild(db: Db, outcome: BuildOutcome): Promise<Effects | undefined> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`SELECT /* endBuild */ FROM workflows WHERE id = ${outcome.workflowId} FOR NO KEY UPDATE`);
    const [schedule] = await tx.execute<{ state: string }>(
      sql`SELECT /* endBuild */ state FROM schedules WHERE workflow_id = ${outcome.workflowId} FOR UPDATE`,
    );
    const ended = await tx.execute<ChangedBuild>(sql`
      WITH /* endBuild */ changed AS (
        UPDATE builds SET status = ${outcome.status}, log_line_count = ${outcome.logLineCount},
          image_id = ${outcome.status === 'COMPLETED' ? outcome.imageId : null},
          image_digest = ${(outcome.status === 'COMPLETED' ? outcome.imageDigest : null) ?? null},
          engine_id = ${(outcome.status === 'COMPLETED' ? outcome.engineId : null) ?? null},
          error = ${outcome.status === 'FAILED' ? outcome.error : null}, ${endColumns('builds')}
        WHERE id = ${outcome.id} AND lease_token = ${outcome.leaseToken} RETURNING ${CHANGED_COLUMNS}
      ), shown AS (${SHOW_STATUS})
      SELECT * FROM changed`);
    const [build] = ended;
    if (build === undefined) return undefined;
    if (outcome.status === 'FAILED') {
      const goesOn = schedule?.state === 'READY';
      const canceled = await cancelRequests(tx, goesOn ? [] : [outcome.workflowId]);
      const failed = buildFailed(outcome.workflowId, outcome.error, { goesOn });
      const notified = await notify(tx, [failed]);
      await recordAlerts(tx, [failed]);
      return mergeEffects(buildEffects(ended), canceled, notificationEffects(notified));
    }
    // A trigger makes a BLOCKED schedule READY instead, with its first slot (migration 0030).
    await tx.execute(sql`
      INSERT /* endBuild */ INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at)
      SELECT id, user_id, kind, 'READY', generation, interval_minutes, now(), now() FROM workflows -- a first build, at an interval
      WHERE id = ${outcome.workflowId} AND generation = ${build.generation} AND terminated_at IS NULL
      ON CONFLICT (workflow_id) DO UPDATE SET state = 'READY', generation = excluded.generation, wake_at = now()
        WHERE schedules.state IN ('BLOCKED', 'READY')`);
    return { ...buildEffects(ended), wakeScheduler: true };
  });
}

/** `goesOn`: a workflow that was built before keeps running its previous image. */
export function buildFailed(workflowId: string, error: string, { goesOn }: { goesOn: boolean }): Event & Alerting {
  const detail = goesOn ? `${error} The workflow goes on with the image that it had.` : error;
  return { kind: 'WORKFLOW_BUILD_FAILED', event: 'WORKFLOW_BUILD_FAILED', workflowId, detail };
}
