import type { Db } from '../../db/client.ts';

/** The rules for every change of a row, in the condition of a trigger. */
const WRONG_CHANGES = {
  'a number of skipped runs that falls': [
    'schedules',
    'UPDATE OF skipped_run_count',
    'NEW.skipped_run_count < OLD.skipped_run_count',
  ],
  'a retry before its time': [
    'jobs',
    'UPDATE OF status',
    `OLD.status = 'PENDING' AND NEW.status <> 'CANCELED' AND OLD.retry_at > clock_timestamp()`,
  ],
  'a pause for failures that were not as many': [
    'workflows',
    'UPDATE OF pause_reason',
    `NEW.pause_reason = 'FAILURES' AND OLD.pause_reason IS DISTINCT FROM 'FAILURES'
      AND NEW.consecutive_job_failures_count < NEW.max_consecutive_job_failures_allowed`,
  ],
} as const;

/**
 * Refuses changes that break a rule, by any code: each raises an error with the name of the
 * rule. Two rules need another table. The first one holds when a job is made: the statement that
 * makes it has locked the schedule.
 */
export async function refuseWrongChanges(db: Db): Promise<void> {
  await db.execute(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      RAISE EXCEPTION 'The rules allow no such thing: %', TG_ARGV[0];
    END $$;
    CREATE FUNCTION refuse_in_pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF EXISTS (SELECT FROM schedules WHERE workflow_id = NEW.workflow_id AND paused) THEN
        RAISE EXCEPTION 'The rules allow no such thing: a slot that makes a job in a pause';
      END IF;
      RETURN NULL;
    END $$;
    CREATE FUNCTION refuse_retries() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.retries > coalesce((SELECT (run_policy->'retry'->>'maxRetries')::integer FROM workflows WHERE id = NEW.workflow_id), 0) THEN
        RAISE EXCEPTION 'The rules allow no such thing: more retries than the policy has';
      END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER refuse_in_pause AFTER INSERT ON jobs FOR EACH ROW
      WHEN (NEW.trigger = 'AUTOMATIC' AND NEW.status = 'QUEUED' AND NEW.attempt = 0) EXECUTE FUNCTION refuse_in_pause();
    CREATE TRIGGER refuse_retries AFTER UPDATE OF retries ON jobs FOR EACH ROW
      WHEN (NEW.retries > OLD.retries) EXECUTE FUNCTION refuse_retries();`);
  for (const [n, [name, [table, event, condition]]] of Object.entries(WRONG_CHANGES).entries())
    await db.execute(`
      CREATE TRIGGER refuse_${n} AFTER ${event} ON ${table} FOR EACH ROW WHEN (${condition}) EXECUTE FUNCTION refuse('${name}')`);
}
