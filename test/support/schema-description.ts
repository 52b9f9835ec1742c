import type postgres from 'postgres';

/**
 * Every table, column, constraint, index, trigger and function of the public schema, a line each (functions as they are written). Without the
 * partitions of days, and without what migrations note of themselves.
 */
export async function describeSchema(client: postgres.Sql): Promise<string> {
  const rows = await client<{ line: string }[]>`
    WITH tables AS (
      SELECT oid, relname, relkind, reloptions FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname !~ '^(log_chunks_[0-9]|schema_migration)'
    )
    SELECT concat_ws(' ', 'table', relname, relkind, array_to_string(reloptions, ',')) AS line FROM tables
    UNION ALL
    SELECT concat_ws(' ', 'column', relname, attnum, attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
      'storage', attstorage, 'identity', attidentity, 'generated', attgenerated, pg_get_expr(adbin, adrelid))
    FROM tables JOIN pg_attribute ON attrelid = tables.oid LEFT JOIN pg_attrdef ON adrelid = tables.oid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT concat_ws(' ', 'constraint', relname, conname, pg_get_constraintdef(pg_constraint.oid)) FROM tables JOIN pg_constraint ON conrelid = tables.oid
    WHERE contype <> 'n' -- these are columns' NOT NULL above
    UNION ALL
    SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), CASE WHEN NOT indisvalid THEN 'INVALID' END)
    FROM tables JOIN pg_index ON indrelid = tables.oid
    UNION ALL
    SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(pg_trigger.oid)) FROM tables JOIN pg_trigger ON tgrelid = tables.oid WHERE NOT tgisinternal
    UNION ALL
    SELECT concat_ws(' ', 'function', pg_get_functiondef(oid)) FROM pg_proc WHERE pronamespace = 'public'::regnamespace`;
  return `${rows
    .map(({ line }) => line)
    .sort()
    .join('\n')}\n`;
}
