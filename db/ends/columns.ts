import { type SQL, sql } from 'drizzle-orm';

/**
 * What the end of a job or a build writes in its row, beside its status. Every statement that ends
 * rows sets these columns, so that no lease, open log or time remains that contradicts the status.
 *
 * A statement that ends only some of its rows says which (`ends`). It also says which of the others
 * continue under their lease (`keepsLease`); the rest lose their lease and wait for their next
 * attempt.
 */
export function endColumns(
  table: 'jobs' | 'builds',
  {
    ends = ALL,
    keepsLease = NONE,
    linesMayFollow = NONE,
  }: {
    ends?: SQL;
    keepsLease?: SQL;
    /**
     * Which of the ended rows may have lines on the bus that are not counted yet. A worker that
     * ends its own job has counted its lines. If another process ends it, the log stays open until
     * its end-of-log marker (db/logs/markers.ts).
     */
    linesMayFollow?: SQL;
  } = {},
): SQL {
  const lease = ['lease_token', 'lease_owner', 'lease_expires_at'].map(
    (column) => sql`${sql.raw(column)} = CASE WHEN ${keepsLease} THEN ${sql.raw(`${table}.${column}`)} END`,
  );
  return sql`completed_at = CASE WHEN ${ends} THEN now() END, ${sql.join(lease, sql`, `)},
      log_open = ${ends} AND ${linesMayFollow}`;
}

const ALL = sql`true`;
const NONE = sql`false`;
