import { type SQL, sql } from 'drizzle-orm';
import type { AlertEvent } from '../../domain/alerts/states.ts';
import type { Db } from '../client.ts';
import { NEW_ID, newIdAfter } from '../ids.ts';
import { rowSet } from '../row-set.ts';

/** What has happened to a workflow. */
export interface Alerting {
  event: AlertEvent;
  workflowId: string;
  jobId?: string | undefined;
  incidentId?: string | undefined;
  /** The reason. */
  detail?: string | undefined;
  /** It ends an incident that was alerted, so a mute does not suppress it. */
  endsAlerted?: boolean;
}

/**
 * Writes what these events must deliver: one delivery for each channel that wants it. It runs in
 * the transaction of the change, so each event has its deliveries exactly once.
 *
 * - A workflow uses its own channels, or the default ones of its owner.
 * - A channel that heard that an incident began hears that it ended, even if the choice of channels
 *   has changed. One that did not hear it hears nothing of a recovery, unless it never wants to
 *   hear of beginnings.
 * - A workflow that is muted gets SUPPRESSED deliveries, which nobody sends.
 */
export async function recordAlerts(tx: Pick<Db, 'execute'>, events: Alerting[]): Promise<void> {
  if (events.length === 0) return;
  const rows = events.map((event) => ({ ...event, endsAlerted: event.endsAlerted ?? false }));
  await tx.execute(sql`
    WITH /* recordAlerts */ recorded AS (
      INSERT INTO alert_deliveries (id, channel_id, user_id, event, workflow_id, workflow_name, job_id, incident_id, detail, status)
      SELECT ${newIdAfter(sql`CASE WHEN u.event IN ('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED') THEN 1 ELSE 0 END`)}, channel.id, w.user_id,
        u.event, w.id, w.name, u.job_id, u.incident_id, left(u.detail, ${DETAIL_LENGTH_MAX}),
        CASE WHEN w.muted_until > now() AND NOT u.ends_alerted THEN 'SUPPRESSED' ELSE 'PENDING' END
      FROM ${rowSet('u', rows, {
        event: 'text',
        workflowId: 'uuid',
        jobId: 'uuid',
        incidentId: 'uuid',
        detail: 'text',
        endsAlerted: 'boolean',
      })} JOIN workflows w ON w.id = ANY(ARRAY[u.workflow_id]) CROSS JOIN LATERAL (
        SELECT c.id FROM alert_channels c, LATERAL (
            SELECT u.event IN ('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED') AND u.incident_id IS NOT NULL AND EXISTS (
              SELECT FROM alert_deliveries d WHERE d.incident_id = u.incident_id AND d.channel_id = c.id
                AND d.event = 'WORKFLOW_FAILING' AND d.status <> 'SUPPRESSED' OFFSET 0) AS heard OFFSET 0) beginning
        WHERE ${wants(sql`u.event`)} AND (heard OR ${isChosen})
          AND (u.event <> 'WORKFLOW_RECOVERED' OR heard OR NOT 'WORKFLOW_FAILING' = ANY(c.events)) OFFSET 0
      ) channel
      RETURNING id, channel_id, status
    )
    ${QUEUE_RECORDED}`);
}

const DETAIL_LENGTH_MAX = 2_000;

/** Whether the channel `c` of the owner of the workflow `w` takes an event. */
function wants(event: SQL): SQL {
  return sql`c.user_id = w.user_id AND c.deleted_at IS NULL AND c.state = 'ACTIVE' AND ${event} = ANY(c.events)`;
}

/** Whether the channel `c` is one of the workflow `w`. */
const isChosen = sql`CASE WHEN w.has_own_alert_channels THEN EXISTS (
            SELECT FROM workflow_alert_channels own WHERE own.workflow_id = w.id AND own.channel_id = c.id OFFSET 0)
          ELSE c.is_default END`;

const QUEUE_RECORDED = sql`INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded WHERE status = 'PENDING'`;

/**
 * CTEs for a statement that ends jobs in its CTE `ended`, as NOTIFY_COMPLETED has them. They record
 * the COMPLETED jobs of the users who have a channel for them. Nearly always there is none, and an
 * index without entries says so.
 */
export const ALERT_COMPLETED = sql`
  listening AS MATERIALIZED (
    SELECT DISTINCT user_id AS id FROM alert_channels WHERE user_id = ANY(ARRAY(SELECT DISTINCT user_id FROM ended))
      AND deleted_at IS NULL AND state = 'ACTIVE' AND 'JOB_COMPLETED' = ANY(events)
  ), recorded AS (
    INSERT INTO alert_deliveries (id, channel_id, user_id, event, workflow_id, workflow_name, job_id, status)
    SELECT ${NEW_ID}, channel.id, w.user_id, 'JOB_COMPLETED', w.id, w.name, ended.id,
      CASE WHEN w.muted_until > now() THEN 'SUPPRESSED' ELSE 'PENDING' END
    FROM listening JOIN ended ON ended.user_id = listening.id JOIN workflows w ON w.id = ANY(ARRAY[ended.workflow_id]) CROSS JOIN LATERAL (
      SELECT c.id FROM alert_channels c WHERE ${wants(sql`'JOB_COMPLETED'`)} AND ${isChosen} OFFSET 0
    ) channel
    WHERE ended.status = 'COMPLETED'
    RETURNING id, channel_id, status
  ), queued AS (${QUEUE_RECORDED})`;
