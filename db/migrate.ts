import { readdir, readFile } from 'node:fs/promises';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import type { TlsMaterial } from '../platform/pem.ts';
import type { Db } from './client.ts';
import { makeLogPartitions } from './log-partitions.ts';
import { sslOptions } from './tls.ts';

/** Holds from db/ and from the bundle in dist/ alike: both are one folder below the top. */
const MIGRATIONS = new URL('../db/migrations/', import.meta.url);
/** Any constant: whoever migrates the same database waits for it. */
const ADVISORY_LOCK = 5_243_991;

interface Migration {
  version: number;
  name: string;
  text: string;
}

/**
 * Brings the database at `url` to this program's version, each migration in a transaction of its own; two that migrate at
 * once wait for each other. Returns the names of those it applied. Rejects when the database is newer than the program.
 */
export async function migrate(url: string, tls?: TlsMaterial): Promise<string[]> {
  const client = postgres(url, { ...sslOptions(url, tls), max: 1, onnotice: () => undefined });
  try {
    const migrations = await readMigrations();
    await client`SELECT pg_advisory_lock(${ADVISORY_LOCK})`;
    await client`
      CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`;
    const [row] = await client<{ version: number }[]>`
      SELECT coalesce(max(version), 0) AS version FROM schema_migrations`;
    const current = row?.version ?? 0;
    if (current > migrations.length) throw new Error(newer(current, migrations.length));
    const missing = migrations.slice(current);
    for (const { version, name, text } of missing) {
      await client.begin(async (transaction) => {
        await transaction.unsafe(text);
        await transaction`INSERT INTO schema_migrations (version, name) VALUES (${version}, ${name})`;
      });
    }
    await makeLogPartitions(drizzle(client), { daysAhead: 1 }); // before the first line is stored
    return missing.map((migration) => migration.name);
  } finally {
    await client.end({ timeout: 5 }); // which releases the lock too
  }
}

/** Undefined when the database is at this program's version, else a sentence that says what to do. */
export async function checkVersion(db: Db): Promise<string | undefined> {
  const wanted = (await readMigrations()).length;
  const [table] = await db.execute<{ name: string | null }>(sql`SELECT to_regclass('schema_migrations')::text AS name`);
  const [row] = table?.name
    ? await db.execute<{ version: number }>(sql`SELECT coalesce(max(version), 0) AS version FROM schema_migrations`)
    : [];
  const current = row?.version ?? 0;
  if (current === wanted) return undefined;
  if (current > wanted) return newer(current, wanted);
  return `The database is at version ${current} and this program needs ${wanted}: run \`chronoverse migrate\` once, then start again.`;
}

function newer(current: number, wanted: number): string {
  return `The database is at version ${current} and this program knows ${wanted} at most: start a newer program (\`chronoverse migrate\` cannot go back).`;
}

async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const version = Number.parseInt(name, 10);
      if (version !== index + 1) throw new Error(`db/migrations/${name} should have the number ${index + 1}.`);
      return { version, name: name.slice(0, -'.sql'.length), text: await readFile(new URL(name, MIGRATIONS), 'utf8') };
    }),
  );
}
