import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Db } from '../../db/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { READS_WHOLE } from './exceptions.ts';
import { fillHistory, prepareTables, tablesOf, withoutForeignKeys } from './history.ts';
import type { Plan } from './plan.ts';
import { planFor, record, type Statement } from './recorder.ts';
import { runScenario } from './scenario.ts';
import { nameOf } from './statements.ts';

/**
 * A connection keeps the plan of a statement for hours, and the day's jobs grow from none to
 * millions. What is cheapest in a table of one page may read all of a large one.
 */
const ROWS = [0, 5, 100];

let database: TestDatabase;
const statements = new Map<string, Statement>();
beforeAll(async () => {
  database = await testDatabase();
  const { db } = database;
  await prepareTables(db);
  const recorder = record(db);
  await runScenario(db, (verb, ...given) => recorder.during(verb.name, () => verb(...given)));
  for (const statement of recorder.statements) statements.set(statement.text, statement);
}, 300_000);
afterAll(() => database.close());

test.each(
  ROWS.flatMap((rows) => [
    [rows, 'without statistics', false, false] as const,
    [rows, 'with statistics of empty tables', true, false] as const,
    [rows, 'with fresh statistics', false, true] as const,
  ]),
)('planned beside %i jobs %s, every statement finds its rows by key', async (rows, _, before, after) => {
  const { db } = database;
  await empty(db);
  if (before) await db.execute(sql`VACUUM ANALYZE`);
  if (rows > 0) await withoutForeignKeys(db, () => fillHistory(db, rows, { newestMs: Date.now() }));
  if (after) await db.execute(sql`VACUUM ANALYZE`);
  const found: string[] = [];
  for (const statement of statements.values())
    for (const whole of readWhole(await planFor(db, statement)))
      if (!READS_WHOLE.some(({ text }) => text.test(`${nameOf(statement.text)} ${whole}`)))
        found.push(`${statement.by}, ${nameOf(statement.text)}: ${whole}`);
  expect(found).toEqual([]);
});

/** The tables and indexes that the plan reads from end to end, unless a LIMIT stops it. */
function readWhole({ type, isByKey, relation, index, children }: Plan): string[] {
  if (type === 'Limit') return [];
  const isWhole = type === 'Seq Scan' || (type.startsWith('Index') && !isByKey);
  const own = isWhole ? [`all of ${index ?? relation}`] : [];
  return [...own, ...children.flatMap(readWhole)];
}

async function empty(db: Db): Promise<void> {
  await db.execute(sql.raw(`TRUNCATE ${(await tablesOf(db)).join(', ')}`));
}
