import { type SQL, sql } from 'drizzle-orm';

/**
 * What the end of a job or a build writes in its row, beside its status. Every statement that ends
 * some sets these columns: so none of them leaves a lease, a log or a time behind that the status
 * contradicts.
 *
 * A statement that ends some rows and changes others says which (`ends`), and which of the others
 * go on under their lease (`keepsLease`); the rest of them wait for their next attempt without one.
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
     * Which of the rows that end may have lines on the bus that nobody has counted. Those of a
     * worker that ends its own job are counted; where another process ends it, the log stays open
     * until its end-of-log marker (db/logs/markers.ts).
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
