-- db/alerts/record.ts

-- recordAlerts

WITH /* recordAlerts */ recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, workflow_id, workflow_name, job_id,
    incident_id, detail, status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + CASE WHEN u.event IN ('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED') THEN 1 ELSE 0 END), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, channel.id, w.user_id,
    u.event, w.id, w.name, u.job_id, u.incident_id, left(u.detail, $1),
    CASE WHEN w.muted_until > now() AND NOT u.ends_alerted THEN 'SUPPRESSED' ELSE 'PENDING' END
  FROM unnest($2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[],
    $7::boolean[]) AS u (event, workflow_id, job_id, incident_id, detail,
    ends_alerted) JOIN workflows w ON w.id = ANY(ARRAY[u.workflow_id]) CROSS JOIN LATERAL (
    SELECT c.id FROM alert_channels c, LATERAL (
        SELECT u.event IN ('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED')
          AND u.incident_id IS NOT NULL AND EXISTS (
          SELECT FROM alert_deliveries d WHERE d.incident_id = u.incident_id AND d.channel_id = c.id
            AND d.event = 'WORKFLOW_FAILING'
              AND d.status <> 'SUPPRESSED' OFFSET 0) AS heard OFFSET 0) beginning
    WHERE c.user_id = w.user_id AND c.deleted_at IS NULL AND c.state = 'ACTIVE'
      AND u.event = ANY(c.events) AND (heard OR CASE WHEN w.has_own_alert_channels THEN EXISTS (
        SELECT FROM workflow_alert_channels own WHERE own.workflow_id = w.id
          AND own.channel_id = c.id OFFSET 0)
      ELSE c.is_default END)
      AND (u.event <> 'WORKFLOW_RECOVERED' OR heard OR NOT 'WORKFLOW_FAILING' = ANY(c.events)) OFFSET 0
  ) channel
  RETURNING id, channel_id, status
)
INSERT INTO alert_due (delivery_id, channel_id) SELECT id,
  channel_id FROM recorded WHERE status = 'PENDING';
