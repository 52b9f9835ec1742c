import type postgres from 'postgres';

/** A table as a backup has it. Its log partitions are part of log_chunks. */
export interface BackupTable {
  name: string;
  columns: string[];
}

/** Tables of the migrations themselves: a restore makes them anew. */
const NOT_IN_BACKUP = ['schema_migrations', 'schema_migration_progress'];

/**
 * The tables of the database, each after those that its foreign keys name, with the columns that
 * hold values of their own.
 */
export async function backupTables(sql: postgres.Sql): Promise<BackupTable[]> {
  const tables = await sql<(BackupTable & { needs: string[] })[]>`
    SELECT relname AS name,
      ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
      ARRAY(SELECT DISTINCT target.relname::text FROM pg_constraint JOIN pg_class target ON target.oid = confrelid
        WHERE conrelid = pg_class.oid AND contype = 'f' AND confrelid <> conrelid) AS needs
    FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND NOT relname = ANY(${NOT_IN_BACKUP})
    ORDER BY relname`;
  const sorted: BackupTable[] = [];
  const waiting = [...tables];
  while (waiting.length > 0) {
    const next = waiting.findIndex(({ needs }) => needs.every((need) => !waiting.some(({ name }) => name === need)));
    const [table] = waiting.splice(Math.max(next, 0), 1);
    if (table !== undefined) sorted.push({ name: table.name, columns: table.columns });
  }
  return sorted;
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quotedColumns({ columns }: Pick<BackupTable, 'columns'>): string {
  return columns.map(quoted).join(', ');
}
