import { sql } from 'drizzle-orm';
import type { Alert } from '../../domain/alerts/alert.ts';
import type { OutageKind, OutageResolution } from '../../domain/alerts/states.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { BEGINNINGS } from './pairs.ts';

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
  outage_id: string | null;
  kind: OutageKind | null;
  place: string | null;
  host: string | null;
  began_ms: number | null;
  ended_ms: number | null;
  resolution: OutageResolution | null;
};

/**
 * The facts of these deliveries, in their order. A workflow, a job, an incident or an outage that
 * is gone is left out.
 *
 * An end reports its whole incident or outage if no message about the beginning has reached the
 * channel. So does a beginning that is sent when it has passed.
 */
export async function alertFacts(db: Db, ids: string[]): Promise<AlertFacts[]> {
  const rows = await db.execute<Row>(sql`
    SELECT /* alertFacts */ d.id, d.event, ${ms('d.created_at')} AS at_ms, d.workflow_id, d.workflow_name, d.job_id, d.detail,
      i.id AS incident_id, ${ms('i.opened_at')} AS opened_ms, ${ms('i.resolved_at')} AS resolved_ms, i.failures, i.job_id AS first_job_id,
      o.id AS outage_id, o.kind, o.place, o.host, ${ms('o.began_at')} AS began_ms, ${ms('o.ended_at')} AS ended_ms, o.resolution,
      coalesce(i.resolved_at, o.ended_at) IS NOT NULL AND NOT EXISTS (
        SELECT FROM alert_deliveries b WHERE b.incident_id = d.incident_id AND b.channel_id = d.channel_id
          AND b.event IN ${BEGINNINGS} AND b.status = 'DELIVERED' OFFSET 0) AS is_whole,
      CASE WHEN s.state = 'READY' AND NOT s.paused THEN ${ms('s.next_run_at + make_interval(secs => s.delay_seconds)')} END AS next_run_ms
    FROM alert_deliveries d LEFT JOIN incidents i ON i.id = ANY(ARRAY[d.incident_id])
      LEFT JOIN outages o ON o.id = ANY(ARRAY[CASE WHEN d.workflow_id IS NULL THEN d.incident_id END])
      LEFT JOIN schedules s ON s.workflow_id = ANY(ARRAY[d.workflow_id])
    WHERE d.id = ANY(${array(ids, 'uuid')})`);
  const facts = new Map(rows.map((row) => [row.id, toFacts(row)]));
  return ids.flatMap((id) => facts.get(id) ?? []);
}

function toFacts(row: Row): AlertFacts {
  const { incident_id: incidentId, opened_ms: openedMs } = row;
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
    outage: outageOf(row),
    isWholeIncident: row.is_whole ?? false,
    nextRunAt: date(row.next_run_ms),
  };
}

function outageOf({ outage_id: id, kind, place, host, began_ms: beganMs, ...row }: Row): AlertFacts['outage'] {
  if (id === null || kind === null || place === null || host === null || beganMs === null) return undefined;
  const endedAt = date(row.ended_ms);
  return { id, kind, place, host, beganAt: new Date(beganMs), endedAt, resolution: row.resolution ?? undefined };
}

function date(ms: number | null): Date | undefined {
  return ms === null ? undefined : new Date(ms);
}

function ms(time: string) {
  return sql.raw(`(extract(epoch FROM ${time}) * 1000)::float8`);
}
