-- db/workers.ts

-- knownEngines

SELECT /* knownEngines */ engine_id AS id, bool_or(stopped_at IS NULL
  AND seen_at > now() - make_interval(secs => $1)
  AND engine_seen_at > now() - make_interval(secs => $2)) AS live,
  EXISTS (SELECT FROM workers WHERE name = 'workflow' AND stopped_at IS NULL
    AND seen_at > now() - make_interval(secs => $3)
    AND started_at <= now() - make_interval(secs => $4)) AS settled
FROM workers WHERE name = 'workflow'
  AND engine_seen_at > now() - make_interval(secs => $5) GROUP BY engine_id;

-- listWorkers

SELECT /* listWorkers */ name, version, host, started_at, seen_at,
  extract(epoch FROM now() - seen_at)::float8 AS silent_seconds,
  CASE WHEN stopped_at IS NOT NULL THEN 'STOPPED' WHEN stopped_at IS NULL
    AND seen_at > now() - make_interval(secs => $1) THEN 'LIVE' ELSE 'LOST' END AS state,
  engine_id, engine_seen_at > now() - make_interval(secs => $2) AS engine_answers
FROM workers ORDER BY (stopped_at IS NULL AND seen_at > now() - make_interval(secs => $3)) DESC,
  name, seen_at DESC, owner LIMIT $4;

-- noteWorker

INSERT /* noteWorker */ INTO workers (owner, name, version, host, engine_id, engine_seen_at)
VALUES ($1, $2, $3, $4, $5::text, CASE WHEN $6::text IS NOT NULL THEN now() END)
ON CONFLICT (owner, name) DO UPDATE SET seen_at = now(), stopped_at = NULL,
  version = excluded.version,
  engine_id = coalesce(excluded.engine_id, workers.engine_id),
  engine_seen_at = coalesce(excluded.engine_seen_at, workers.engine_seen_at);

-- noteWorkerStopped

UPDATE /* noteWorkerStopped */ workers SET stopped_at = now() WHERE owner = $1 AND name = $2;

-- removeOldWorkers

WITH /* removeOldWorkers */ locked AS MATERIALIZED (
  SELECT owner, name FROM workers WHERE seen_at < now() - make_interval(secs => $1) ORDER BY owner,
    name FOR UPDATE
)
DELETE FROM workers USING locked WHERE workers.owner = locked.owner
  AND workers.name = locked.name RETURNING 1;
