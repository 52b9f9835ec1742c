import { eq, sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Connection, connect, type Db } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { dropLogPartition, logPartitionsBefore } from '../../db/logs/partitions.ts';
import { builds, jobs, logChunks, workflows } from '../../db/schema.ts';
import { createWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { firstIdAt, newId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { createLogRetention } from '../../workers/scheduling/log-retention.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts } from '../support/workers.ts';

const signal = new AbortController().signal;
const LINE = { attempt: 1, lines: Buffer.from('o2026-01-01T00:00:00.000000000Z a\n') };
const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS);
const dayOf = (time: Date) => new Date(Math.floor(time.getTime() / DAY_MS) * DAY_MS);

describe('the retention of log lines', () => {
  let database: TestDatabase;
  let second: Connection;
  let db: Db;
  let ann: string;
  beforeAll(async () => {
    database = await testDatabase();
    second = connect(database.url, { max: 2, application: 'chronoverse-test' });
    db = database.db;
    ann = await testUser(db, 'ann');
  });
  afterAll(async () => {
    await second.close();
    await database.close();
  });
  beforeEach(async () => {
    await db.execute(sql`TRUNCATE log_chunks, jobs, workflows CASCADE`);
    for (const partition of await logPartitionsBefore(db, { days: 0 })) await dropLogPartition(db, partition);
  });

  async function makePartition(time: Date): Promise<string> {
    const day = dayOf(time);
    const name = `log_chunks_${day.toISOString().slice(0, 10).replaceAll('-', '')}`;
    const [from, to] = [firstIdAt(day), firstIdAt(new Date(day.getTime() + DAY_MS))];
    await db.execute(sql.raw(`CREATE TABLE ${name} PARTITION OF log_chunks FOR VALUES FROM ('${from}') TO ('${to}')`));
    return name;
  }

  /**
   * Stores a job that was made at `made` and ended at `ended` (or still runs), with `chunks` chunks
   * of one line each.
   */
  async function job({
    made,
    ended,
    workflowId = newId(),
    chunks = 1,
  }: {
    made: Date;
    ended?: Date;
    workflowId?: string;
    chunks?: number;
  }) {
    const id = v7({ msecs: made.getTime() });
    const state = ended
      ? ({ status: 'COMPLETED', completedAt: ended, logLineCount: chunks } as const)
      : ({ status: 'RUNNING', leaseToken: newId() } as const);
    const common = {
      id,
      workflowId,
      userId: ann,
      generation: 1,
      attempt: 1,
      kind: 'CONTAINER',
      trigger: 'MANUAL',
    } as const;
    await db.insert(jobs).values({ ...common, ...state, scheduledAt: made, startedAt: made });
    await print(id, chunks);
    return id;
  }

  async function print(sourceId: string, chunks: number): Promise<void> {
    const lines = Buffer.from('o2026-01-01T00:00:00.000000000Z a\n');
    await insertChunks(
      db,
      Array.from({ length: chunks }, (_, n) => ({
        sourceId,
        attempt: 1,
        firstNumber: n + 1,
        lastNumber: n + 1,
        lines,
      })),
    );
  }

  const isKept = async (id: string) => (await db.$count(logChunks, eq(logChunks.sourceId, id))) > 0;
  const partitions = async () => (await logPartitionsBefore(db, { days: 0 })).map(({ name }) => name);
  const pass = (days: number, on = db) => createLogRetention({ db: on, days }).pass(signal);

  test('drops the partition of a day whose jobs all ended long enough ago, and no other', async () => {
    await makePartition(daysAgo(12));
    const young = await makePartition(daysAgo(5));
    const [old, later] = [
      await job({ made: daysAgo(12), ended: daysAgo(12) }),
      await job({ made: daysAgo(5), ended: daysAgo(5) }),
    ];
    expect(await pass(10)).toEqual({ partitions: 1, chunks: 0 });
    expect(await partitions()).toEqual([young]);
    expect([await isKept(old), await isKept(later)]).toEqual([false, true]);
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 0 });
    expect(await db.$count(jobs)).toBe(2);
  });

  test('counts from the end: a day stays while one of its jobs has not ended long enough ago', async () => {
    const made = new Date(dayOf(daysAgo(11)).getTime() + DAY_MS / 2);
    const name = await makePartition(made);
    await job({ made, ended: made });
    const late = await job({ made, ended: daysAgo(9.5) });
    const retention = createLogRetention({ db, days: 10 });
    expect(await retention.pass(signal)).toEqual({ partitions: 0, chunks: 0 });
    await db
      .update(jobs)
      .set({ completedAt: daysAgo(10.1) })
      .where(eq(jobs.id, late));
    expect(await retention.pass(signal)).toEqual({ partitions: 1, chunks: 0 });
    expect(await partitions()).not.toContain(name);
  });

  test('keeps the day of a build that has not ended', async () => {
    const { workflow, buildId } = await container();
    const id = v7({ msecs: daysAgo(11).getTime() });
    await db.update(builds).set({ id }).where(eq(builds.id, buildId));
    await makePartition(daysAgo(11));
    await print(id, 1);
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 0 });
    await db
      .update(builds)
      .set({ status: 'COMPLETED', completedAt: daysAgo(11) })
      .where(eq(builds.workflowId, workflow.id));
    expect(await pass(10)).toEqual({ partitions: 1, chunks: 0 });
  });

  test('removes lines job by job from a day that one job keeps for longer, and from the default partition', async () => {
    await makePartition(daysAgo(20));
    const old = [
      await job({ made: daysAgo(20), ended: daysAgo(20) }),
      await job({ made: daysAgo(30), ended: daysAgo(30) }),
    ];
    const kept = [
      await job({ made: daysAgo(20) }),
      await job({ made: daysAgo(30) }),
      await job({ made: daysAgo(30), ended: daysAgo(2) }),
    ];
    const orphan = await job({ made: daysAgo(30) });
    // Its workflow was purged while one of its lines was on its way.
    await db.delete(jobs).where(eq(jobs.id, orphan));
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 3 });
    expect(await Promise.all([...old, orphan].map(isKept))).toEqual([false, false, false]);
    expect(await Promise.all(kept.map(isKept))).toEqual([true, true, true]);
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 0 });
  });

  test('removes many jobs and many chunks in several bounded sets', async () => {
    for (let n = 0; n < 6; n++) await job({ made: daysAgo(30), ended: daysAgo(30), chunks: 700 });
    await db.execute(sql`
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, started_at, completed_at)
      SELECT (left(${v7({ msecs: daysAgo(31).getTime() })}, 24) || lpad(n::text, 12, '0'))::uuid, ${newId()}, ${ann}, 'HEARTBEAT', 'MANUAL', 'COMPLETED',
        1, now(), now(), now() - interval '31 days' FROM generate_series(1, 1200) n`);
    await db.execute(sql`
      INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines) SELECT id, 1, 1, 1, 'o' FROM jobs WHERE kind = 'HEARTBEAT'`);
    const kept = await job({ made: daysAgo(30) });
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 5_400 });
    expect(await isKept(kept)).toBe(true);
    expect(await db.$count(logChunks)).toBe(1);
  });

  test('does not block other sessions behind a long statement: the partition is dropped later', async () => {
    await makePartition(daysAgo(12));
    const id = await job({ made: daysAgo(12), ended: daysAgo(12) });
    const other = await job({ made: new Date(), ended: new Date() });
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let reading = () => {};
    const began = new Promise<void>((resolve) => {
      reading = resolve;
    });
    const backup = second.db.transaction(async (tx) => {
      await tx.execute(sql`SELECT count(*) FROM log_chunks`);
      reading();
      await released;
    });
    await began;
    let waiting = true;
    const passing = pass(10).finally(() => {
      waiting = false;
    });
    // Reading and storing continue, whether before or behind the session that waits for the lock.
    while (waiting) {
      await db.transaction(async (tx) => {
        await tx.execute(sql`SET LOCAL lock_timeout = '3s'`);
        await tx.execute(sql`SELECT last_number FROM log_chunks WHERE source_id = ${other}`);
        await insertChunks(tx, [{ ...LINE, sourceId: other, firstNumber: 2, lastNumber: 2 }]);
      });
    }
    expect(await passing).toEqual({ partitions: 0, chunks: 0 });
    expect(await isKept(id)).toBe(true);
    release();
    await backup;
    expect(await pass(10)).toEqual({ partitions: 1, chunks: 0 });
  });

  test('is run by a scheduling worker on its own', async () => {
    const name = await makePartition(daysAgo(12));
    await job({ made: daysAgo(12), ended: daysAgo(12) });
    const parts = memoryParts(db);
    const worker = await startScheduling({ ...parts, logRetentionDays: 10 });
    await until('the partition is gone', async () => !(await partitions()).includes(name));
    await worker.close();
    await parts.bus.close();
    await parts.cache.close();
  });

  describe('of a job with the id of a machine whose clock is 40 days behind', () => {
    const slow = () => job({ made: new Date(dayOf(daysAgo(40)).getTime() + 1_000) });
    const endNow = (id: string) =>
      db.update(jobs).set({ status: 'COMPLETED', completedAt: new Date(), leaseToken: null }).where(eq(jobs.id, id));

    test('are kept if its day was checked before it appeared, whatever keeps the day', async () => {
      const name = await makePartition(daysAgo(40));
      const noon = new Date(dayOf(daysAgo(40)).getTime() + DAY_MS / 2);
      const old = await job({ made: noon, ended: noon });
      const last = await job({ made: new Date(noon.getTime() + 1_000) });
      const retention = createLogRetention({ db, days: 30 });
      // The passes reach the job that runs.
      for (let n = 0; n < 2; n++) await retention.pass(signal);
      expect(await isKept(old)).toBe(false);
      const live = await slow();
      await db
        .update(jobs)
        .set({ status: 'COMPLETED', completedAt: daysAgo(31), leaseToken: null })
        .where(eq(jobs.id, last));
      for (let n = 0; n < 2; n++) await retention.pass(signal);
      expect(await Promise.all([old, last, live].map(isKept))).toEqual([false, false, true]);
      await endNow(live);
      for (let n = 0; n < 2; n++) await retention.pass(signal);
      expect(await isKept(live)).toBe(true);
      await db
        .update(jobs)
        .set({ completedAt: daysAgo(30.1) })
        .where(eq(jobs.id, live));
      expect(await retention.pass(signal)).toEqual({ partitions: 1, chunks: 0 });
      expect(await partitions()).not.toContain(name);
    });

    test('are kept if its day could not be dropped at once, or was already dropped', async () => {
      await makePartition(daysAgo(40));
      const noon = new Date(dayOf(daysAgo(40)).getTime() + DAY_MS / 2);
      await job({ made: noon, ended: noon });
      const retention = createLogRetention({ db, days: 30 });
      await second.db.transaction(async (tx) => {
        await tx.execute(sql`SELECT count(*) FROM log_chunks`);
        expect(await retention.pass(signal)).toEqual({ partitions: 0, chunks: 0 });
      });
      const live = await slow();
      await retention.pass(signal);
      expect(await isKept(live)).toBe(true);
      await endNow(live);
      await retention.pass(signal);
      expect(await isKept(live)).toBe(true);
      await db
        .update(jobs)
        .set({ completedAt: daysAgo(31) })
        .where(eq(jobs.id, live));
      expect(await retention.pass(signal)).toMatchObject({ partitions: 1 });
      const later = await slow();
      for (let n = 0; n < 2; n++) await retention.pass(signal);
      expect(await isKept(later)).toBe(true);
      await endNow(later);
      for (let n = 0; n < 2; n++) await retention.pass(signal);
      expect(await isKept(later)).toBe(true);
    });
  });

  test('removes lines once if several workers run at once', async () => {
    for (const days of [12, 13, 14]) {
      await makePartition(daysAgo(days));
      await job({ made: daysAgo(days), ended: daysAgo(days) });
    }
    const left = await job({ made: daysAgo(40) });
    await job({ made: daysAgo(40), ended: daysAgo(40), chunks: 1_500 });
    await Promise.all([pass(10), pass(10, second.db), pass(10)]);
    await pass(10); // removes what a pass could not lock in time
    expect(await partitions()).toEqual([]);
    expect(await db.$count(logChunks)).toBe(1);
    expect(await isKept(left)).toBe(true);
  });

  async function container(logRetentionDays?: number) {
    const payload = { kind: 'CONTAINER', image: 'a' } as const;
    const made = await createWorkflow(db, {
      userId: ann,
      name: 'a',
      payload,
      schedule: { everyMinutes: 1 },
      maxConsecutiveJobFailuresAllowed: 1,
      ...(logRetentionDays === undefined ? {} : { logRetentionDays }),
    });
    return { workflow: made.workflow, buildId: made.buildId ?? '' };
  }

  test('can be shorter for a workflow: its ended jobs and builds lose their lines, and finished work is skipped', async () => {
    const { workflow, buildId } = await container(2);
    const others = (await container()).workflow;
    const oldBuild = v7({ msecs: daysAgo(6).getTime() });
    await db
      .update(builds)
      .set({ id: oldBuild, status: 'COMPLETED', completedAt: daysAgo(6) })
      .where(eq(builds.id, buildId));
    await print(oldBuild, 2);
    const gone: string[] = [oldBuild];
    for (let n = 0; n < 50; n++)
      gone.push(await job({ made: daysAgo(5 - n / 1_000), ended: daysAgo(4), workflowId: workflow.id, chunks: 30 }));
    const waits = await job({ made: daysAgo(3.5), workflowId: workflow.id });
    const behind = await job({ made: daysAgo(3), ended: daysAgo(3), workflowId: workflow.id });
    const kept = [
      await job({ made: daysAgo(3), ended: daysAgo(1), workflowId: workflow.id }),
      await job({ made: daysAgo(5), ended: daysAgo(5), workflowId: others.id }),
    ];
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 1_502 });
    expect((await Promise.all(gone.map(isKept))).some(Boolean)).toBe(false);
    const markOf = async () =>
      (await db.select().from(workflows).where(eq(workflows.id, workflow.id)))[0]?.logsRemovedTo;
    expect(await markOf()).toBe(gone.at(-1));
    expect(await isKept(behind)).toBe(true); // a job behind a running one waits for its end
    await db
      .update(jobs)
      .set({ status: 'COMPLETED', completedAt: daysAgo(2.5), leaseToken: null })
      .where(eq(jobs.id, waits));
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 2 });
    expect(await Promise.all(kept.map(isKept))).toEqual([true, true]);
    await updateWorkflow(db, { userId: ann, id: workflow.id, logRetentionDays: 1 });
    await db
      .update(jobs)
      .set({ completedAt: daysAgo(1.1) })
      .where(eq(jobs.id, kept[0] ?? ''));
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 1 });
    await updateWorkflow(db, { userId: ann, id: others.id, logRetentionDays: 1 });
    await updateWorkflow(db, { userId: ann, id: others.id, logRetentionDays: null });
    expect(await pass(10)).toEqual({ partitions: 0, chunks: 0 });
    expect(await isKept(kept[1] ?? '')).toBe(true);
  });
});
