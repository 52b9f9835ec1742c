import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { newId } from '../../domain/ids.ts';
import { STATES, type State, type Subject } from './states.ts';

/**
 * The rows of a state. The verbs make them once; each order gets a copy with new ids and with times
 * of the same age. That takes a tenth of the time of the verbs.
 */
export interface Copies {
  /** Removes all other rows and copies the state. */
  begin(state: State): Promise<Subject>;
  /**
   * The current rows and the answers as a text. It is equal if only ids differ, and times by less
   * than some seconds. The further course is then equal too.
   */
  fingerprint(answers: object): Promise<string>;
}

interface Original {
  rows: string;
  subject: Subject;
}

/** A table refers only to tables before it. */
const TABLES = [
  ...['calendars', 'workflows', 'payloads', 'schedules', 'builds', 'jobs'],
  ...['run_requests', 'turns', 'totals_pending', 'happened'],
];
const ID = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g;

export async function openCopies(db: Db, userId: string): Promise<Copies> {
  const originals = new Map<State, Original>();
  const columns = await columnsOf(db);
  const insert = insertion(columns);
  const look = fingerprint(columns);
  return {
    async begin(state) {
      const original = originals.get(state) ?? (await make(db, userId, state));
      originals.set(state, original);
      await clear(db);
      const renamed = renaming(userId, newId);
      await db.execute(insert(renamed(original.rows)));
      const { subject } = original;
      const own = Object.entries(subject).map(([key, value]) => [
        key,
        typeof value === 'string' ? renamed(value) : value,
      ]);
      return { ...subject, ...Object.fromEntries(own) };
    },
    async fingerprint(answers) {
      const [row] = await db.execute<{ rows: string }>(look);
      return renaming(userId, (nth) => `#${nth}`)(`${row?.rows} ${JSON.stringify(answers)}`);
    },
  };
}

/** Replaces each id by another one, consistently. */
function renaming(userId: string, name: (nth: number) => string): (text: string) => string {
  const names = new Map([[userId, userId]]);
  return (text) =>
    text.replace(ID, (id) => {
      const own = names.get(id) ?? name(names.size);
      names.set(id, own);
      return own;
    });
}

async function make(db: Db, userId: string, state: State): Promise<Original> {
  await clear(db);
  const subject = await STATES[state](db, userId);
  const parts = TABLES.map(
    (table) => sql`${table}::text, (SELECT coalesce(json_agg(t), '[]') FROM ${sql.identifier(table)} t)`,
  );
  const [row] = await db.execute<{ rows: string }>(
    sql`SELECT json_build_object('at'::text, clock_timestamp(), ${sql.join(parts, sql`, `)})::text AS rows`,
  );
  if (row === undefined) throw new Error(`The state ${state} has no rows.`);
  return { rows: row.rows, subject };
}

/**
 * There are few rows, so deleting them is faster than TRUNCATE, which creates new files. Rows that
 * refer to workflows are deleted with them.
 */
async function clear(db: Db): Promise<void> {
  const tables = ['run_requests', 'turns', 'jobs', 'totals_pending', 'notifications', 'happened', 'calendars'];
  const parts = tables.map(
    (table) => sql`${sql.identifier(`cleared_${table}`)} AS (DELETE FROM ${sql.identifier(table)})`,
  );
  await db.execute(sql`WITH ${sql.join(parts, sql`, `)} DELETE FROM workflows`);
}

type Columns = Map<string, { name: string; isTime: boolean; isTimes: boolean; isCounted: boolean }[]>;

async function columnsOf(db: Db): Promise<Columns> {
  const rows = await db.execute<{ table: string; name: string; type: string; of: string }>(sql`
    SELECT table_name AS table, column_name AS name, data_type AS type, udt_name AS of FROM information_schema.columns
    WHERE table_schema = 'public' AND is_generated = 'NEVER' ORDER BY ordinal_position`);
  const of = (table: string) => rows.filter((row) => row.table === table);
  return new Map(
    TABLES.map((table) => [
      table,
      of(table).map(({ name, type, of }) => ({
        name,
        isTime: type === 'timestamp with time zone',
        isTimes: of === '_timestamptz',
        isCounted: type === 'bigint' && (name === 'id' || name === 'seq'),
      })),
    ]),
  );
}

function insertion(columns: Columns) {
  const parts = [...columns].map(([table, own]) => {
    const names = own.map(({ name }) => sql.identifier(name));
    const values = own.map(({ name, isTime, isTimes }) => {
      const value = sql.identifier(name);
      if (isTimes) return sql`ARRAY(SELECT at + passed.by FROM unnest(${value}) AS each (at) ORDER BY at)`;
      return isTime ? sql`${value} + passed.by` : value;
    });
    return sql`${sql.identifier(`copied_${table}`)} AS (
      INSERT INTO ${sql.identifier(table)} (${sql.join(names, sql`, `)}) OVERRIDING SYSTEM VALUE
      SELECT ${sql.join(values, sql`, `)}
      FROM given, passed, json_populate_recordset(NULL::${sql.identifier(table)}, given.rows -> ${sql.raw(`'${table}'`)}))`;
  });
  return (rows: string) => sql`
    WITH purged AS (DELETE FROM totals_pending), -- what a trigger wrote when the workflows went
      given AS MATERIALIZED (SELECT ${rows}::json AS rows),
      passed AS MATERIALIZED (SELECT clock_timestamp() - (rows ->> 'at')::timestamptz AS by FROM given),
      ${sql.join(parts, sql`, `)}
    SELECT 1`;
}

const SAME_SECONDS = 8;

function fingerprint(columns: Columns) {
  const parts = [...columns].map(([table, own]) => {
    const values = own
      .filter(({ isCounted, isTimes }) => !isCounted && !isTimes)
      .map(({ name, isTime }) =>
        isTime
          ? sql`round(extract(epoch FROM ${sql.identifier(name)} - clock_timestamp()) / ${sql.raw(String(SAME_SECONDS))})`
          : sql.identifier(name),
      );
    const order = own[0]?.name ?? '';
    return sql`(SELECT coalesce(json_agg(json_build_array(${sql.join(values, sql`, `)}) ORDER BY ${sql.identifier(order)}), '[]') FROM ${sql.identifier(table)})`;
  });
  return sql`SELECT json_build_array(${sql.join(parts, sql`, `)})::text AS rows`;
}
