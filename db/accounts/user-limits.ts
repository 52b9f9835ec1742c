import { sql } from 'drizzle-orm';
import { type UserLimitName, type UserLimits, WITH_DELETED_FACTOR } from '../../domain/limits.ts';
import type { WorkflowKind } from '../../domain/states.ts';
import type { Db } from '../client.ts';

/** The user already has as much as the limit allows. The transaction changes nothing. */
export class LimitExceeded extends Error {
  readonly limit: UserLimitName;
  readonly max: number;

  constructor(limit: UserLimitName, max: number) {
    super(`${limit} is ${max}.`);
    this.limit = limit;
    this.max = max;
  }
}

type Transaction = Pick<Db, 'execute'>;

/**
 * Makes changes of this user wait for each other: two at once cannot both take the last place, and
 * none happens after its token was revoked. Taken before all other locks. Running jobs do not take
 * it.
 */
export async function lockUser(tx: Transaction, userId: string): Promise<void> {
  await tx.execute(sql`SELECT /* lockUser */ FROM users WHERE id = ${userId} FOR NO KEY UPDATE`);
}

/**
 * Limits the workflows that are not deleted, and also all stored ones, so that creating and
 * deleting in turn has an end. Like the checks below, it runs after the insert, under the lock of
 * the user.
 */
export async function checkWorkflows(tx: Transaction, userId: string, limits: UserLimits): Promise<void> {
  const share = sql`greatest(count(*) FILTER (WHERE deleted_at IS NULL), ceil(count(*)::numeric / ${WITH_DELETED_FACTOR}))`;
  await checkLimit(tx, 'WORKFLOWS_PER_USER', limits, sql`workflows WHERE user_id = ${userId}`, share);
}

/** Limits the builds that wait or run. */
export async function checkBuilds(tx: Transaction, userId: string, limits: UserLimits): Promise<void> {
  await checkLimit(
    tx,
    'QUEUED_BUILDS_PER_USER',
    limits,
    sql`builds WHERE user_id = ${userId} AND completed_at IS NULL`,
  );
}

/** Limits the requested jobs that wait to be dispatched. */
export async function checkRequests(
  tx: Transaction,
  { userId, kind }: { userId: string; kind: WorkflowKind },
  limits: UserLimits,
): Promise<void> {
  const limit = kind === 'CONTAINER' ? 'QUEUED_CONTAINERS_PER_USER' : 'QUEUED_HEARTBEATS_PER_USER';
  await checkLimit(tx, limit, limits, sql`run_requests WHERE user_id = ${userId} AND kind = ${kind}`);
}

/** Limits volumes. A volume that is being removed counts until no engine has it. */
export async function checkVolumes(tx: Transaction, userId: string, limits: UserLimits): Promise<void> {
  await checkLimit(tx, 'VOLUMES_PER_USER', limits, sql`volumes WHERE user_id = ${userId}`);
}

/**
 * Limits the number of generations of the workflow and the payload bytes of the user. Deleted
 * workflows count until they are purged.
 */
export async function checkPayloads(
  tx: Transaction,
  { userId, workflowId }: { userId: string; workflowId: string },
  limits: UserLimits,
): Promise<void> {
  await checkLimit(tx, 'GENERATIONS_PER_WORKFLOW', limits, sql`payloads WHERE workflow_id = ${workflowId}`);
  await checkLimit(
    tx,
    'PAYLOAD_BYTES_PER_USER',
    limits,
    // One sum per workflow: with one join and stale statistics, the planner would read the payloads
    // of all users.
    sql`workflows, LATERAL (SELECT sum(bytes) AS bytes FROM payloads WHERE workflow_id = workflows.id) stored WHERE user_id = ${userId}`,
    sql`coalesce(sum(stored.bytes), 0)`,
  );
}

async function checkLimit(
  tx: Transaction,
  limit: UserLimitName,
  limits: UserLimits,
  from: ReturnType<typeof sql>,
  what = sql`count(*)`,
): Promise<void> {
  const [row] = await tx.execute<{ over: boolean }>(
    sql`SELECT /* checkLimit */ ${what} > ${limits[limit]} AS over FROM ${from}`,
  );
  if (row?.over) throw new LimitExceeded(limit, limits[limit]);
}
