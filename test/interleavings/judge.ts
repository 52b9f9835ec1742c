import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { drain } from '../lifecycle/drain.ts';
import { broken } from '../lifecycle/invariants.ts';
import { schedule } from '../scheduling/support.ts';
import { letAllPass } from '../support/time.ts';
import type { Answers } from './verbs.ts';

/**
 * Records every change of a status, an attempt's number or an end, in the same transaction. So the
 * intermediate states are judged too, independently of the answers of the verbs.
 */
export async function writeDown(db: Db): Promise<void> {
  await db.execute(`
    CREATE TABLE happened (
      seq bigserial, source text, id uuid, workflow_id uuid,
      was text, status text, attempt integer, is_late boolean);
    CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO happened (source, id, workflow_id, was, status, attempt, is_late) VALUES (
        regexp_replace(TG_TABLE_NAME, '^jobs_.*', 'jobs'), NEW.id, NEW.workflow_id, OLD.status, NEW.status, NEW.attempt,
        OLD.completed_at IS NOT NULL AND (OLD.status, OLD.completed_at) IS DISTINCT FROM (NEW.status, NEW.completed_at));
      RETURN NULL;
    END $$;
    CREATE FUNCTION write_down_termination() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO happened (source, id, workflow_id, was, status) VALUES ('workflows', NEW.id, NEW.id, 'ALIVE', 'TERMINATED');
      RETURN NULL;
    END $$;
    CREATE TRIGGER write_down AFTER UPDATE OF status, attempt, completed_at ON jobs FOR EACH ROW EXECUTE FUNCTION write_down();
    CREATE TRIGGER write_down AFTER UPDATE OF status, attempt, completed_at ON builds FOR EACH ROW EXECUTE FUNCTION write_down();
    CREATE TRIGGER write_down AFTER UPDATE OF terminated_at ON workflows FOR EACH ROW
      WHEN (OLD.terminated_at IS NULL AND NEW.terminated_at IS NOT NULL) EXECUTE FUNCTION write_down_termination();`);
}

/** The rules for everything that has happened, and for the rows at the end. */
const WRONG = {
  'an attempt’s number was given twice': sql`
    SELECT id, attempt FROM happened WHERE (was, status) IN (('QUEUED', 'RUNNING'), ('QUEUED', 'STARTED'))
    GROUP BY id, attempt HAVING count(*) > 1`,
  'it was written after its end': sql`SELECT source, id, was, status FROM happened WHERE is_late`,
  'it was claimed after its workflow’s end': sql`
    SELECT claim.id FROM happened claim JOIN happened termination ON termination.source = 'workflows'
      AND termination.workflow_id = claim.workflow_id AND claim.seq > termination.seq
    WHERE claim.source <> 'workflows' AND claim.was = 'QUEUED' AND claim.status IN ('RUNNING', 'STARTED')`,
  'ends that are not counted once': sql`
    SELECT * FROM (
      SELECT status, count(*) FROM happened
      WHERE source = 'jobs' AND status IN ('COMPLETED', 'FAILED', 'CANCELED') AND was IN ('PENDING', 'QUEUED', 'RUNNING') GROUP BY status
    ) ended FULL JOIN (
      SELECT what AS status, count(*) FROM totals_pending, unnest(whats) what
      WHERE what IN ('COMPLETED', 'FAILED', 'CANCELED') GROUP BY what
    ) counted USING (status) WHERE ended.count IS DISTINCT FROM counted.count`,
  'a failure that is notified twice': sql`
    SELECT job_id FROM notifications WHERE kind = 'JOB_FAILED' GROUP BY job_id HAVING count(*) > 1`,
  'a termination that is notified twice': sql`
    SELECT workflow_id FROM notifications WHERE kind = 'WORKFLOW_TERMINATED' GROUP BY workflow_id HAVING count(*) > 1`,
};

const ALL = sql.join(
  Object.entries(WRONG).map(([name, query]) => sql`SELECT ${name} AS name, rows::text AS row FROM (${query}) rows`),
  sql` UNION ALL `,
);

/**
 * What waits is found within this time, and what waits behind it when that has ended, without
 * further time: a longer time would let the looks after RECHECK_SECONDS find everything.
 */
const SECONDS = 5;
/** More than the jobs, requests and slots that the verbs of one order leave. */
const ROUNDS_MAX = 20;

/**
 * The rules that an order has broken: in the rows as it left them, within the next seconds, and at
 * the end of everything.
 */
export async function judge(db: Db, answers: Answers): Promise<string[]> {
  const found = [...(await broken(db))];
  found.push(...(await forgotten(db)));
  try {
    await drain({ db });
  } catch (error) {
    found.push({ name: 'it does not come to an end', row: String(error) });
  }
  found.push(...(await broken(db)), ...(await db.execute<{ name: string; row: string }>(ALL)));
  found.push(...(await unkept(db, answers)));
  return [...new Set(found.map(({ name, row }) => `${name}: ${row}`))];
}

/** Work that could continue but is not found in the next seconds, while everything QUEUED runs. */
async function forgotten(db: Db): Promise<{ name: string; row: string }[]> {
  await letAllPass(db, SECONDS);
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const again = await schedule(db);
    const queued = await db.execute<{ id: string }>(sql`SELECT id FROM jobs WHERE status = 'QUEUED'`);
    if (again.length + queued.length === 0) break;
    const ids = queued.map(({ id }) => id);
    const { claimed } = await claimJobs(db, ids, { owner: 'worker 9' });
    await endJobs(
      db,
      claimed.map((job) => ({ ...job, status: 'COMPLETED' as const, logLineCount: 0 })),
    );
  }
  const rows = await db.execute<{ row: string }>(sql`
    SELECT s.workflow_id::text AS row FROM schedules s LEFT JOIN jobs last ON last.id = s.last_job_id
    WHERE s.state = 'READY' AND (last.id IS NULL OR last.completed_at IS NOT NULL)
      AND (s.next_run_at <= now() AND NOT s.paused OR EXISTS (SELECT FROM run_requests r WHERE r.workflow_id = s.workflow_id))
      OR s.state = 'READY' AND s.paused AND s.paused_until <= now()
      OR last.status = 'PENDING' AND last.retry_at <= now() AND last.attempt - last.uncounted_attempts = last.retries`);
  return rows.map(({ row }) => ({
    name: 'a request, a slot, a retry or the end of a pause that is not found within seconds',
    row,
  }));
}

/** Answers that contradict the rows. */
async function unkept(db: Db, { ended, canceled, requested }: Answers): Promise<{ name: string; row: string }[]> {
  const rows = await db.execute<{ id: string; status: string }>(sql`SELECT id, status FROM jobs`);
  const status = new Map(rows.map((row) => [row.id, row.status]));
  const reported = [...ended, ...canceled.map((id) => ({ id, status: 'CANCELED' }))];
  const runs = requested.filter((id) => !['COMPLETED', 'CANCELED'].includes(status.get(id) ?? ''));
  return [
    ...reported
      .filter((answer) => status.get(answer.id) !== answer.status)
      .map((answer) => ({ name: `it was answered ${answer.status} and is ${status.get(answer.id)}`, row: answer.id })),
    ...(new Set(ended.map(({ id }) => id)).size < ended.length
      ? [{ name: 'two actors ended it', row: JSON.stringify(ended) }]
      : []),
    ...runs.map((id) => ({ name: `a request that was accepted is ${status.get(id)}`, row: id })),
  ];
}
