import { setImmediate as nextTurn } from 'node:timers/promises';
import postgres from 'postgres';
import type { z } from 'zod';
import type { TlsMaterial } from '../../platform/pem.ts';
import { driverOptions } from '../driver-options.ts';
import { boundStatement, dayStatements } from '../job-days.ts';
import { migrate } from '../migrate/migrate.ts';
import { readMigrations } from '../migrate/migrations.ts';
import { partitionOfDay } from '../partitions.ts';
import { END_OF_BACKUP, Header, TableLine } from './format.ts';
import { BackupReader, BadBackup } from './reader.ts';
import { backupTables, quoted, quotedColumns } from './tables.ts';

/** The database is not empty, or the backup is of a newer version. The message is a sentence. */
export class NoRestore extends Error {}

interface LoadOptions {
  tls?: TlsMaterial | undefined;
  onTable?: (name: string) => void;
  /** Called for a table in the backup that is not Chronoverse's. It is left out. */
  onUnknownTable?: (name: string) => void;
}

/**
 * Loads a backup (uncompressed, in `pieces`) into the empty database at `url`, and migrates it to
 * this program's version. One transaction loads all of it: after a failure the database is as empty
 * as before. Returns the header of the backup.
 */
export async function loadDatabase(
  url: string,
  pieces: AsyncIterable<Buffer>,
  options: LoadOptions = {},
): Promise<Header> {
  const reader = new BackupReader(pieces);
  const header = parseLine(Header, await reader.line());
  const version = (await readMigrations()).length;
  if (header.version > version)
    throw new NoRestore(
      `The backup is of a database at version ${header.version}, and this program knows ${version}: restore it with a newer program.`,
    );
  const client = postgres({
    ...driverOptions(url, {
      tls: options.tls,
      session: { application_name: 'chronoverse-restore', statement_timeout: 0, TimeZone: 'UTC' },
    }),
    max: 1,
    max_lifetime: null,
    onnotice: () => undefined,
  });
  try {
    await makeVersion(client, url, header.version, options);
    await client`BEGIN`.simple();
    await load(client, reader, header, options);
    await client`COMMIT`.simple();
  } finally {
    await client.end({ timeout: 5 }); // rolls back what is not committed
  }
  await migrate(url, { tls: options.tls });
  return header;
}

function parseLine<T>(schema: z.ZodType<T>, line: string): T {
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    throw new BadBackup('The file is no backup of Chronoverse, or a damaged one.');
  }
}

/** Makes the tables as they were at the version of the backup, in a database that has no rows. */
async function makeVersion(client: postgres.Sql, url: string, version: number, { tls }: LoadOptions): Promise<void> {
  const [found] = await client<{ migrations: boolean }[]>`
    SELECT to_regclass('schema_migrations') IS NOT NULL AS migrations`;
  if (found?.migrations) {
    await requireEmpty(client);
    const [rows] = await client<{ version: number }[]>`
      SELECT coalesce(max(version), 0) AS version FROM schema_migrations`;
    if (rows !== undefined && rows.version > version)
      throw new NoRestore(
        `The database is at version ${rows.version}, and the backup at ${version}: restore into a new database, which DATA_DIR or DATABASE_URL names.`,
      );
  }
  await migrate(url, { tls, upTo: version });
}

async function requireEmpty(client: postgres.Sql): Promise<void> {
  const [row] = await client<{ used: boolean }[]>`
    SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM workflows) AS used`;
  if (row?.used)
    throw new NoRestore('The database is not empty: restore into a new one, which DATA_DIR or DATABASE_URL names.');
}

async function load(
  client: postgres.Sql,
  reader: BackupReader,
  header: Header,
  { onTable, onUnknownTable }: LoadOptions,
): Promise<void> {
  const tables = new Map((await backupTables(client)).map((table) => [table.name, table]));
  for (const day of header.logDays) {
    const { name, from, until } = partitionOfDay('log_chunks', day);
    await client.unsafe(
      `CREATE TABLE IF NOT EXISTS ${quoted(name)} PARTITION OF log_chunks FOR VALUES FROM ('${from}') TO ('${until}')`,
    );
  }
  if (header.jobDayIds !== undefined) await makeJobDaysOf(client, header.jobDayIds, header.jobDays);
  // Triggers count what is made; the totals in the backup count it already.
  for (const { name } of tables.values()) await client.unsafe(`ALTER TABLE ${quoted(name)} DISABLE TRIGGER USER`);
  await requireEmpty(client); // once more, now that the tables are locked: a server may run on them
  for (let line = await reader.line(); line !== END_OF_BACKUP; line = await reader.line()) {
    const given = parseLine(TableLine, line);
    const table = tables.get(given.table);
    if (table === undefined) {
      // A table of somebody else in the same schema. Its rows are read over.
      onUnknownTable?.(given.table);
      for await (const _ of reader.rows());
      continue;
    }
    // Only names of the catalog come into a statement.
    if (given.columns.some((column) => !table.columns.includes(column)))
      throw new BadBackup(`The backup has a column of ${table.name} that version ${header.version} does not have.`);
    onTable?.(table.name);
    // What a migration puts into an empty database.
    await client.unsafe(`DELETE FROM ${quoted(table.name)}`);
    const statement = `COPY ${quoted(table.name)} (${quotedColumns(given)}) FROM STDIN (ENCODING 'UTF8')`;
    await copyIn(client, statement, reader.rows()).catch((error: unknown) => {
      const isDamaged = error instanceof postgres.PostgresError && DAMAGED.test(error.code);
      throw isDamaged ? new BadBackup(`The rows of ${table.name} in the backup are damaged.`) : error;
    });
  }
  for (const { name } of tables.values()) await client.unsafe(`ALTER TABLE ${quoted(name)} ENABLE TRIGGER USER`);
  await advanceSequences(client);
}

/** Divides the jobs into the days that they were divided into when the backup was made. */
async function makeJobDaysOf(client: postgres.Sql, [from, until]: [string, string], days: string[]): Promise<void> {
  const made = await client<{ name: string }[]>`
    SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'jobs'::regclass AND relname <> 'jobs_other'`;
  for (const { name } of made) await client.unsafe(`DROP TABLE ${quoted(name)}`);
  await client.unsafe(boundStatement({ from, until }));
  for (const day of days)
    for (const statement of dayStatements(partitionOfDay('jobs', day))) await client.unsafe(statement);
}

/**
 * SQLSTATE classes of values that do not fit their columns, and what a statement says after such an
 * error.
 */
const DAMAGED = /^2[23]|^25P02$/;

/**
 * Sends rows to a COPY. The driver reports an error only while rows are sent. The statement behind
 * them fails if PostgreSQL refused the last ones.
 */
async function copyIn(client: postgres.Sql, statement: string, rows: AsyncIterable<Buffer>): Promise<void> {
  const target = await client.unsafe(statement).writable();
  const failed = new Promise<never>((_, reject) => target.once('error', reject));
  failed.catch(() => undefined); // it may come when nobody waits any more
  const sent = (piece: Buffer) => new Promise<void>((resolve) => target.write(piece, () => resolve()));
  try {
    for await (const piece of rows) await Promise.race([sent(piece), failed]);
  } catch (error) {
    target.destroy(); // ends the COPY, and its transaction with it
    throw error;
  }
  target.end();
  await nextTurn(); // the driver takes no statement before it has ended the rows
  await Promise.race([client`SELECT 1`.simple(), failed]);
}

async function advanceSequences(client: postgres.Sql): Promise<void> {
  const columns = await client<{ table: string; column: string; sequence: string }[]>`
    SELECT relname AS table, attname AS column, pg_get_serial_sequence(quote_ident(relname), attname) AS sequence
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND attidentity <> ''`;
  for (const { table, column, sequence } of columns)
    await client.unsafe(
      `SELECT setval('${sequence.replaceAll("'", "''")}', greatest((SELECT max(${quoted(column)}) FROM ${quoted(table)}), 0) + 1, false)`,
    );
}
