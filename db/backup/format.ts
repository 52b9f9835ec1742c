import { z } from 'zod';

/**
 * A backup is gzip of: a line with the header, for each table a line with its name and columns, its
 * rows in the text format of COPY and the line `\.`, and at the end a line that says so. PostgreSQL
 * escapes `\` in rows, so no row is that line.
 */
export const FORMAT = 'chronoverse backup 1';
export const END_OF_ROWS = '\\.';
export const END_OF_BACKUP = 'end of backup';

export const Header = z.object({
  format: z.literal(FORMAT),
  /** The version of the database: the number of its migrations. */
  version: z.number().int().positive(),
  at: z.string(),
  /** The ids of the keys that secrets are sealed under. */
  secretKeyIds: z.array(z.string()),
  /** The days with a partition of log lines of their own, as in log_chunks_20261129. */
  logDays: z.array(z.string().regex(/^20\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$/)),
});
export type Header = z.infer<typeof Header>;

export const TableLine = z.object({ table: z.string(), columns: z.array(z.string()) });
