import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import * as accounts from '../../db/accounts/accounts.ts';
import * as audit from '../../db/accounts/audit.ts';
import { noteAddress } from '../../db/accounts/known-addresses.ts';
import { changeSecrets } from '../../db/accounts/secrets.ts';
import * as sessions from '../../db/accounts/sessions.ts';
import * as tokens from '../../db/accounts/tokens.ts';
import * as userLimits from '../../db/accounts/user-limits.ts';
import { areTotalsDue, rollUpTotals } from '../../db/analytics.ts';
import type { Db } from '../../db/client.ts';
import { sweepIdempotencyKeys } from '../../db/idempotency.ts';
import { getInstallation } from '../../db/installation.ts';
import * as byDay from '../../db/job-days.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { removeOldJobs } from '../../db/jobs/retention.ts';
import * as partitions from '../../db/logs/partitions.ts';
import * as logRetention from '../../db/logs/retention.ts';
import * as notifications from '../../db/notifications.ts';
import * as daily from '../../db/partitions.ts';
import { forgetOtherKeys, recordSecretKey, someSecretOfOldVersion } from '../../db/secret-keys.ts';
import * as workers from '../../db/workers.ts';
import { purgeDeleted, purgeSome } from '../../db/workflows/purge.ts';
import * as termination from '../../db/workflows/terminate.ts';
import { NO_ID } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { alertChannelsOf } from './scenario-alert-channels.ts';
import { alertQueueOf } from './scenario-alert-queue.ts';
import { buildsOf, logsOf, turnsOf, volumesAndImagesOf } from './scenario-builds.ts';
import { anchorOf, jobsOf, recallOf, reconcileOf } from './scenario-jobs.ts';
import { pingsOf } from './scenario-pings.ts';
import { CONTAINER, type Drive, dispatched, HEARTBEAT, idsOf, make, SET, WATCHED } from './scenario-rows.ts';
import { calendarsOf, policiesOf } from './scenario-schedules.ts';

/**
 * Calls all functions of db/ for the rows of one user: those of the API, and those of the workers.
 * Resolves with the id of the user.
 */
export async function runScenario(db: Db, drive: Drive): Promise<string> {
  const user = await accountsOf(db, drive);
  await jobsOf(db, drive, user);
  await reconcileOf(db, drive, user);
  await recallOf(db, drive, user);
  await calendarsOf(db, drive);
  await policiesOf(db, drive);
  await buildsOf(db, drive, user);
  await logsOf(db, drive, user);
  await turnsOf(db, drive, user);
  await volumesAndImagesOf(db, drive, user);
  await pingsOf(db, drive, user);
  await notificationsOf(db, drive, user);
  await alertChannelsOf(db, drive);
  await alertQueueOf(db, drive);
  await endMarker(db, drive, user);
  await maintenance(db, drive);
  await anchorOf(db, drive, user);
  return user;
}

async function accountsOf(db: Db, drive: Drive): Promise<string> {
  const email = `ann-${randomUUID()}@example.com`;
  const made = await drive(accounts.createUser, db, { email, passwordHash: 'a', administrator: true });
  if (typeof made === 'string') throw new Error(made);
  const userId = made.id;
  const session = (n: number) => ({
    userId,
    passwordHash: 'a',
    hash: randomBytes(32),
    expiresAt: new Date(Date.now() + 3_600_000),
    address: `10.0.0.${n}`,
    userAgent: null,
  });
  const kept = await drive(sessions.createSession, db, session(1), { countMax: 3 });
  for (let n = 2; n < SET; n++) await drive(sessions.createSession, db, session(n), { countMax: 3 });
  await drive(noteAddress, db, userId, '10.0.0.9');
  const token = await drive(
    tokens.createApiToken,
    db,
    { userId, name: 'ci', hash: randomBytes(32), scope: 'WRITE', expiresAt: null },
    { countMax: 10 },
  );
  if (token === 'FULL') throw new Error(token);
  const other = await drive(tokens.insertToken, db, { userId, kind: 'API', name: 'cd', hash: randomBytes(32) });
  await drive(tokens.markTokensUsed, db, [other.id, token.id, kept?.id ?? NO_ID], { everySeconds: 60 });
  await drive(tokens.revokeToken, db, { userId, id: token.id, kind: 'API' });
  await drive(accounts.changePassword, db, {
    userId,
    former: 'a',
    passwordHash: 'b',
    keptSession: kept?.id ?? NO_ID,
  });
  await drive(sessions.endSessions, db, userId);
  await drive(sessions.endAllSessions, db, userId);
  await drive(accounts.setPassword, db, { email, passwordHash: 'c' });
  await accounts.createUser(db, { email: `root-${email}`, passwordHash: 'a', administrator: true });
  await drive(accounts.disableUser, db, email);
  await drive(accounts.enableUser, db, email);
  await drive(userLimits.lockUser, db, userId);
  return userId;
}

async function notificationsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  await drive(notifications.setNotificationPreference, db, userId, 'ALL');
  const notified = await drive(
    notifications.notify,
    db,
    own.map(({ id }) => ({ kind: 'WORKFLOW_TERMINATED', workflowId: id })),
  );
  await drive(notifications.markNotificationsRead, db, userId, idsOf(notified).toSorted().reverse());
  await drive(notifications.markUpTo, db, userId, notified[0]?.id);
  const upToId = await drive(notifications.markUpTo, db, userId, undefined);
  await drive(notifications.markSomeRead, db, { userId, upToId: upToId ?? NO_ID, limit: 10 });
  await drive(audit.recordAudit, db, { action: 'workflow.create', outcome: 'DONE', userId });
}

async function endMarker(db: Db, drive: Drive, userId: string): Promise<void> {
  const [one, two, three, ...rest] = await make(db, userId, HEARTBEAT);
  if (one === undefined || two === undefined || three === undefined) throw new Error('There are more workflows.');
  await dispatched(db, [one, two, three, ...rest]);
  for (const { id } of [one, two, three]) for (let n = 0; n < SET; n++) await runWorkflow(db, { userId, id });
  await drive(termination.terminateWorkflow, db, { userId, id: one.id });
  await drive(termination.deleteWorkflow, db, { userId, id: two.id });
  await drive(termination.deleteWorkflow, db, { userId, id: three.id, purge: true });
  const [container] = await make(db, userId, CONTAINER);
  await drive(termination.deleteWorkflow, db, { userId, id: container?.id ?? '', purge: true });
  await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE workflow_id = ${three.id}`);
  const { others } = await queueDueSlots(db, { limit: 100 });
  for (let n = 0; n < 2; n++) await reconcileSchedules(db, others, WATCHED);
  await drive(termination.terminateWorkflowsOf, db, userId, 'user.terminate');
  for (let n = 0, left = true; left && n < 100; n++) {
    const pass = await queueDueSlots(db, { limit: 1_000 });
    await reconcileSchedules(db, pass.others, WATCHED);
    left = pass.others.length > 0;
  }
  await db.execute(sql`UPDATE workflows SET deleted_at = now() - interval '9 days' WHERE id = ${two.id}`);
}

/**
 * The periodic work of workers, in steps. The rows of other users are due too, far more than one
 * step takes.
 */
async function maintenance(db: Db, drive: Drive): Promise<void> {
  await drive(purgeDeleted, db, { days: 0, limit: 3 });
  for (let n = 0; await drive(purgeSome, db); n++) if (n > 100) throw new Error('The purge has no end.');
  const step = { days: 1, after: NO_ID, limit: 10, chunks: 10 };
  await drive(removeOldJobs, db, { ...step, chunks: 100 });
  await drive(logRetention.removeOldChunks, db, { name: partitions.OTHER_LOG_PARTITION }, step);
  await drive(logRetention.removeChunksOfWorkflows, db, { ...step, days: 30, workflows: 10, chunks: 1_000 });
  await drive(areTotalsDue, db, { idleSeconds: 10, jobs: 10, seconds: 10 });
  await drive(rollUpTotals, db, { limit: 10 });
  await drive(audit.removeOldAuditEvents, db, { days: 1, limit: 10 });
  await drive(notifications.removeOldNotifications, db, { days: 1, limit: 10 });
  await db.execute(sql`UPDATE idempotency_keys SET created_at = now() - interval '9 days' WHERE user_id IN (
    SELECT user_id FROM idempotency_keys ORDER BY created_at, user_id LIMIT 20)`);
  await drive(sweepIdempotencyKeys, db);
  await drive(getInstallation, db);
  await drive(someSecretOfOldVersion, db);
  await drive(recordSecretKey, db, { present: 'a', known: ['a', 'b'] });
  await drive(recordSecretKey, db, { present: 'b', known: ['b'] });
  await drive(forgetOtherKeys, db, 'b');
  const worker = { owner: 'test', name: 'workflow' as const };
  await drive(workers.noteWorker, db, { ...worker, version: '1', host: 'host', engineId: 'engine' });
  await drive(workers.listWorkers, db);
  await drive(workers.knownEngines, db);
  await drive(workers.noteWorkerStopped, db, worker);
  await db.execute(sql`UPDATE workers SET seen_at = now() - interval '1 day' WHERE owner = 'test'`);
  await drive(workers.removeOldWorkers, db);
  await drive(partitions.makeLogPartitions, db, { daysAhead: 1 });
  const day = (await drive(partitions.logPartitionsBefore, db, { days: -3 })).at(-1);
  if (day === undefined) throw new Error('There is a partition of tomorrow.');
  await drive(partitions.dropLogPartition, db, day);
  await drive(partitions.dropLogDay, db, day);
  await drive(daily.partitionsBefore, db, 'jobs', { days: -9 });
  await drive(byDay.makeJobDays, db, { daysAhead: 9 });
  const far = daily.partitionOf('jobs', new Date(Date.now() + 20 * DAY_MS));
  await drive(byDay.makeJobDay, db, far);
  await drive(daily.changePartitions, db, 'jobs', async () => undefined);
  await drive(byDay.detachJobDay, db, far);
  await drive(byDay.dropDetachedDays, db, { minutes: 0 });
  await drive(daily.dropPartition, db, 'jobs', far);
  await drive(byDay.partitionsOfJobs, db);
  await drive(byDay.piecesOfJobs, db, { ascending: true });
  await drive(byDay.yesterdayOfJobs, db);
  await secrets(db, drive);
}

/**
 * A change of the key reads all workflows by design. Here it reads the first set, which contains a
 * secret.
 */
async function secrets(db: Db, drive: Drive): Promise<void> {
  const sealed = (at: number, text: string) =>
    db.execute(sql`
      UPDATE payloads SET payload = jsonb_build_object('kind', 'CONTAINER', 'env', jsonb_build_object('A',
        jsonb_build_object('secret', true, 'sealed', ${text}::text)))
      WHERE workflow_id = (SELECT id FROM workflows ORDER BY id OFFSET ${at} LIMIT 1)`);
  await sealed(0, 'x');
  await db.execute(sql`
    INSERT INTO pings (workflow_id, token_hash, token, start_grace_seconds, run_grace_seconds, post_only)
    SELECT id, decode(md5(id::text), 'hex'), 'sealed', 1, 1, false FROM workflows ORDER BY id LIMIT 1
    ON CONFLICT (workflow_id) DO UPDATE SET token = 'sealed'`);
  await sealed(300, 'the last one'); // this one is in the second set
  const change = (text: string) => {
    if (text === 'the last one') throw new Error(text);
    return 'changed';
  };
  await drive(changeSecrets, db, change).catch((error) => {
    if (!String(error).includes('the last one')) throw error;
  });
}
