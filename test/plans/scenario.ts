import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import * as accounts from '../../db/accounts.ts';
import { array } from '../../db/arrays.ts';
import { attendSchedules } from '../../db/attendance.ts';
import * as audit from '../../db/audit.ts';
import * as builds from '../../db/builds.ts';
import type { Db } from '../../db/client.ts';
import { endJobs, type Outcome } from '../../db/endings.ts';
import { once, sweepIdempotencyKeys } from '../../db/idempotency.ts';
import * as images from '../../db/images.ts';
import { getInstallation } from '../../db/installation.ts';
import { removeOldJobs } from '../../db/job-retention.ts';
import { cancelJob, runWorkflow } from '../../db/jobs.ts';
import { noteAddress } from '../../db/known-addresses.ts';
import * as leases from '../../db/leases.ts';
import * as partitions from '../../db/log-partitions.ts';
import * as logRetention from '../../db/log-retention.ts';
import { openEnds, settledLines, settleSeams } from '../../db/log-seams.ts';
import { deleteChunks, insertChunks } from '../../db/logs.ts';
import * as notifications from '../../db/notifications.ts';
import { pruneGenerations } from '../../db/payloads.ts';
import { purgeDeleted, purgeSome } from '../../db/purge.ts';
import { recallQueued } from '../../db/recall.ts';
import { cancelRequests } from '../../db/requests.ts';
import { nextWakeMs, queueDueSlots, wakeWaiting } from '../../db/scheduling.ts';
import { changeSecrets } from '../../db/secrets.ts';
import * as sessions from '../../db/sessions.ts';
import * as termination from '../../db/termination.ts';
import * as tokens from '../../db/tokens.ts';
import { countEnded, foldTotals } from '../../db/totals.ts';
import * as turns from '../../db/turns.ts';
import * as userLimits from '../../db/user-limits.ts';
import * as volumes from '../../db/volumes.ts';
import * as workflows from '../../db/workflows.ts';
import { NO_ID, newId } from '../../domain/ids.ts';
import { USER_LIMITS } from '../../domain/limits.ts';
import type { ContainerPayload, Payload } from '../../domain/payload.ts';

/** Calls a function of db/ so that its statements are noted as its own. */
export type Drive = <Arguments extends unknown[], Result>(
  verb: (...given: Arguments) => Promise<Result>,
  ...given: Arguments
) => Promise<Result>;

const SET = 6; // of ids that a call is given, in another order than that of the ids
const ENGINE = 'engine';
const HEARTBEAT: Payload = { kind: 'HEARTBEAT' };
const CONTAINER: ContainerPayload = {
  kind: 'CONTAINER',
  image: 'alpine:3',
  volumes: [
    { name: 'work', path: '/work' },
    { name: 'cache', path: '/cache' },
  ],
};
const WATCHED = { watchedSeconds: () => Number.POSITIVE_INFINITY };

/** One user does all that the functions of db/ do to one user's rows, and the workers what they do for that user. */
export async function runScenario(db: Db, drive: Drive): Promise<void> {
  const user = await accountsOf(db, drive);
  await jobsOf(db, drive, user);
  await attendanceOf(db, drive, user);
  await recallOf(db, drive, user);
  await buildsOf(db, drive, user);
  await logsOf(db, drive, user);
  await turnsOf(db, drive, user);
  await volumesAndImagesOf(db, drive, user);
  await notificationsOf(db, drive, user);
  await endOf(db, drive, user);
  await maintenance(db, drive);
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

/** `count` workflows, in another order than that of their ids; the builds of containers are QUEUED. */
async function make(db: Db, userId: string, payload: Payload, count = SET, failuresAllowed = 3) {
  const made: { id: string; buildId: string }[] = [];
  for (let n = 0; n < count; n++) {
    const { workflow, buildId } = await workflows.createWorkflow(db, {
      userId,
      name: `test ${n}`,
      payload,
      intervalMinutes: 60,
      maxConsecutiveJobFailuresAllowed: failuresAllowed,
    });
    made.unshift({ id: workflow.id, buildId: buildId ?? '' });
  }
  return made;
}

const idsOf = (rows: { id: string }[]) => rows.map(({ id }) => id);

/** Slots are due: jobs that are QUEUED, in another order than that of their ids. */
async function handedOut(db: Db, ofWorkflows: { id: string }[]): Promise<string[]> {
  await db.execute(sql`
    UPDATE schedules SET next_run_at = now(), wake_at = now() WHERE workflow_id = ANY(${array(idsOf(ofWorkflows), 'uuid')})`);
  const { made } = await queueDueSlots(db, { limit: 100 });
  return idsOf(made).toSorted().reverse();
}

async function jobsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const ids = array(idsOf(own), 'uuid');
  const outcome = (job: leases.ClaimedJob, rest: Pick<Outcome, 'status' | 'failureReason'>): Outcome => ({
    ...job,
    logLineCount: 0,
    ...rest,
  });
  const claimAll = async () => {
    const { claimed } = await leases.claimJobs(db, await handedOut(db, own), { owner: 'test', engineId: ENGINE });
    return claimed.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  };

  await drive(queueDueSlots, db, { limit: 100 });
  await drive(nextWakeMs, db);
  await db.execute(sql`UPDATE users SET notification_preference = 'ALL' WHERE id = ${userId}`);
  const queued = await db.execute<{ id: string }>(
    sql`SELECT id FROM jobs WHERE workflow_id = ANY(${ids}) ORDER BY id DESC`,
  );
  const { claimed: first } = await drive(leases.claimJobs, db, idsOf(queued), { owner: 'test', engineId: ENGINE });
  const held = first.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  await drive(leases.renewLeases, db, held);
  await drive(leases.releaseJobs, db, held);
  const taken = await drive(
    leases.takeOverJobs,
    db,
    held.map(({ id, attempt }) => ({ id, attempt })),
    { owner: 'other', engineId: ENGINE },
  );
  const reversed = taken.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  await drive(
    endJobs,
    db,
    reversed.map((job) => outcome(job, { status: 'COMPLETED' })),
  );
  await drive(
    endJobs,
    db,
    (await claimAll()).map((job) => outcome(job, { status: 'FAILED', failureReason: 'EXIT_CODE' })),
  );
  await drive(
    endJobs,
    db,
    (await claimAll()).map((job) => outcome(job, { status: 'COMPLETED' })), // after a failure: counted
  );
  await drive(
    endJobs,
    db,
    (await claimAll()).map((job) => outcome(job, { status: 'CANCELED' })),
  );
  const running = await claimAll();
  await db.execute(sql`UPDATE jobs SET cancel_requested_at = now() WHERE id = ${running[0]?.id}`);
  await drive(leases.returnJobs, db, running.slice(0, 3));
  await drive(leases.returnJobs, db, running.slice(3), { counted: true });
  await drive(wakeWaiting, db, idsOf(own));

  // Runs that are asked for, and their end in every way.
  const [workflow] = own;
  const id = workflow?.id ?? '';
  const call = (key: string) => ({
    userId,
    mutation: 'runWorkflow' as const,
    key,
    inputDigests: [randomBytes(32)] as [Buffer],
  });
  const key = randomUUID();
  const run = (tx: Db) => runWorkflow(tx, { userId, id });
  await drive(once<Awaited<ReturnType<typeof run>>>, db, call(key), run, (result) =>
    result.outcome === 'REQUESTED' ? result.job.id : undefined,
  );
  await drive(once<Awaited<ReturnType<typeof run>>>, db, call(key), run, () => undefined);
  await drive(
    once<string>,
    db,
    call(randomUUID()),
    async () => 'refused',
    () => undefined,
  );
  const asked = await drive(runWorkflow, db, { userId, id });
  if (asked.outcome !== 'REQUESTED') throw new Error(asked.outcome);
  await drive(cancelJob, db, { userId, id: asked.job.id });
  await drive(cancelJob, db, { userId, id: running.at(-1)?.id ?? '' });
  for (const { id: other } of own) await runWorkflow(db, { userId, id: other });
  await drive(cancelRequests, db, idsOf(own));
  await drive(
    countEnded,
    db,
    running.map((job) => job.id),
  );
}

async function attendanceOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT, SET * 6);
  const { claimed } = await leases.claimJobs(db, await handedOut(db, own), { owner: 'test', engineId: ENGINE });
  const group = (n: number) => own.slice(n * SET, (n + 1) * SET);
  const of = (n: number) => array(idsOf(group(n)), 'uuid');
  const jobs = (n: number) => sql`id IN (SELECT last_job_id FROM schedules WHERE workflow_id = ANY(${of(n)}))`;
  const lose = (n: number) =>
    db.execute(sql`UPDATE jobs SET lease_expires_at = now() - interval '1 hour' WHERE ${jobs(n)}`);
  if (claimed.length !== own.length) throw new Error(`Of ${own.length} jobs ${claimed.length} were claimed.`);
  await lose(0); // returned
  await lose(1); // failed
  await db.execute(sql`UPDATE jobs SET attempt = 3 WHERE ${jobs(1)}`);
  await lose(2); // canceled
  await db.execute(sql`UPDATE jobs SET cancel_requested_at = now() WHERE ${jobs(2)}`);
  await leases.returnJobs(db, claimed.filter((job) => group(3).some(({ id }) => id === job.workflowId))); // biome-ignore format: handed out again
  await db.execute(sql`UPDATE jobs SET updated_at = now() - interval '1 hour' WHERE ${jobs(3)}`);
  for (const { id } of group(4)) await runWorkflow(db, { userId, id }); // handed out when its slot's job has ended
  await endJobs(
    db,
    claimed
      .filter((job) => [...group(4), ...group(5)].some(({ id }) => id === job.workflowId))
      .map((job) => ({ ...job, status: 'COMPLETED', logLineCount: 0 })),
  );
  for (const { id } of group(5)) await runWorkflow(db, { userId, id }); // removed
  await db.execute(
    sql`UPDATE schedules SET state = 'TERMINATED', next_run_at = NULL WHERE workflow_id = ANY(${of(5)})`,
  );
  await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE workflow_id = ANY(${array(idsOf(own), 'uuid')})`);
  const { others } = await drive(queueDueSlots, db, { limit: 100 });
  await drive(attendSchedules, db, others, WATCHED);
}

async function recallOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const ids = array(await handedOut(db, own), 'uuid');
  await db.execute(sql`UPDATE jobs SET updated_at = now() - interval '10 minutes' WHERE id = ANY(${ids})`);
  await db.execute(sql`UPDATE schedules SET wake_at = now() + interval '5 minutes' WHERE last_job_id = ANY(${ids})`);
  const { next } = await drive(recallQueued, db, { after: undefined, limit: 3 });
  await drive(recallQueued, db, { after: next, limit: 10 });
}

async function buildsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  await drive(workflows.createWorkflow, db, {
    userId,
    name: 'driven',
    payload: CONTAINER,
    intervalMinutes: 60,
    maxConsecutiveJobFailuresAllowed: 3,
  });
  await drive(workflows.createWorkflow, db, {
    userId,
    name: 'driven',
    payload: HEARTBEAT,
    intervalMinutes: 60,
    maxConsecutiveJobFailuresAllowed: 3,
  });
  const own = await make(db, userId, CONTAINER);
  const ids = own.map(({ buildId }) => buildId);
  const claim = async () => (await builds.claimBuilds(db, ids, { owner: 'test' })).toSorted((a, b) => (a.id < b.id ? 1 : -1)); // biome-ignore format: one line
  const claimed = await drive(builds.claimBuilds, db, ids, { owner: 'test' });
  const held = claimed.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  await drive(builds.renewBuildLeases, db, held);
  await drive(builds.othersBuild, db, { owner: 'other' });
  await drive(builds.releaseBuilds, db, held);
  await drive(builds.releaseBuilds, db, held, { counted: true });
  await claim();
  const lose = sql`UPDATE builds SET lease_expires_at = now() - interval '1 hour' WHERE id = ANY(${array(ids, 'uuid')})`;
  await db.execute(lose);
  await drive(builds.sweepBuilds, db, WATCHED);
  await db.execute(sql`UPDATE builds SET attempt = 9 WHERE id = ${ids[0]}`);
  await claim();
  await db.execute(lose);
  await drive(builds.sweepBuilds, db, WATCHED); // one of them fails
  const [one, two, ...rest] = await claim();
  if (one === undefined || two === undefined) throw new Error('There are more builds.');
  await drive(builds.endBuild, db, { ...one, status: 'FAILED', error: 'No such image.', logLineCount: 0 });
  await drive(builds.endBuild, db, { ...two, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 });
  for (const build of rest)
    await builds.endBuild(db, { ...build, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 });

  // Another payload, while a job of the one before it runs and fails once too often.
  const ready = rest.map(({ workflowId: id }) => ({ id }));
  await db.execute(
    sql`UPDATE workflows SET max_consecutive_job_failures_allowed = 1 WHERE id = ANY(${array(idsOf(ready), 'uuid')})`,
  );
  const { claimed: running } = await leases.claimJobs(db, await handedOut(db, ready), {
    owner: 'test',
    engineId: ENGINE,
  });
  const payload = (n: number): Payload => ({ ...CONTAINER, args: [String(n)] });
  for (const [n, { id }] of ready.entries())
    await drive(workflows.updateWorkflow, db, { userId, id, payload: payload(n), intervalMinutes: 30 });
  await drive(
    endJobs,
    db,
    running
      .toSorted((a, b) => (a.id < b.id ? 1 : -1))
      .map((job) => ({ ...job, status: 'FAILED', failureReason: 'EXIT_CODE', logLineCount: 0 })),
  );
  await db.transaction(async (tx) => {
    const last = await make(db, userId, CONTAINER, 1);
    const id = last[0]?.id ?? '';
    await drive(workflows.lockWorkflow, tx, { userId, id });
    await drive(workflows.cancelBuilds, tx, id);
    await drive(pruneGenerations, tx, { workflowId: id, generation: 2 });
    await drive(volumes.reserveVolumes, tx, { userId, payload: CONTAINER }, USER_LIMITS);
    await drive(userLimits.checkBuilds, tx, userId, USER_LIMITS);
    await drive(userLimits.checkPayloads, tx, { userId, workflowId: id }, USER_LIMITS);
    await drive(userLimits.checkRequests, tx, { userId, kind: 'CONTAINER' }, USER_LIMITS);
    await drive(userLimits.checkVolumes, tx, userId, USER_LIMITS);
    await drive(userLimits.checkWorkflows, tx, userId, USER_LIMITS);
  });
}

async function logsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const ids = await handedOut(db, own);
  await leases.claimJobs(db, ids, { owner: 'test', engineId: ENGINE });
  const chunk = (sourceId: string, lastNumber: number) => ({
    sourceId,
    attempt: 1,
    firstNumber: 1,
    lastNumber,
    lines: Buffer.of(1),
  });
  await drive(insertChunks, db, ids.map((id) => chunk(id, 1))); // biome-ignore format: one line
  await drive(insertChunks, db, ids.map((id) => chunk(id, 2))); // biome-ignore format: one line
  const built = (await make(db, userId, CONTAINER)).map(({ buildId }) => buildId);
  await drive(settleSeams, db, [...ids, ...built].map((sourceId) => ({ sourceId, attempt: 2 }))); // biome-ignore format: one line
  await drive(settledLines, db, ids[0] ?? '', 2);
  await drive(openEnds, db, { seconds: 60, after: NO_ID, limit: 10 });
  await drive(deleteChunks, db, ids, { limit: 3 });
}

async function turnsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, CONTAINER);
  const ids = own.map(({ buildId }) => buildId);
  await drive(turns.enterTurns, db, 'BUILD', ids);
  await drive(turns.peekTurn, db, 'BUILD', [randomUUID()]);
  await drive(turns.hasTurn, db, ids[0] ?? '');
  const take = turns.takeTurn<builds.ClaimedBuild>;
  await drive(take, db, 'BUILD', [randomUUID()], (tx, claimed) => builds.claimBuilds(tx, claimed, { owner: 'test' }));
  const jobs = await handedOut(db, await make(db, userId, HEARTBEAT));
  await drive(turns.enterTurns, db, 'CONTAINER', jobs);
  const takeJob = turns.takeTurn<leases.ClaimedJob>;
  await drive(takeJob, db, 'CONTAINER', [randomUUID()], async (tx, claimed) => {
    return (await leases.claimJobs(tx, claimed, { owner: 'test', engineId: ENGINE })).claimed;
  });
  await db.execute(
    sql`INSERT INTO turns (id, kind, user_id, round) SELECT gen_random_uuid(), 'BUILD', ${userId}, 1 FROM generate_series(1, 50)`,
  );
  await drive(turns.sweepTurns, db, { after: NO_ID, limit: 10 });
  await db.execute(sql`DELETE FROM turns WHERE kind = 'BUILD'`);
}

async function volumesAndImagesOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const pull = { puller: newId(), image: 'r/i:1', repository: 'r/i', engineId: ENGINE };
  await drive(images.beginPrivatePull, db, pull, undefined);
  await drive(images.settlePrivatePull, db, pull, 'sha256:1');
  for (let n = 0; n < SET; n++) {
    const begun = { ...pull, puller: newId() };
    await images.beginPrivatePull(db, begun, undefined);
    await db.execute(
      sql`UPDATE private_pulls SET started_at = now() - interval '1 day' WHERE puller = ${begun.puller}`,
    );
  }
  await drive(images.endedPrivatePulls, db, ENGINE, 3);
  await drive(images.notePulledImage, db, { userId, imageId: 'sha256:1', repository: 'r/i' });

  const names = ['work', 'cache'];
  await drive(volumes.noteVolumeUse, db, { userId, names, engineId: ENGINE });
  const found = names.map((name) => ({ userId, name, sizeBytes: 1 }));
  await drive(volumes.noteFoundVolumes, db, ENGINE, found);
  await drive(volumes.noteFoundVolumes, db, ENGINE, found.slice(1)); // the other one is gone
  await drive(volumes.deleteVolume, db, { userId, name: 'work' }); // which is in use
  const spare = await db.execute<{ id: string }>(sql`
    INSERT INTO volumes (id, user_id, name) SELECT gen_random_uuid(), ${userId}, 'spare-' || n FROM generate_series(1, ${SET}) n
    RETURNING id`);
  await db.execute(sql`INSERT INTO volume_copies (volume_id, engine_id)
    SELECT id, ${ENGINE} FROM unnest(${array(idsOf(spare), 'uuid')}) AS u (id)`);
  for (let n = 1; n <= SET; n++) await drive(volumes.deleteVolume, db, { userId, name: `spare-${n}` });
  const unwanted = await drive(volumes.unwantedVolumes, db, ENGINE, 10);
  await drive(volumes.volumesRemoved, db, ENGINE, idsOf(unwanted).toReversed());
}

async function notificationsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  await drive(notifications.setNotificationPreference, db, userId, 'ALL');
  const told = await drive(
    notifications.notify,
    db,
    own.map(({ id }) => ({ kind: 'WORKFLOW_TERMINATED', workflowId: id })),
  );
  await drive(notifications.markNotificationsRead, db, userId, idsOf(told).toSorted().reverse());
  await drive(audit.recordAudit, db, { action: 'workflow.create', outcome: 'DONE', userId });
}

async function endOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const [one, two, three, ...rest] = await make(db, userId, HEARTBEAT);
  if (one === undefined || two === undefined || three === undefined) throw new Error('There are more workflows.');
  await handedOut(db, [one, two, three, ...rest]);
  for (const { id } of [one, two, three]) for (let n = 0; n < SET; n++) await runWorkflow(db, { userId, id });
  await drive(termination.terminateWorkflow, db, { userId, id: one.id });
  await drive(termination.deleteWorkflow, db, { userId, id: two.id });
  await drive(termination.deleteWorkflow, db, { userId, id: three.id, purge: true });
  const [container] = await make(db, userId, CONTAINER);
  await drive(termination.deleteWorkflow, db, { userId, id: container?.id ?? '', purge: true });
  await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE workflow_id = ${three.id}`);
  const { others } = await queueDueSlots(db, { limit: 100 });
  for (let n = 0; n < 2; n++) await attendSchedules(db, others, WATCHED);
  await drive(termination.terminateWorkflowsOf, db, userId, 'user.terminate');
  for (let n = 0, left = true; left && n < 100; n++) {
    const pass = await queueDueSlots(db, { limit: 1_000 });
    await attendSchedules(db, pass.others, WATCHED);
    left = pass.others.length > 0;
  }
  await db.execute(sql`UPDATE workflows SET deleted_at = now() - interval '9 days' WHERE id = ${two.id}`);
}

/** What workers do every now and then, in steps: others' rows are due too, far more than a step takes. */
async function maintenance(db: Db, drive: Drive): Promise<void> {
  await drive(purgeDeleted, db, { days: 0, limit: 3 });
  for (let n = 0; await drive(purgeSome, db); n++) if (n > 100) throw new Error('The purge has no end.');
  const step = { days: 1, after: NO_ID, limit: 10, chunks: 10 };
  await drive(removeOldJobs, db, { ...step, chunks: 100 });
  await drive(logRetention.removeOldChunks, db, { name: partitions.OTHER_LOG_PARTITION }, step);
  await drive(logRetention.removeChunksOfWorkflows, db, { ...step, days: 30, workflows: 10, chunks: 1_000 });
  await drive(foldTotals, db, { limit: 10 });
  await drive(audit.removeOldAuditEvents, db, { days: 1, limit: 10 });
  await drive(notifications.removeOldNotifications, db, { days: 1, limit: 10 });
  await db.execute(sql`UPDATE idempotency_keys SET created_at = now() - interval '9 days' WHERE user_id IN (
    SELECT user_id FROM idempotency_keys ORDER BY created_at, user_id LIMIT 20)`);
  await drive(sweepIdempotencyKeys, db);
  await drive(getInstallation, db);
  await drive(partitions.makeLogPartitions, db, { daysAhead: 1 });
  const day = (await drive(partitions.logPartitionsBefore, db, { days: -3 })).at(-1);
  if (day === undefined) throw new Error('There is a partition of tomorrow.');
  await drive(partitions.dropLogPartition, db, day);
  await secrets(db, drive);
}

/** Goes through all workflows by design, when the key changes: here through the first set, in which there is a secret. */
async function secrets(db: Db, drive: Drive): Promise<void> {
  const sealed = (at: number, text: string) =>
    db.execute(sql`
      UPDATE payloads SET payload = jsonb_build_object('kind', 'CONTAINER', 'env', jsonb_build_object('A',
        jsonb_build_object('secret', true, 'sealed', ${text}::text)))
      WHERE workflow_id = (SELECT id FROM workflows ORDER BY id OFFSET ${at} LIMIT 1)`);
  await sealed(0, 'x');
  await sealed(300, 'the last one'); // in the second set
  const change = (text: string) => {
    if (text === 'the last one') throw new Error(text);
    return 'changed';
  };
  await drive(changeSecrets, db, change).catch((error) => {
    if (!String(error).includes('the last one')) throw error;
  });
}
