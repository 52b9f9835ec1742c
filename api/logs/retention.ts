import type { Db } from '../../db/client.ts';
import { databaseNow, firstLineNumbers } from '../../db/lookup.ts';
import type { JobRow } from '../../db/schema.ts';
import { DAY_MS, RETENTION_DAYS_MIN } from '../../domain/limits.ts';
import { failure } from '../errors.ts';
import { logCursorNumber } from './cursor.ts';

/** A job or a build, as the owner of a log. */
export type LogSource = Pick<JobRow, 'id' | 'completedAt' | 'logLineCount'>;

/** The positions of a reader, and the first stored line. */
export interface Places {
  after: number | undefined;
  before: number | undefined;
  first: number | undefined;
}

/** Reads the number of the first stored line of a log. */
export type FirstLine = (id: string) => Promise<number | undefined>;

/**
 * The line numbers of these cursors. Throws BAD_REQUEST for a cursor of another log, and for one
 * whose neighboring line was removed by retention.
 */
export async function placesOf(
  db: Db,
  source: LogSource,
  cursors: { after?: string | null | undefined; before?: string | null | undefined },
  firstLine: FirstLine = (id) => firstStoredLine(db, { id }),
): Promise<Places> {
  const numberOf = (cursor: string | null | undefined) =>
    typeof cursor === 'string' ? logCursorNumber(source.id, cursor) : undefined;
  const [after, before] = [numberOf(cursors.after), numberOf(cursors.before)];
  const first = await firstLine(source.id);
  if (after !== undefined) await refuseRemoved(db, source, first, after + 1);
  if (before !== undefined) await refuseRemoved(db, source, first, before);
  return { after, before, first };
}

/**
 * The number of the line after which a reader begins: that of the cursor, or the one before the
 * first stored line. Throws as placesOf does.
 */
export async function startAfter(
  db: Db,
  source: LogSource,
  cursor: string | null | undefined,
  firstLine: FirstLine = (id) => firstStoredLine(db, { id }),
): Promise<number> {
  // Retention removes no line of what has not ended: its first line is line 1.
  if (source.completedAt === null) return typeof cursor === 'string' ? logCursorNumber(source.id, cursor) : 0;
  const { after, first = 1 } = await placesOf(db, source, { after: cursor }, firstLine);
  return after ?? first - 1;
}

/** Whether retention has removed all lines of a log that had some. */
export async function isGone(db: Db, source: LogSource): Promise<boolean> {
  return (await firstStoredLine(db, source)) === undefined && (await isRemoved(db, source));
}

async function firstStoredLine(db: Db, { id }: Pick<LogSource, 'id'>): Promise<number | undefined> {
  return (await firstLineNumbers(db, [id])).get(id);
}

/**
 * Throws BAD_REQUEST if retention has removed the line of this number. Lines are stored in order,
 * so retention must have removed a line that is missing before a stored one.
 */
async function refuseRemoved(db: Db, source: LogSource, first: number | undefined, number: number): Promise<void> {
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
 * Throws if a reader that began behind line `after` cannot reach line `number` long after the end
 * of the log: a log that has lost lines must not look complete. For a reader without a cursor, a
 * log that retention removed is empty.
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

/**
 * Whether retention removed this log, which has no stored lines. A log that is too young for
 * retention may still have lines on their way.
 */
async function isRemoved(db: Db, { completedAt, logLineCount }: LogSource): Promise<boolean> {
  if (completedAt === null || logLineCount === 0) return false;
  const daysAgo = ((await databaseNow(db)).getTime() - completedAt.getTime()) / DAY_MS;
  return daysAgo >= RETENTION_DAYS_MIN;
}
