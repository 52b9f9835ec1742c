import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readUserTotals } from '../../db/analytics.ts';
import { claimBuilds } from '../../db/builds/claim.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { openEnds } from '../../db/logs/markers.ts';
import { partitionOf } from '../../db/partitions.ts';
import { builds, jobs } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { NO_ID, newId } from '../../domain/ids.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { encodeChunks } from '../../domain/logs/chunk.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { numberedChunk } from '../support/lines.ts';
import { letPass, until } from '../support/time.ts';
import { memoryParts } from '../support/workers.ts';
import { claim, heartbeat, schedule } from './support.ts';

const FOR_EVER = { watchedSeconds: () => Number.POSITIVE_INFINITY };

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

test('P10: scheduling publishes an end that was never published, even without a follower: of jobs and of builds', async () => {
  const { db } = database;
  const parts = memoryParts(db);
  const { id: workflowId } = await heartbeat(db, ann);
  const [job] = await claim(db, await schedule(db));
  await db.update(jobs).set({ attempt: ATTEMPTS_MAX });
  await letPass(db, workflowId, 3_600);
  // The process crashes before it publishes to the bus.
  await reconcileSchedules(db, [workflowId], FOR_EVER);
  const payload = { kind: 'CONTAINER', image: 'a' } as const;
  const other = { name: 'a', schedule: { everyMinutes: 1 }, maxConsecutiveJobFailuresAllowed: 1 };
  const { workflow, buildId = '' } = await createWorkflow(db, { userId: ann, payload, ...other });
  await claimBuilds(db, [buildId], { owner: 'lost' });
  await terminateWorkflow(db, { userId: ann, id: workflow.id });

  const jobId = job?.id ?? '';
  const joblogs = await startJoblogs(parts);
  await parts.bus.publish('job_logs', [
    { key: jobId, value: encodeChunks([{ ...(await numberedChunk(jobId, 1, 500)), attempt: ATTEMPTS_MAX }]) },
    { key: buildId, value: encodeChunks([await numberedChunk(buildId, 1, 20)]) },
  ]);
  // The process that ended it may be about to publish the marker.
  expect(await openEnds(db, { seconds: 60, after: NO_ID, limit: 10 })).toEqual([]);
  const before = sql`now() - interval '2 minutes'`;
  await db.update(jobs).set({ completedAt: before });
  await db.update(builds).set({ completedAt: before });
  expect(await openEnds(db, { seconds: 60, after: NO_ID, limit: 10 })).toEqual([jobId, buildId]);
  expect(await openEnds(db, { seconds: 60, after: jobId, limit: 10 })).toEqual([buildId]);
  expect(await openEnds(db, { seconds: 60, after: NO_ID, limit: 1 })).toEqual([jobId]);

  const scheduling = await startScheduling(parts);
  await until('both are settled', async () => {
    const [ended] = await db.select().from(jobs).where(eq(jobs.id, jobId));
    const [built] = await db.select().from(builds).where(eq(builds.id, buildId));
    return ended?.logLineCount === 500 && built?.logLineCount === 20;
  });
  const totals = await readUserTotals(db, ann, { from: undefined, to: undefined });
  expect(totals.filter(({ what }) => what === 'FAILED').reduce((sum, { logLines }) => sum + logLines, 0)).toBe(500);
  expect(await openEnds(db, { seconds: 0, after: NO_ID, limit: 10 })).toEqual([]);
  await scheduling.close();
  await joblogs.close();
  await parts.bus.close();
  await parts.cache.close();
});

test('looking for open logs reads no other jobs', async () => {
  const { db } = database;
  await db.execute(sql`
    INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, started_at, completed_at)
    SELECT (left(${newId()}, 24) || lpad(n::text, 12, '0'))::uuid, ${newId()}, ${ann}, 'HEARTBEAT', 'MANUAL', 'COMPLETED', 1, now(), now(),
      now() - interval '2 days' FROM generate_series(1, 5000) n`);
  const { name: today } = partitionOf('jobs', new Date());
  const [index] = await db.execute<{ name: string }>(sql`
    SELECT indexname AS name FROM pg_indexes WHERE tablename = ${today} AND indexdef LIKE '%WHERE log_open'`);
  for (const analyzed of [false, true]) {
    if (analyzed) await db.execute(sql`ANALYZE jobs`);
    const rows = await db.execute<{ 'QUERY PLAN': string }>(sql`
      EXPLAIN SELECT id FROM ${sql.identifier(today)} WHERE id > ${NO_ID} AND log_open AND completed_at < now() ORDER BY id LIMIT 1000`);
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toContain(`using ${index?.name} `);
  }
});
