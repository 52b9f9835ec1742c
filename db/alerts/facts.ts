import { sql } from 'drizzle-orm';
import type { Alert } from '../../domain/alerts/alert.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';

/** What the database knows of an alert. */
export type AlertFacts = Omit<Alert, 'channelName' | 'logLines' | 'link'>;

type Row = {
  id: string;
  event: Alert['event'];
  at_ms: number;
  workflow_id: string | null;
  workflow_name: string | null;
  job_id: string | null;
  detail: string | null;
  incident_id: string | null;
  opened_ms: number | null;
  resolved_ms: number | null;
  failures: number | null;
  first_job_id: string | null;
  is_whole: boolean | null;
  next_run_ms: number | null;
};

/**
 * The facts of these deliveries, in their order. A workflow, a job or an incident that is gone is
 * left out.
 *
 * An end reports its whole incident if no message about the beginning has reached the channel. So
 * does a beginning that is sent when it has passed.
 */
export async function alertFacts(db: Db, ids: string[]): Promise<AlertFacts[]> {
  const rows = await db.execute<Row>(sql`
    SELECT /* alertFacts */ d.id, d.event, ${ms('d.created_at')} AS at_ms, d.workflow_id, d.workflow_name, d.job_id, d.detail,
      i.id AS incident_id, ${ms('i.opened_at')} AS opened_ms, ${ms('i.resolved_at')} AS resolved_ms, i.failures, i.job_id AS first_job_id,
      i.resolved_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM alert_deliveries b WHERE b.incident_id = d.incident_id AND b.channel_id = d.channel_id
          AND b.event = 'WORKFLOW_FAILING' AND b.status = 'DELIVERED' OFFSET 0) AS is_whole,
      CASE WHEN s.state = 'READY' AND NOT s.paused THEN ${ms('s.next_run_at + make_interval(secs => s.delay_seconds)')} END AS next_run_ms
    FROM alert_deliveries d LEFT JOIN incidents i ON i.id = ANY(ARRAY[d.incident_id])
      LEFT JOIN schedules s ON s.workflow_id = ANY(ARRAY[d.workflow_id])
    WHERE d.id = ANY(${array(ids, 'uuid')})`);
  const facts = new Map(rows.map((row) => [row.id, toFacts(row)]));
  return ids.flatMap((id) => facts.get(id) ?? []);
}

function toFacts(row: Row): AlertFacts {
  const { incident_id: incidentId, opened_ms: openedMs } = row;
  const date = (ms: number | null) => (ms === null ? undefined : new Date(ms));
  return {
    deliveryId: row.id,
    event: row.event,
    at: new Date(row.at_ms),
    workflow:
      row.workflow_id === null || row.workflow_name === null
        ? undefined
        : { id: row.workflow_id, name: row.workflow_name },
    jobId: row.job_id ?? undefined,
    reason: row.detail ?? undefined,
    incident:
      incidentId === null || openedMs === null
        ? undefined
        : {
            id: incidentId,
            openedAt: new Date(openedMs),
            resolvedAt: date(row.resolved_ms),
            failures: row.failures ?? 0,
            firstJobId: row.first_job_id ?? undefined,
          },
    isWholeIncident: row.is_whole ?? false,
    nextRunAt: date(row.next_run_ms),
  };
}

function ms(time: string) {
  return sql.raw(`(extract(epoch FROM ${time}) * 1000)::float8`);
}
