import type { Db } from '../../db/client.ts';
import { lastLogNumber } from '../../db/logs/read.ts';
import type { BuildRow, JobRow } from '../../db/schema.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import type { Changes } from '../live/changes.ts';
import type { Batch } from './batch.ts';
import type { LogFeed } from './feed.ts';
import { refuseMissing, startAfter } from './retention.ts';

interface Sources {
  db: Db;
  changes: Changes;
  logFeed: LogFeed;
}

type Batches = AsyncGenerator<Batch, void, undefined>;

export interface OpenedLog {
  batches: Batches;
  /** The number of the line behind which `batches` begin. */
  after: number;
  /** The number of the last line, where it is known beforehand. */
  last?: number;
}

/**
 * The lines of a job or a build after `cursor`, stored or yet to come, to the last line of one
 * that has ended. Throws BAD_REQUEST for a cursor that is not of this log, or of a line that
 * retention has removed.
 */
export async function followLog(
  { db, changes, logFeed }: Sources,
  row: JobRow | BuildRow,
  cursor: string | null | undefined,
): Promise<OpenedLog> {
  const after = await startAfter(db, row, cursor);
  return { batches: follow({ db, changes, logFeed }, row, after), after };
}

/**
 * The stored lines after `cursor`, to `last`, the line that is stored last now. Throws as followLog
 * does.
 */
export async function readLog(
  { db, logFeed }: Pick<Sources, 'db' | 'logFeed'>,
  row: JobRow | BuildRow,
  cursor: string | null | undefined,
): Promise<OpenedLog> {
  const { id } = row;
  const after = await startAfter(db, row, cursor);
  const last = Math.max(after, await lastLogNumber(db, id));
  const batches = cancellable(async function* (signal) {
    if (after >= last) return;
    const follower = logFeed.follower(id, after);
    follower.ended({ lastNumber: last, at: new Date(0) }); // so that it waits for no line
    for await (const batch of follower.batches(signal)) {
      yield { ...batch, lastNumber: Math.min(batch.lastNumber, last) };
      if (batch.lastNumber >= last) return; // lines that were stored since are not asked for
    }
  });
  return { batches, after, last };
}

/** What says where a log ends. */
type LogEnd = Pick<JobRow, 'attempt' | 'completedAt' | 'logLineCount' | 'logOpen'>;

/**
 * A subscriber joins while a job ends. The subscriber: reads the row (R), watches the row (W), gets
 * live chunks (L), reads the row again (A), reads the store (S). The job: its last chunk is on the
 * bus (B) and stored (P); its row has the end and the last number (E). The worker writes E after B,
 * maybe before P. Where another process ends the job, the worker that stores lines closes the log
 * after P, which is E.
 *
 *   E before R          S goes on until it has the last number: P comes, whatever happened to B
 *   E between R and W   no hint says so: A does
 *   E after W           a hint says so, or the slow re-check where the hint is lost
 *   B before L          S has it if P was before; else E says that there is more: S repeats until P
 *   B after L           it comes live, or from the store where it does not follow what is there
 *   P during S          S finds nothing; what comes meanwhile (B, E, a stored number) repeats it
 */
function follow({ db, changes, logFeed }: Sources, row: JobRow | BuildRow, after: number): Batches {
  const { id, userId } = row; // not the whole row, for as long as the log is followed
  const follower = logFeed.follower(id, after);
  const onRow = ({ attempt, completedAt, logOpen, logLineCount }: LogEnd) => {
    follower.isAt(attempt);
    if (completedAt === null) return;
    if (logOpen)
      logFeed.askForEnd(id); // lines may be on their way: the marker behind them closes the log
    else follower.ended({ lastNumber: logLineCount, at: completedAt });
  };
  const onChange = (changed: LogEnd | undefined) => {
    if (changed) onRow(changed);
    else follower.ended({ lastNumber: 0, at: new Date(0) }); // purged, and its log with it
  };
  const isJob = 'trigger' in row;
  onRow(row);
  return cancellable(async function* (signal) {
    const leave = await changes.join(userId);
    const unwatch = isJob ? changes.jobs.watch(id, onChange) : changes.builds.watch(id, onChange);
    const quit = logFeed.join(id, follower); // live first, then what is stored
    try {
      // It may have ended since it was read.
      (isJob ? changes.jobs : changes.builds).hint(userId, [id]);
      yield* follower.batches(signal);
      const { missing } = follower;
      if (missing && !signal.aborted) await refuseMissing(db, id, { after, ...missing });
    } finally {
      quit();
      unwatch();
      leave();
    }
  });
}
