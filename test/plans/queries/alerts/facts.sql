-- db/alerts/facts.ts

-- alertFacts

SELECT /* alertFacts */ d.id, d.event, (extract(epoch FROM d.created_at) * 1000)::float8 AS at_ms,
  d.workflow_id, d.workflow_name, d.job_id, d.detail,
  i.id AS incident_id, (extract(epoch FROM i.opened_at) * 1000)::float8 AS opened_ms,
    (extract(epoch FROM i.resolved_at) * 1000)::float8 AS resolved_ms, i.failures,
    i.job_id AS first_job_id,
  o.id AS outage_id, o.kind, o.place, o.host,
    (extract(epoch FROM o.began_at) * 1000)::float8 AS began_ms,
    (extract(epoch FROM o.ended_at) * 1000)::float8 AS ended_ms, o.resolution,
  coalesce(i.resolved_at, o.ended_at) IS NOT NULL AND NOT EXISTS (
    SELECT FROM alert_deliveries b WHERE b.incident_id = d.incident_id
      AND b.channel_id = d.channel_id
      AND b.event IN ('WORKFLOW_FAILING', 'PLATFORM_OUTAGE')
        AND b.status = 'DELIVERED' OFFSET 0) AS is_whole,
  CASE WHEN s.state = 'READY'
    AND NOT s.paused THEN (extract(epoch FROM s.next_run_at + make_interval(secs => s.delay_seconds)) * 1000)::float8 END AS next_run_ms
FROM alert_deliveries d LEFT JOIN incidents i ON i.id = ANY(ARRAY[d.incident_id])
  LEFT JOIN outages o ON o.id = ANY(ARRAY[CASE WHEN d.workflow_id IS NULL THEN d.incident_id END])
  LEFT JOIN schedules s ON s.workflow_id = ANY(ARRAY[d.workflow_id])
WHERE d.id = ANY($1::uuid[]);
