import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Db } from '../../db/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { type Exception, NO_STATEMENTS, OUT_OF_ORDER, READS_MORE, TABLES_OUT_OF_ORDER } from './exceptions.ts';
import { emptyHistory, fillHistory, prepareTables, withoutForeignKeys } from './history.ts';
import { type Keys, lockTargets, nodesOf, rowsRead } from './plan.ts';
import { type Recorder, record, type Statement } from './recorder.ts';
import { runScenario } from './scenario.ts';
import { readsOf } from './scenario-reads.ts';
import type { Drive } from './scenario-rows.ts';
import { isFrom, lockingTemplates, modulesOfDb, withoutDays, withoutName } from './statements.ts';

/**
 * Executes every statement of db/ beside the data of other users: with statistics from when the
 * tables were nearly empty and with fresh ones, and with custom and generic plans.
 *
 * ROWS is the number of jobs of other users; all other tables have the matching number of rows. To
 * run with more: PLANS_ROWS=1000000 npx vitest run test/plans
 */
const ROWS = Number(process.env.PLANS_ROWS ?? 50_000);

/** The user of the scenario has about a hundred workflows, and passes 6 to 36 ids at once. */
const ROWS_READ_MAX = 150;
const BLOCKS_READ_MAX = 1_000;

/** The order in which a transaction locks several tables. */
const TABLES = ['idempotency_keys', 'users', 'workflows', 'pings', 'schedules', 'jobs', 'builds'];

let database: TestDatabase;
let recorder: Recorder;
let keys: Keys;
const driven = new Set<string>();
beforeAll(async () => {
  database = await testDatabase();
  const { db } = database;
  await prepareTables(db);
  keys = await keysOf(db);
  await withoutForeignKeys(db, async () => {
    await fillHistory(db, 200);
    await db.execute(sql`ANALYZE`);
    await emptyHistory(db);
    await fillHistory(db, ROWS);
  });
  recorder = record(db);
  const drive: Drive = (verb, ...given) => {
    driven.add(verb.name);
    return recorder.during(verb.name, () => verb(...given));
  };
  recorder.statistics = 'stale';
  await runScenario(db, drive);
  await db.execute(sql`ANALYZE`);
  recorder.statistics = 'fresh';
  // With stale statistics a page may take longer, until autovacuum runs.
  await readsOf(db, drive, await runScenario(db, drive));
}, 900_000);
afterAll(() => database.close());

test('every statement reads only what it is about, by key, however much others have stored', () => {
  const tooMuch = recorder.statements.flatMap((statement) => {
    const { plan, text } = statement;
    const exception = READS_MORE.find((one) => one.text.test(flat(text)));
    const rowsMax = exception?.rowsMax ?? ROWS_READ_MAX;
    const scanned = nodesOf(plan).filter(
      ({ type, rows, relation }) => type === 'Seq Scan' && rows > 1 && relation !== exception?.scans,
    );
    const what = [
      ...scanned.map(({ relation }) => `scans ${relation}`),
      ...(rowsRead(plan) > rowsMax ? [`reads ${rowsRead(plan)} rows`] : []),
      ...(plan.blocks > (exception?.blocksMax ?? BLOCKS_READ_MAX) ? [`reads ${plan.blocks} blocks`] : []),
    ];
    return what.map((text) => describe(statement, text));
  });
  expect(unique(tooMuch)).toEqual([]);
});

test('every statement that locks several rows locks them in the order of their keys', () => {
  const outOfOrder = recorder.statements.flatMap((statement) => {
    if (OUT_OF_ORDER.some(({ text }) => text.test(flat(statement.text)))) return [];
    return lockTargets(statement, keys).flatMap(({ what, relation, waits, disorder }) =>
      disorder === undefined || !waits ? [] : [describe(statement, `${what} of ${relation} ${disorder}`)],
    );
  });
  expect(unique(outOfOrder)).toEqual([]);
});

test('every transaction locks tables in the same order', () => {
  const transactions = new Map<string, Statement[]>();
  for (const statement of recorder.statements) {
    const key = `${statement.by} ${statement.mode} ${statement.transaction}`;
    transactions.set(key, [...(transactions.get(key) ?? []), statement]);
  }
  const outOfOrder = [...transactions.values()].flatMap((statements) => {
    const seen: string[] = [];
    return statements.flatMap((statement) =>
      lockTargets(statement, keys).flatMap(({ relation, waits }) => {
        const rank = TABLES.indexOf(relation);
        const last = TABLES[Math.max(...seen.map((table) => TABLES.indexOf(table)))];
        // A table that is locked twice counts once.
        const isFirst = rank !== -1 && !seen.includes(relation);
        if (isFirst) seen.push(relation);
        const isExpected = TABLES_OUT_OF_ORDER.some(({ text }) => text.test(flat(statement.text)));
        if (!isFirst || !waits || isExpected || last === undefined || rank >= TABLES.indexOf(last)) return [];
        return [describe(statement, `${relation} after ${last}`)];
      }),
    );
  });
  expect(unique(outOfOrder)).toEqual([]);
});

test('the scenario sends every statement of db/ that locks or changes rows', async () => {
  const templates = await lockingTemplates();
  expect(templates.length).toBeGreaterThan(50); // the search does find templates
  const missing = templates.filter((template) => !recorder.statements.some(({ text }) => isFrom(text, template)));
  expect(missing).toEqual([]);
});

test('the scenario drives every function of db/', async () => {
  const missing: string[] = [];
  for (const [file, exported] of await modulesOfDb())
    for (const [name, value] of Object.entries(exported))
      if (typeof value === 'function' && !driven.has(name) && !NO_STATEMENTS.has(name))
        missing.push(`db/${file}: ${name}`);
  expect(missing).toEqual([]);
});

test('every exception to the rules is needed', () => {
  const isUsed = ({ text }: Exception) => recorder.statements.some((statement) => text.test(flat(statement.text)));
  expect([...OUT_OF_ORDER, ...TABLES_OUT_OF_ORDER, ...READS_MORE].filter((exception) => !isUsed(exception))).toEqual(
    [],
  );
  expect([...NO_STATEMENTS].filter((name) => driven.has(name))).toEqual([]);
});

function describe({ by, statistics, mode, text }: Statement, what: string): string {
  return `${by}: ${what} (${statistics} statistics, ${mode} plan): ${flat(text).slice(0, 200)}`;
}

/** The statement on one line, without its name. */
function flat(text: string): string {
  return withoutDays(withoutName(text)).replace(/\s+/g, ' ').trim();
}

function unique(texts: string[]): string[] {
  return [...new Set(texts)];
}

async function keysOf(db: Db): Promise<Keys> {
  const rows = await db.execute<{
    relation: string;
    index: string;
    primary: boolean;
    unique: boolean;
    columns: string[];
  }>(sql`
    SELECT t.relname AS relation, i.relname AS index, indisprimary AS primary, indisunique AS unique,
      ARRAY(SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS k (n, at) JOIN pg_attribute ON attrelid = indrelid AND attnum = k.n
        ORDER BY at) AS columns
    FROM pg_index JOIN pg_class t ON t.oid = indrelid JOIN pg_class i ON i.oid = indexrelid
    WHERE t.relnamespace = 'public'::regnamespace`);
  return {
    primary: new Map(rows.filter((row) => row.primary).map((row) => [row.relation, row.columns])),
    columns: new Map(rows.map((row) => [row.index, row.columns])),
    unique: new Set(rows.filter((row) => row.unique).map((row) => row.index)),
  };
}
