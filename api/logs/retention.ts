import type { Db } from '../../db/client.ts';
import { databaseNow, firstLineNumbers } from '../../db/lookup.ts';
import type { JobRow } from '../../db/schema.ts';
import { DAY_MS, RETENTION_DAYS_MIN } from '../../domain/limits.ts';
import { failure } from '../errors.ts';
import { logCursorNumber } from './cursor.ts';

/** What a log is of: a job, or a build. */
export type LogSource = Pick<JobRow, 'id' | 'completedAt' | 'logLineCount'>;

/**
 * The number of the line after which a reader begins: the cursor's, or without one that before the first line which is still stored.
 * Throws BAD_REQUEST for a cursor that is none of this log, and where retention has removed lines that come after it.
 */
export async function startAfter(db: Db, source: LogSource, cursor: string | null | undefined): Promise<number> {
  const number = typeof cursor === 'string' ? logCursorNumber(source.id, cursor) : undefined;
  const first = await firstStoredLine(db, source);
  if (number === undefined) return (first ?? 1) - 1;
  await refuseRemoved(db, source, first, number + 1);
  return number;
}

/** The number of the first line that is stored. */
export async function firstStoredLine(db: Db, { id }: LogSource): Promise<number | undefined> {
  return (await firstLineNumbers(db, [id])).get(id);
}

/**
 * Throws BAD_REQUEST where the line of this number was removed by retention. Lines are stored in their order, so that one which is missing
 * before a stored one was removed.
 */
export async function refuseRemoved(
  db: Db,
  source: LogSource,
  first: number | undefined,
  number: number,
): Promise<void> {
  if (first !== undefined) {
    if (number >= first || first === 1) return;
    throw failure(
      'BAD_REQUEST',
      `The cursor is of a line that retention has removed: the first line still there is line ${first}. Leave the cursor out to begin with it.`,
    );
  }
  if (number <= source.logLineCount && (await isRemoved(db, source)))
    throw failure('BAD_REQUEST', 'The cursor is of a line that retention has removed: none of this log is left.');
}

/**
 * Throws for a reader that began behind the line `after` and has not come to line `number`, long after the log's end: a log that has lost lines is not taken
 * for a whole one. One of which nothing is left is empty to who begins without a cursor.
 */
export async function refuseMissing(
  db: Db,
  id: string,
  { after, number, end }: { after: number; number: number; end: { lastNumber: number; at: Date } },
): Promise<void> {
  const source = { id, completedAt: end.at, logLineCount: end.lastNumber };
  const first = await firstStoredLine(db, source);
  if (first === undefined && after === 0 && number === 1 && (await isRemoved(db, source))) return;
  await refuseRemoved(db, source, first, number);
  throw failure(
    'UNAVAILABLE',
    `Line ${number} and those behind it, to line ${end.lastNumber}, are not stored. They may be on their way: go on from your last cursor later.`,
  );
}

/** Of a log of which no line is stored: whether retention has removed it. Until it may have, lines may still be on their way. */
export async function isRemoved(db: Db, { completedAt, logLineCount }: LogSource): Promise<boolean> {
  if (completedAt === null || logLineCount === 0) return false;
  const daysAgo = ((await databaseNow(db)).getTime() - completedAt.getTime()) / DAY_MS;
  return daysAgo >= RETENTION_DAYS_MIN;
}
