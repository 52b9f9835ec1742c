import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { renewLeases } from '../../db/jobs/leases.ts';
import { schedules } from '../../db/schema.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { letPass } from '../support/time.ts';
import { align, claim, EVERY_MINUTE, end, schedule, scheduled, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, calendars CASCADE`));
afterAll(() => database.close());

const nextOf = async (id: string) => (await scheduleOf(database.db, id))?.nextRunAt?.getTime();

test('another schedule drops a slot that waits; the same one, or another change, moves nothing', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await align(db, id);
  await letPass(db, id, 60);
  const [job] = await claim(db, await schedule(db));
  await letPass(db, id, 60); // a slot waits for the job
  await renewLeases(db, [job ?? fail()]);
  expect(await schedule(db)).toEqual([]);
  const waiting = await nextOf(id);
  expect(waiting).toBeLessThanOrEqual(Date.now());
  await updateWorkflow(db, {
    userId: ann,
    id,
    schedule: EVERY_MINUTE,
    name: 'other',
    maxConsecutiveJobFailuresAllowed: 9,
  });
  expect(await nextOf(id)).toBe(waiting);
  const yearly: typeof EVERY_MINUTE = { cron: { expressions: ['@yearly'], timeZone: 'UTC' } };
  await updateWorkflow(db, { userId: ann, id, schedule: yearly });
  expect(await nextOf(id)).toBeGreaterThan(Date.now());
  await end(db, job ?? fail(), { status: 'COMPLETED' });
  expect(await schedule(db)).toEqual([]);
});

test('another schedule does not run again the slot that has just become a job', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  const last = (await nextOf(id)) ?? 0;
  await db.update(schedules).set({ lastSlotAt: new Date(last), nextRunAt: new Date(last + 60_000) });
  const other: typeof EVERY_MINUTE = { cron: { expressions: ['*/1 * * * *'], timeZone: 'UTC' } };
  await updateWorkflow(db, { userId: ann, id, schedule: other });
  expect(await nextOf(id)).toBe(last + 60_000);
});

test('each schedule can become each other one', async () => {
  const { db } = database;
  const at = new Date(Date.now() + 600_000).toISOString();
  const all = [{ everyMinutes: 5 }, EVERY_MINUTE, { at }, { manual: true as const }];
  for (const from of all)
    for (const to of all) {
      const { id } = await scheduled(db, ann, from);
      await updateWorkflow(db, { userId: ann, id, schedule: to });
      const row = await scheduleOf(db, id);
      expect({
        interval: row?.intervalMinutes,
        isCron: row?.calendarId !== null,
        isDue: row?.nextRunAt !== null,
      }).toEqual({
        interval: 'everyMinutes' in to ? 5 : null,
        isCron: 'cron' in to,
        isDue: !('manual' in to),
      });
    }
});

function fail(): never {
  throw new Error('There is no job.');
}
