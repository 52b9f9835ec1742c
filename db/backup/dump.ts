import postgres from 'postgres';
import type { TlsMaterial } from '../../platform/pem.ts';
import { driverOptions } from '../driver-options.ts';
import { idsIn } from '../job-days.ts';
import { END_OF_BACKUP, END_OF_ROWS, FORMAT, type Header } from './format.ts';
import { backupTables, quoted, quotedColumns } from './tables.ts';

/** A database that this version cannot back up. The message is a sentence. */
export class NoBackup extends Error {}

/**
 * The pieces of a backup of the database at `url`, uncompressed. All of it is one snapshot,
 * whatever others write meanwhile. They wait for nothing but partitions of log lines, which are
 * made and dropped later.
 */
export async function* dumpDatabase(
  url: string,
  { tls, onTable }: { tls?: TlsMaterial | undefined; onTable?: (name: string) => void } = {},
): AsyncGenerator<Buffer | string> {
  const client = postgres({
    ...driverOptions(url, {
      tls,
      session: { application_name: 'chronoverse-backup', statement_timeout: 0, TimeZone: 'UTC' },
    }),
    max: 1,
    max_lifetime: null, // the transaction must not end in the middle
    onnotice: () => undefined,
  });
  try {
    await client`BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY`.simple();
    yield `${JSON.stringify(await headerOf(client))}\n`;
    for (const table of await backupTables(client)) {
      onTable?.(table.name);
      yield `${JSON.stringify({ table: table.name, columns: table.columns })}\n`;
      // A partitioned table can be copied by a query alone.
      const rows = await client
        .unsafe(`COPY (SELECT ${quotedColumns(table)} FROM ${quoted(table.name)}) TO STDOUT (ENCODING 'UTF8')`)
        .readable();
      for await (const piece of rows) yield piece;
      yield `${END_OF_ROWS}\n`;
    }
    await client`COMMIT`.simple();
    yield `${END_OF_BACKUP}\n`;
  } finally {
    await client.end({ timeout: 5 });
  }
}

async function headerOf(client: postgres.Sql): Promise<Header> {
  const [known] = await client<{ complete: boolean; progress: boolean }[]>`
    SELECT to_regclass('schema_migrations') IS NOT NULL AS complete,
      to_regclass('schema_migration_progress') IS NOT NULL AS progress`;
  if (!known?.complete)
    throw new NoBackup('There is no Chronoverse in this database: name the right one with DATABASE_URL.');
  const begun = known.progress ? await client`SELECT 1 FROM schema_migration_progress` : [];
  if (begun.length > 0)
    throw new NoBackup('A migration of this database has begun and not ended: run chronoverse migrate first.');
  const [row] = await client<
    { version: number; at: string; days: string[]; jobDays: string[]; jobDayIds: string | null; keys: boolean }[]
  >`
    SELECT (SELECT max(version) FROM schema_migrations) AS version, now()::text AS at,
      ARRAY(SELECT right(relname, 8) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = to_regclass('log_chunks') AND relname ~ '^log_chunks_[0-9]{8}$' ORDER BY relname) AS days,
      ARRAY(SELECT right(relname, 8) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = to_regclass('jobs') AND relname ~ '^jobs_[0-9]{8}$' ORDER BY relname) AS "jobDays",
      (SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = to_regclass('jobs_other') AND conname = 'jobs_other_days') AS "jobDayIds",
      EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('installations') AND attname = 'secret_key_ids') AS keys`;
  if (row === undefined) throw new Error('The database said nothing about itself.');
  const [keys] = row.keys ? await client<{ ids: string[] }[]>`SELECT secret_key_ids AS ids FROM installations` : [];
  const [from, until] = row.jobDayIds === null ? [] : idsIn(row.jobDayIds);
  return {
    format: FORMAT,
    version: row.version,
    at: row.at,
    secretKeyIds: keys?.ids ?? [],
    logDays: row.days,
    jobDays: row.jobDays,
    ...(from === undefined || until === undefined ? {} : { jobDayIds: [from, until] }),
  };
}
