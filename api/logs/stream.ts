import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import type { BuildRow, JobRow } from '../../db/schema.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import type { Changes } from '../live/changes.ts';
import type { LogFeed } from './feed.ts';
import { type Batch, LogFollower } from './follower.ts';
import { refuseMissing } from './retention.ts';
import { createLogStore } from './store.ts';

interface Sources {
  db: Db;
  changes: Changes;
  log: Logger;
  logFeed: LogFeed;
}

/** The lines of a job after the one of number `after`, stored or yet to come, to the last one of a job that has ended. */
export function followJobLog(sources: Sources, job: JobRow, after: number): AsyncGenerator<Batch, void, undefined> {
  const { id } = job;
  return follow(sources, job, after, (listener) => sources.changes.jobs.watch(id, listener));
}

/** The same of a build. */
export function followBuildLog(
  sources: Sources,
  build: BuildRow,
  after: number,
): AsyncGenerator<Batch, void, undefined> {
  const { id } = build;
  return follow(sources, build, after, (listener) => sources.changes.builds.watch(id, listener));
}

/**
 * The lines of a job or a build after the one of number `after`, to the one of number `last`, as they are stored: it waits for none, and ends
 * early where one is missing.
 */
export function readStoredLog(
  sources: Pick<Sources, 'db' | 'log'>,
  sourceId: string,
  { after, last }: { after: number; last: number },
): AsyncGenerator<Batch, void, undefined> {
  return cancellable(async function* (signal) {
    if (after >= last) return;
    const follower = followerOf(sources, sourceId, after);
    follower.ended({ lastNumber: last, at: new Date(0) });
    for await (const batch of follower.batches(signal)) {
      yield { ...batch, lastNumber: Math.min(batch.lastNumber, last) };
      if (batch.lastNumber >= last) return; // what has been stored since is not asked for
    }
  });
}

/** What tells of a log's end: a job, or a build. */
interface Source {
  id: string;
  userId: string;
  attempt: number;
  completedAt: Date | null;
  logLineCount: number;
  logOpen: boolean;
}

type Watch = (listener: (row: Source | undefined) => void) => () => void;

/**
 * Who joins while a job ends. The subscriber: its row is read (R); it watches the row (W); it is given live chunks (L); the row is read
 * again (A); the store is read (S). The job: its last chunk is on the bus (B), and stored (P); its row says the end and the last number (E), which
 * the worker writes after B, and which may be before P. Where somebody else ended it, E comes from whoever stores, after P.
 *
 *   E before R          S goes on until it has the last number: P comes, whatever happened to B
 *   E between R and W   nobody tells of it: A does
 *   E after W           it is told, and told again by the slow re-check where the hint was lost
 *   B before L          S has it if P was before; else E says that there is more, and S is tried again until P
 *   B after L           it comes live, or by the store where it does not follow on what there is
 *   P during S          S has found nothing, and what was heard meanwhile (B, E, a stored number) makes it look again
 */
function follow(
  { db, changes, log, logFeed }: Sources,
  source: Source,
  after: number,
  watch: Watch,
): AsyncGenerator<Batch, void, undefined> {
  const { id, userId } = source; // not the whole row, for as long as it is followed
  const follower = followerOf({ db, log }, id, after);
  const tell = (row: Source) => {
    follower.isAt(row.attempt);
    if (!row.completedAt) return;
    if (!row.logOpen) follower.ended({ lastNumber: row.logLineCount, at: row.completedAt });
    else logFeed.askForEnd(id); // it comes behind the lines that are on their way: then the row is told again
  };
  tell(source);
  return cancellable(async function* (signal) {
    const leave = await changes.join(userId);
    const unwatch = watch((row) => {
      if (row) tell(row);
      else follower.ended({ lastNumber: 0, at: new Date(0) }); // purged, and its log with it
    });
    const quit = logFeed.join(id, follower); // live first, then what is stored
    try {
      changes.jobs.hint(userId, [id]); // it may have ended since it was read
      changes.builds.hint(userId, [id]);
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

function followerOf({ db, log }: Pick<Sources, 'db' | 'log'>, sourceId: string, after: number): LogFollower {
  const store = storeOf(db, log);
  return new LogFollower(after, { read: (number, count) => store.read(sourceId, number, count), now: store.now });
}

const stores = new WeakMap<Sources['db'], ReturnType<typeof createLogStore>>();

function storeOf(db: Sources['db'], log: Sources['log']): ReturnType<typeof createLogStore> {
  const store = stores.get(db) ?? createLogStore(db, log);
  stores.set(db, store);
  return store;
}
