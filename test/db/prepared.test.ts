import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Connection, connect, type Db } from '../../db/client.ts';
import { preparedByShape } from '../../db/prepared.ts';
import { users } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
let pool: Connection;
beforeAll(async () => {
  database = await testDatabase();
  pool = connect(database.url, { max: 1, application: 'chronoverse-test' });
});
afterAll(async () => {
  await pool.close();
  await database.close();
});

/** How often this connection has planned and run each prepared statement whose text has `word`. */
async function runsOf(db: Db, word: string): Promise<number[]> {
  const rows = await db.execute<{ runs: number }>(sql`
    SELECT (generic_plans + custom_plans)::integer AS runs FROM pg_prepared_statements
    WHERE position(${word} IN statement) > 0 AND position('pg_prepared_statements' IN statement) = 0`);
  return rows.map(({ runs }) => runs);
}

test.each([
  ['a statement of our own', (db: Db, n: number) => db.execute(sql`SELECT /* own */ ${n}::integer`), 'own'],
  [
    'a statement of the query builder',
    (db: Db) => db.select().from(users).where(eq(users.id, newId())),
    'from "users" where',
  ],
  [
    'a statement in a transaction',
    (db: Db, n: number) => db.transaction((tx) => tx.execute(sql`SELECT /* within */ ${n}::integer`)),
    'within',
  ],
])('%s is prepared once a connection, and used again', async (_, run, word) => {
  for (let n = 0; n < 3; n++) await run(pool.db, n);
  expect(await runsOf(pool.db, word)).toEqual([3]);
});

test('of a query with ever new shapes a connection keeps some plans, and the others give the same rows', async () => {
  const padding = sql.raw(`/* ${'x'.repeat(4_096)} */`);
  const query = preparedByShape((db, shape, name) =>
    db
      .select({
        shape: sql<string>`${sql.raw(`'of ${shape.names[0]}'`)} ${padding}`,
        n: sql<number>`${sql.placeholder('n')}::integer`,
      })
      .from(sql`(SELECT) AS one`)
      .prepare(name),
  );
  for (let round = 0; round < 2; round++)
    for (let n = 0; n < 60; n++) {
      const values = { [`shape${n}`]: true, n };
      expect(await query(pool.db, values).execute(values)).toEqual([{ shape: `of shape${n}`, n }]);
    }
  const runs = await runsOf(pool.db, "'of shape");
  expect(runs.length).toBeGreaterThan(20);
  expect(runs.length).toBeLessThan(40); // of 4 KiB each
  expect(new Set(runs)).toEqual(new Set([2]));
});
