import { sql } from 'drizzle-orm';
import { version } from 'uuid';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { recordAudit } from '../../db/accounts/audit.ts';
import { ID_SET, idInSet, NEW_ID } from '../../db/ids.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { makeLogPartitions } from '../../db/logs/partitions.ts';
import { auditEvents } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { firstIdAt } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { heartbeat, run, schedule } from '../scheduling/support.ts';
import { databaseNow, type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

test('the ids of a set have version 7, follow the order of its rows and are unique, however many there are', async () => {
  const rows = await database.db.execute<{ id: string }>(sql`
    WITH ids AS MATERIALIZED (SELECT ${ID_SET}) SELECT ${idInSet(sql`n`)} AS id FROM ids, generate_series(1, 10000) n ORDER BY n`);
  const ids = rows.map(({ id }) => id);
  expect(new Set(ids).size).toBe(10_000);
  expect(ids.toSorted()).toEqual(ids);
  expect(ids.every((id) => version(id) === 7)).toBe(true);
});

test('a single id has the time at which its row is made', async () => {
  const before = await databaseNow(database.db);
  const rows = await database.db.execute<{ id: string }>(sql`SELECT ${NEW_ID} AS id FROM generate_series(1, 1000)`);
  expect(new Set(rows.map(({ id }) => id)).size).toBe(1_000);
  for (const { id } of rows) {
    expect(version(id)).toBe(7);
    expect(id >= firstIdAt(before)).toBe(true);
    expect(id < firstIdAt(new Date(before.getTime() + 60_000))).toBe(true);
  }
});

test('jobs, builds, audit events and partitions of log lines use the time of the database, whatever the clock of a machine', async () => {
  const { db } = database;
  const now = await databaseNow(db);
  for (const wrongBy of [-40 * DAY_MS, 40 * DAY_MS]) {
    vi.useFakeTimers({ toFake: ['Date'], now: now.getTime() + wrongBy });
    try {
      const { id } = await heartbeat(db, ann);
      await run(db, { status: 'COMPLETED' });
      const requested = await runWorkflow(db, { userId: ann, id });
      const payload = { kind: 'CONTAINER', image: 'a' } as const;
      const other = { name: 'a', schedule: { everyMinutes: 1 }, maxConsecutiveJobFailuresAllowed: 1 };
      const { buildId } = await createWorkflow(db, { userId: ann, payload, ...other });
      await recordAudit(db, { action: 'test', outcome: 'DONE', userId: ann });
      const events = await db.select().from(auditEvents);
      const made = await jobsOf(db, id);
      // They are ordered by id.
      expect(made.map(({ trigger }) => trigger)).toEqual(['AUTOMATIC', 'MANUAL']);
      const ids = [...made.map((job) => job.id), buildId ?? '', ...events.map((event) => event.id)];
      expect(requested).toMatchObject({ outcome: 'REQUESTED' });
      for (const one of ids) {
        expect(one >= firstIdAt(now)).toBe(true);
        expect(one < firstIdAt(new Date(now.getTime() + 120_000))).toBe(true);
      }
      await makeLogPartitions(db, { daysAhead: 1 });
      await schedule(db);
    } finally {
      vi.useRealTimers();
    }
  }
  const days = await db.execute<{ name: string }>(sql`
    SELECT relname AS name FROM pg_class WHERE relname ~ '^log_chunks_[0-9]{8}$' ORDER BY 1`);
  const day = (n: number) => new Date(now.getTime() + n * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
  expect(days.map(({ name }) => name)).toEqual([`log_chunks_${day(0)}`, `log_chunks_${day(1)}`]);
});
