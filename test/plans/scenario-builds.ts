import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import * as userLimits from '../../db/accounts/user-limits.ts';
import { array } from '../../db/arrays.ts';
import { claimBuilds } from '../../db/builds/claim.ts';
import * as engineImages from '../../db/builds/engine-images.ts';
import { endBuild } from '../../db/builds/finish.ts';
import * as images from '../../db/builds/images.ts';
import { othersBuild, releaseBuilds, renewBuildLeases } from '../../db/builds/leases.ts';
import { endWaitsForEngine, postponeBuild } from '../../db/builds/postpone.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import type { Db } from '../../db/client.ts';
import { lockWorkflowsOf } from '../../db/ends/builds.ts';
import { cancelBuilds } from '../../db/ends/cancel-builds.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import * as turns from '../../db/jobs/turns.ts';
import { deleteChunks, insertChunks } from '../../db/logs/append.ts';
import { openEnds, settledLines, settleMarkers } from '../../db/logs/markers.ts';
import { generationsInUse, pruneGenerations } from '../../db/payloads.ts';
import * as volumes from '../../db/volumes.ts';
import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import * as workflows from '../../db/workflows/workflows.ts';
import { NO_ID, newId } from '../../domain/ids.ts';
import { USER_LIMITS } from '../../domain/limits.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { CONTAINER, type Drive, dispatched, ENGINE, HEARTBEAT, idsOf, make, SET, WATCHED } from './scenario-rows.ts';

export async function buildsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  await drive(workflows.createWorkflow, db, {
    userId,
    name: 'driven',
    payload: CONTAINER,
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 3,
  });
  await drive(workflows.createWorkflow, db, {
    userId,
    name: 'driven',
    payload: HEARTBEAT,
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 3,
  });
  const own = await make(db, userId, CONTAINER);
  const ids = own.map(({ buildId }) => buildId);
  const claim = async () =>
    (await claimBuilds(db, ids, { owner: 'test' })).claimed.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  const { claimed } = await drive(claimBuilds, db, ids, { owner: 'test' });
  const held = claimed.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  await drive(renewBuildLeases, db, held);
  await drive(othersBuild, db, { owner: 'other' });
  await drive(releaseBuilds, db, held);
  await drive(releaseBuilds, db, held, { counted: true });
  await claim();
  const lose = sql`UPDATE builds SET lease_expires_at = now() - interval '1 hour' WHERE id = ANY(${array(ids, 'uuid')})`;
  await db.execute(lose);
  await drive(sweepBuilds, db, WATCHED);
  await db.execute(sql`UPDATE builds SET attempt = 9 WHERE id = ${ids[0]}`);
  await claim();
  await db.execute(lose);
  await drive(sweepBuilds, db, WATCHED); // one of the builds fails
  const outage = { waitSeconds: 3_600, waitsFor: 'It is away.', awaitsEngine: true, counted: false };
  for (const lease of await claim()) await drive(postponeBuild, db, lease, outage);
  await drive(postponeBuild, db, { id: ids[0] ?? '', leaseToken: randomUUID() }, { ...outage, counted: true });
  await rebuildOf(db, drive, userId, own[1]?.id ?? ''); // it waits
  await drive(endWaitsForEngine, db);
  const [one, two, ...rest] = await claim();
  if (one === undefined || two === undefined) throw new Error('There are more builds.');
  await drive(endBuild, db, { ...one, status: 'FAILED', error: 'No such image.', logLineCount: 0 });
  await drive(endBuild, db, { ...two, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 });
  for (const build of rest) await endBuild(db, { ...build, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 });

  await rebuildOf(db, drive, userId, one.workflowId); // it FAILED

  // A build fails while a job is requested.
  await runWorkflow(db, { userId, id: two.workflowId });
  await workflows.updateWorkflow(db, { userId, id: two.workflowId, payload: { ...CONTAINER, args: ['fails'] } });
  const queued = await db.execute<{ id: string }>(
    sql`SELECT id FROM builds WHERE workflow_id = ${two.workflowId} AND completed_at IS NULL`,
  );
  const [failing] = (await claimBuilds(db, idsOf(queued), { owner: 'test' })).claimed;
  if (failing === undefined) throw new Error('The next build is queued.');
  await drive(endBuild, db, { ...failing, status: 'FAILED', error: 'No such image.', logLineCount: 0 });

  // A new payload is built while a job of the previous one runs and fails once too often.
  const ready = rest.map(({ workflowId: id }) => ({ id }));
  await db.execute(
    sql`UPDATE workflows SET max_consecutive_job_failures_allowed = 1 WHERE id = ANY(${array(idsOf(ready), 'uuid')})`,
  );
  const { claimed: running } = await claimJobs(db, await dispatched(db, ready), {
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
  const last = await make(db, userId, CONTAINER, 1);
  await db.transaction(async (tx) => {
    const id = last[0]?.id ?? '';
    const row = await drive(workflows.lockWorkflow, tx, { userId, id });
    if (row === undefined) throw new Error('The workflow is there.');
    await drive(workflows.presentPayload, tx, row);
    await drive(workflows.queueBuild, tx, { ...row, generation: 99 }, USER_LIMITS);
    await drive(cancelBuilds, tx, [id]);
    await drive(lockWorkflowsOf, tx, [last[0]?.buildId ?? '']);
    await drive(pruneGenerations, tx, { workflowId: id, generation: 2 });
    await drive(generationsInUse, tx, [id]);
    await drive(volumes.reserveVolumes, tx, { userId, payload: CONTAINER }, USER_LIMITS);
    await drive(userLimits.checkBuilds, tx, userId, USER_LIMITS);
    await drive(userLimits.checkPayloads, tx, { userId, workflowId: id }, USER_LIMITS);
    await drive(userLimits.checkRequests, tx, { userId, kind: 'CONTAINER' }, USER_LIMITS);
    await drive(userLimits.checkVolumes, tx, userId, USER_LIMITS);
    await drive(userLimits.checkWorkflows, tx, userId, USER_LIMITS);
  });
}

const rebuildOf = (db: Db, drive: Drive, userId: string, id: string) => drive(rebuildWorkflow, db, { userId, id });

export async function logsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const ids = await dispatched(db, own);
  await claimJobs(db, ids, { owner: 'test', engineId: ENGINE });
  const chunk = (sourceId: string, lastNumber: number) => ({
    sourceId,
    attempt: 1,
    firstNumber: 1,
    lastNumber,
    lines: Buffer.of(1),
  });
  await drive(
    insertChunks,
    db,
    ids.map((id) => chunk(id, 1)),
  );
  await drive(
    insertChunks,
    db,
    ids.map((id) => chunk(id, 2)),
  );
  const built = (await make(db, userId, CONTAINER)).map(({ buildId }) => buildId);
  await drive(
    settleMarkers,
    db,
    [...ids, ...built].map((sourceId) => ({ kind: 'attempt-marker' as const, sourceId, epoch: 2 })),
  );
  await drive(settledLines, db, ids[0] ?? '', 2);
  await drive(openEnds, db, { seconds: 60, after: NO_ID, limit: 10 });
  await drive(deleteChunks, db, ids, { limit: 3 });
}

export async function turnsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, CONTAINER);
  const ids = own.map(({ buildId }) => buildId);
  await drive(turns.enterTurns, db, 'BUILD', ids);
  await drive(turns.peekTurn, db, 'BUILD', [randomUUID()]);
  await drive(turns.peekTurnFor, db, 'BUILD', [randomUUID()], ENGINE);
  const turn = { id: ids[0] ?? '', passedBy: {} };
  await drive(turns.passTurn, db, turn, { by: ENGINE, seconds: 30, waitsFor: 'an engine' });
  await drive(turns.waitingOf, db, 'BUILD', turn);
  await drive(turns.waitsOfTurns, db, ids);
  await drive(turns.hasTurn, db, ids[0] ?? '');
  const take = turns.takeTurn<Awaited<ReturnType<typeof claimBuilds>>>;
  await drive(take, db, 'BUILD', [randomUUID()], (tx, claimed) => claimBuilds(tx, claimed, { owner: 'test' }));
  const jobs = await dispatched(db, await make(db, userId, HEARTBEAT));
  await drive(turns.enterTurns, db, 'CONTAINER', jobs.slice(1), {
    round: '1',
    passedBy: { other: 1 },
    by: ENGINE,
    seconds: 30,
  });
  await drive(turns.enterTurns, db, 'CONTAINER', jobs);
  await drive(turns.waitingOf, db, 'CONTAINER', { id: jobs[0] ?? '', passedBy: {} });
  const takeJob = turns.takeTurn<Awaited<ReturnType<typeof claimJobs>>>;
  await drive(takeJob, db, 'CONTAINER', [randomUUID()], (tx, claimed) =>
    claimJobs(tx, claimed, { owner: 'test', engineId: ENGINE }),
  );
  const takeThat = (only: string) =>
    drive(takeJob, db, 'CONTAINER', [], (tx, ids) => claimJobs(tx, ids, { owner: 'test', engineId: ENGINE }), { only });
  await takeThat(jobs[1] ?? '');
  await db.execute(
    sql`INSERT INTO turns (id, kind, user_id, round) SELECT gen_random_uuid(), 'BUILD', ${userId}, 1 FROM generate_series(1, 50)`,
  );
  await drive(turns.sweepTurns, db, { after: NO_ID, limit: 10 });
  await db.execute(sql`DELETE FROM turns WHERE kind = 'BUILD'`);
}

export async function volumesAndImagesOf(db: Db, drive: Drive, userId: string): Promise<void> {
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

  const imageId = 'sha256:1';
  const image = { engineId: ENGINE, imageId, names: ['r/i:1', 'r/i@sha256:1'], isNew: true };
  await drive(engineImages.noteEngineImage, db, image);
  await drive(engineImages.noteEngineImage, db, { ...image, names: ['r/i:2'], isNew: false });
  for (let n = 2; n <= SET; n++) await engineImages.noteEngineImage(db, { ...image, imageId: `sha256:not-built-${n}` });
  await db.execute(sql`UPDATE engine_images SET last_used_at = now() - interval '1 year' WHERE engine_id = ${ENGINE}`);
  await drive(engineImages.unusedImages, db, ENGINE, { days: 30, limit: 20 });
  await drive(
    engineImages.removeUnusedImage,
    db,
    { engineId: ENGINE, imageId: 'sha256:not-built-2', days: 30 },
    async () => true,
  );
  await drive(
    engineImages.removeUnusedImage,
    db,
    { engineId: ENGINE, imageId: 'sha256:not-built-3', days: 30 },
    async () => false,
  );
  await drive(engineImages.isImageNeeded, db, imageId);
  await drive(engineImages.waitingSources, db);
  await drive(engineImages.noteImageUse, db, { engineId: ENGINE, imageId });
  const known = await drive(engineImages.engineImages, db, ENGINE);
  for (const one of known.slice(0, 1)) await drive(engineImages.forgetImageNames, db, ENGINE, one, ['r/i:2']);
  await drive(engineImages.forgetEngineImages, db, ENGINE, known.toReversed());

  const names = ['work', 'cache'];
  await drive(volumes.noteVolumeUse, db, { userId, names, engineId: ENGINE });
  await drive(volumes.placesOfVolumes, db, { userId, names, engineId: 'another' });
  await drive(volumes.placeVolumes, db, { userId, names, engineId: ENGINE });
  const found = names.map((name) => ({ userId, name, sizeBytes: 1 }));
  await drive(volumes.noteFoundVolumes, db, ENGINE, found);
  await drive(volumes.noteFoundVolumes, db, ENGINE, found.slice(1)); // the other volume is gone
  await volumes.noteVolumeUse(db, { userId, names, engineId: 'former' });
  await drive(volumes.forgetCopies, db, 'former', found.toReversed());
  await drive(volumes.deleteVolume, db, { userId, name: 'work' }); // the volume is in use
  const spare = await db.execute<{ id: string }>(sql`
    INSERT INTO volumes (id, user_id, name) SELECT gen_random_uuid(), ${userId}, 'spare-' || n FROM generate_series(1, ${SET}) n
    RETURNING id`);
  await db.execute(sql`INSERT INTO volume_copies (volume_id, engine_id)
    SELECT id, ${ENGINE} FROM unnest(${array(idsOf(spare), 'uuid')}) AS u (id)`);
  for (let n = 1; n <= SET; n++) await drive(volumes.deleteVolume, db, { userId, name: `spare-${n}` });
  const unwanted = await drive(volumes.unwantedVolumes, db, ENGINE, { after: NO_ID, limit: 10 });
  await drive(volumes.volumesRemoved, db, ENGINE, idsOf(unwanted).toReversed());
}
