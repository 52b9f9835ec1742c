import { z } from 'zod';

/**
 * A backup is gzip of: a line with the header, for each table a line with its name and columns, its
 * rows in the text format of COPY and the line `\.`, and at the end a line that says so. PostgreSQL
 * escapes `\` in rows, so no row is that line.
 */
export const FORMAT = 'chronoverse backup 1';
export const END_OF_ROWS = '\\.';
export const END_OF_BACKUP = 'end of backup';

const DAY = z.string().regex(/^20\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$/);
/** The first id of a day, which has no version. */
const ID = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);

export const Header = z.object({
  format: z.literal(FORMAT),
  /** The version of the database: the number of its migrations. */
  version: z.number().int().positive(),
  at: z.string(),
  /** The ids of the keys that secrets are sealed under. */
  secretKeyIds: z.array(z.string()),
  /** The days with a partition of log lines of their own, as in log_chunks_20261129. */
  logDays: z.array(DAY),
  /** The days with a partition of jobs of their own. Backups of earlier versions have none. */
  jobDays: z.array(DAY).default([]),
  /** Ids between these two belong to days of jobs. */
  jobDayIds: z.tuple([ID, ID]).optional(),
});
export type Header = z.infer<typeof Header>;

export const TableLine = z.object({ table: z.string(), columns: z.array(z.string()) });
