import type { Db } from '../../db/client.ts';
import { lastLogNumber } from '../../db/logs/read.ts';
import type { BuildRow, JobRow } from '../../db/schema.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import type { Changes } from '../live/changes.ts';
import type { Batch } from './batch.ts';
import type { LogFeed } from './feed.ts';
import { refuseMissing, startAfter } from './retention.ts';

export interface Sources {
  db: Db;
  changes: Changes;
  logFeed: LogFeed;
}

type Batches = AsyncGenerator<Batch, void, undefined>;

export interface OpenedLog {
  batches: Batches;
  /** `batches` begins behind the line of this number. */
  after: number;
  /** The number of the last line, if it is known beforehand. */
  last?: number;
}

/**
 * The lines of a job or build after `cursor`: the stored ones and those still to come, up to the
 * last line after the job or build has ended. Throws BAD_REQUEST for a cursor of another log, or of
 * a line that retention has removed.
 */
export async function followLog(
  { db, changes, logFeed }: Sources,
  row: JobRow | BuildRow,
  cursor: string | null | undefined,
): Promise<OpenedLog> {
  const after = await startAfter(db, row, cursor);
  return { batches: followFrom({ db, changes, logFeed }, followedOf(row), after), after };
}

/**
 * The stored lines after `cursor` up to `last`, which is the last stored line at the time of the
 * call. Throws as followLog does.
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
      if (batch.lastNumber >= last) return; // lines stored since the call are left out
    }
  });
  return { batches, after, last };
}

/** The columns that say where a log ends. */
type LogEnd = Pick<JobRow, 'attempt' | 'completedAt' | 'logLineCount' | 'logOpen'> & { adoptions?: number };

/** What a follower of a log keeps of its row, for as long as it follows. */
export interface Followed extends LogEnd {
  id: string;
  userId: string;
  isJob: boolean;
}

export function followedOf(row: JobRow | BuildRow): Followed {
  const { id, userId, attempt, completedAt, logLineCount, logOpen } = row;
  const adoptions = 'adoptions' in row ? row.adoptions : 0;
  return { id, userId, attempt, adoptions, completedAt, logLineCount, logOpen, isJob: 'trigger' in row };
}

/**
 * A subscriber may join while a job ends. The subscriber reads the row (R), watches the row (W),
 * gets live chunks (L), reads the row again (A) and reads the store (S). The job's last chunk is on
 * the bus (B) and stored (P); its row has the end and the last number (E). The worker writes E
 * after B, maybe before P. If another process ends the job, the joblogs worker closes the log after
 * P, which is E.
 *
 *   E before R          S repeats until it has the last number: P comes, whatever happened to B
 *   E between R and W   no hint reports it; A finds it
 *   E after W           a hint reports it, or the slow re-check if the hint is lost
 *   B before L          S finds it if P came first; else E shows that lines are missing: S repeats
 *   B after L           it comes live, or from the store if it does not follow on the position
 *   P during S          S finds nothing; the next event (B, E, a stored number) repeats S
 *
 * `row` may be old: A reads it again. `onIdle` is called whenever there are no more lines for now.
 */
export function followFrom(
  { db, changes, logFeed }: Sources,
  row: Followed,
  after: number,
  onIdle?: () => void,
): Batches {
  const { id, userId, isJob } = row;
  const follower = logFeed.follower(id, after, onIdle);
  const onRow = ({ attempt, adoptions = 0, completedAt, logOpen, logLineCount }: LogEnd) => {
    follower.isAt(attempt + adoptions);
    if (completedAt === null) return;
    if (logOpen)
      logFeed.askForEnd(id); // lines may be on their way; the marker behind them closes the log
    else follower.ended({ lastNumber: logLineCount, at: completedAt });
  };
  const onChange = (changed: LogEnd | undefined) => {
    if (changed) onRow(changed);
    else follower.ended({ lastNumber: 0, at: new Date(0) }); // purged, together with its log
  };
  onRow(row);
  return cancellable(async function* (signal) {
    const leave = await changes.join(userId);
    const unwatch = isJob ? changes.jobs.watch(id, onChange) : changes.builds.watch(id, onChange);
    const quit = logFeed.join(id, follower); // join the live chunks first, then read the store
    try {
      // The job or build may have ended since the row was read.
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
