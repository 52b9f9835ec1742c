import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { NEW_ID } from '../../db/ids.ts';
import { type RedispatchPlace, redispatchQueued } from '../../db/jobs/redispatch.ts';
import { decodeEvent } from '../../domain/events.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { startExecution } from '../../workers/execution/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { until } from '../support/time.ts';
import { memoryParts, startHeartbeatWorkers } from '../support/workers.ts';
import { claim, heartbeat, schedule } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, turns, run_requests CASCADE`));
afterAll(() => database.close());

/** Creates workflows whose jobs wait without an event and whose next look is `minutes` away. */
async function waiting(count: number, { minutes = 10, kind = 'HEARTBEAT' } = {}): Promise<string[]> {
  const ids = Array.from({ length: count }, newId);
  await database.db.execute(sql`
    WITH w AS (
      INSERT INTO workflows (id, user_id, name, kind, build_status, interval_minutes, max_consecutive_job_failures_allowed)
      SELECT id::uuid, ${ann}, 'test', ${kind}, 'COMPLETED', 60, 3 FROM jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb) AS id RETURNING id
    ), p AS (
      INSERT INTO payloads (workflow_id, generation, payload) SELECT id, 1, jsonb_build_object('kind', ${kind}::text) FROM w
    ), j AS (
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, queued_at, updated_at)
      SELECT ${NEW_ID}, id, ${ann}, ${kind}, 'AUTOMATIC', 'QUEUED', 1, now(), now() - make_interval(mins => ${minutes}),
        now() - make_interval(mins => ${minutes}) FROM w RETURNING id, workflow_id
    )
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, last_job_id, wake_at)
    SELECT workflow_id, ${ann}, ${kind}, 'READY', 1, 60, now() + interval '1 hour', id, now() + make_interval(mins => ${minutes} - 1) FROM j`);
  return ids;
}

async function recallAll(limit: number): Promise<{ count: number; steps: number }> {
  let [count, steps] = [0, 0];
  let after: RedispatchPlace | undefined;
  do {
    const step = await redispatchQueued(database.db, { after, limit });
    count += step.count;
    steps += 1;
    after = step.next;
  } while (after !== undefined);
  return { count, steps };
}

test('P3: QUEUED jobs are dispatched again at once, in steps, and once in half a minute however often that is requested', async () => {
  const { db } = database;
  await waiting(7); // all with the same time
  expect(await schedule(db)).toEqual([]);
  expect(await recallAll(3)).toEqual({ count: 7, steps: 3 });
  expect(await schedule(db)).toHaveLength(7);
  expect(await recallAll(3)).toMatchObject({ count: 0 });
  expect(await schedule(db)).toEqual([]);
});

test('others are left alone: running jobs, jobs that were just dispatched, idle schedules', async () => {
  const { db } = database;
  await heartbeat(db, ann, { intervalMinutes: 5 });
  const [job] = await claim(db, await schedule(db));
  await heartbeat(db, ann, { intervalMinutes: 5 });
  expect(await schedule(db)).toHaveLength(1);
  await waiting(1, { minutes: 2 });
  expect(await recallAll(100)).toEqual({ count: 1, steps: 1 });
  expect((await jobsOf(db, job?.workflowId ?? ''))[0]).toMatchObject({ status: 'RUNNING' });
});

test('P3: a new scheduling worker finds within seconds jobs that have waited long, whose events were lost with the bus', async () => {
  const { db } = database;
  const ids = await waiting(200);
  const workers = await startHeartbeatWorkers(memoryParts(db));
  await until('all have ended', async () => {
    const [row] = await db.execute<{ count: number }>(
      sql`SELECT count(*)::integer AS count FROM jobs WHERE completed_at IS NOT NULL`,
    );
    return row?.count === ids.length;
  });
  await workers.close();
});

/** Waits until exactly `count` jobs have ended. */
async function ended(count: number): Promise<void> {
  await until(`${count} have ended`, async () => {
    const rows = await database.db.execute(sql`SELECT FROM jobs WHERE completed_at IS NOT NULL`);
    return rows.length === count;
  });
}

test('P3: jobs that a heartbeat worker took and lost with its process are dispatched again when another one starts', async () => {
  const { db } = database;
  const parts = memoryParts(db);
  const scheduling = await startScheduling(parts);
  await waiting(3);
  const execution = await startExecution(parts);
  await ended(3);
  await scheduling.close();
  await execution.close();
  await parts.bus.close();
  await parts.cache.close();
});

test('P3: a bus that was away may have lost its messages: QUEUED jobs are dispatched again', async () => {
  const { db } = database;
  const parts = memoryParts(db);
  let isAway = false;
  const published: string[] = [];
  const bus: Bus = {
    ...parts.bus,
    publish: async (_topic, messages) => {
      if (isAway) throw new Error('The bus is away.');
      published.push(...messages.flatMap(({ value }) => decodeEvent(value)?.ids ?? []));
    },
  };
  const worker = await startScheduling({ ...parts, bus });
  const { id: first } = await heartbeat(db, ann);
  await parts.cache.publish(SCHEDULE_CHANNEL, '');
  await until('its event is sent', async () => published.length === 1);
  isAway = true;
  await db.execute(sql`UPDATE jobs SET updated_at = now() - interval '10 minutes'`);
  await db.execute(sql`UPDATE schedules SET wake_at = now() + interval '8 minutes'`);
  const { id: second } = await heartbeat(db, ann);
  await parts.cache.publish(SCHEDULE_CHANNEL, '');
  await until('the second one waits for the bus', async () => (await jobsOf(db, second))[0]?.status === 'QUEUED');
  isAway = false;
  const again = (await jobsOf(db, first))[0]?.id;
  await until(
    'the event of the first one is sent again',
    async () => published.filter((id) => id === again).length === 2,
  );
  await worker.close();
  await parts.bus.close();
  await parts.cache.close();
});

test('P3: a cache that was away may have lost the start of a worker: QUEUED jobs are dispatched again', async () => {
  const { db } = database;
  const parts = memoryParts(db);
  let back: () => void = () => undefined;
  const cache: Cache = {
    ...parts.cache,
    subscribe: async (channel, onMessage, onGap) => {
      if (channel === SCHEDULE_CHANNEL && onGap !== undefined) back = onGap;
      return parts.cache.subscribe(channel, onMessage, onGap);
    },
    publish: async (channel, message) => {
      if (channel !== SCHEDULE_CHANNEL) await parts.cache.publish(channel, message);
    },
  };
  const scheduling = await startScheduling({ ...parts, cache });
  await waiting(3);
  const execution = await startExecution({ ...parts, cache });
  back();
  await ended(3);
  await scheduling.close();
  await execution.close();
  await parts.bus.close();
  await parts.cache.close();
});
