import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { enterTurns, peekTurn, takeTurn } from '../../db/jobs/turns.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { rowsRead } from './plan.ts';
import { record } from './recorder.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('P11: in a burst, with statistics from a quiet time, a turn is taken without reading the others', async () => {
  const { db } = database;
  await db.execute(sql`ALTER TABLE turns SET (autovacuum_enabled = false)`);
  const fill = (count: number) =>
    db.execute(sql`
      INSERT INTO turns (id, kind, user_id, round)
      SELECT gen_random_uuid(), 'CONTAINER', gen_random_uuid(), n / 100 FROM generate_series(1, ${count}::integer) n`);
  await fill(1);
  await db.execute(sql`ANALYZE turns`);
  await db.execute(sql`DELETE FROM turns`);
  await fill(5_000);
  const recorder = record(db);
  await recorder.during('peekTurn', () => peekTurn(db, 'CONTAINER', [randomUUID()]));
  await recorder.during('takeTurn', () => takeTurn(db, 'CONTAINER', [randomUUID()], async () => ({ claimed: [] })));
  await recorder.during('enterTurns', () => enterTurns(db, 'CONTAINER', [randomUUID()]));
  expect(recorder.statements.length).toBeGreaterThan(6); // each is planned twice
  expect(recorder.statements.filter(({ plan }) => rowsRead(plan) > 10).map(({ text }) => text)).toEqual([]);
});
