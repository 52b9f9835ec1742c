import { type SQL, sql } from 'drizzle-orm';

/**
 * Ends the text of a statement that no connection prepares: there are too many of its kind. A kept
 * plan takes about 200 times its text, for as long as the connection lasts.
 */
export const SENT_ONCE = '/* sent once */';

/**
 * Gives a query of the builder the name by which an operator finds it in pg_stat_statements and in
 * the server's log. Statements in SQL text have the name behind their first word, as in `UPDATE /*
 * claimJobs *\/ jobs`: PostgreSQL 18 drops a comment before the statement, but no version drops one
 * inside or behind it. The name is part of a fixed text, so each statement is prepared once.
 */
export function named<Query extends { getSQL(): SQL }>(name: string, query: Query): Query {
  const unnamed = query.getSQL();
  query.getSQL = () => sql`${unnamed} ${sql.raw(`/* ${name} */`)}`;
  return query;
}
