import { sql } from 'drizzle-orm';
import { connect, type Db } from '../../db/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { openPauses } from './pauses.ts';
import { stepStatements } from './points.ts';
import { Scheduler } from './scheduler.ts';

/**
 * A database with a connection for each actor. Each statement on such a connection is a step of the
 * scheduler.
 */
export interface Connections {
  scheduler: Scheduler;
  /** The connections of the actors. */
  dbs: Db[];
  /** Further connections of the actors. Their statements are no steps, but may wait for locks. */
  sides: Db[];
  /** The connection of the test itself. Its statements are no steps. */
  db: Db;
  /** The actors whose statements are two steps each (pauses.ts). */
  splitting: Set<number>;
  close(): Promise<void>;
}

/** A deadlock is a failure, so PostgreSQL need not wait a second to detect it. */
const DEADLOCK_TIMEOUT = '50ms';

export async function openConnections(
  count: number,
  { perActor = 1, hasLateAnswers = false } = {},
): Promise<Connections> {
  const database: TestDatabase = await testDatabase();
  const url = new URL(database.url);
  url.searchParams.set('synchronous_commit', 'off'); // no test here is about a crash of the server
  url.searchParams.set('deadlock_timeout', DEADLOCK_TIMEOUT);
  const control = connect(url.href, { max: 2, application: 'control' });
  const actors = Array.from({ length: count }, (_, actor) =>
    connect(url.href, { max: perActor, application: `actor ${actor}` }),
  );
  const sides = Array.from({ length: count }, (_, actor) =>
    connect(url.href, { max: 1, application: `actor ${actor}` }),
  );
  const keeper = connect(url.href, { max: 1, application: 'keeper' });
  const pauses = await openPauses(keeper.db);
  const splitting = new Set<number>();
  const scheduler = new Scheduler(() => countBlocked(control.db));
  const dbs = actors.map(({ db }, actor) => {
    stepStatements(db, {
      step: (point, act) => scheduler.step(actor, point, act),
      fly: (point, act) => scheduler.fly(actor, point, act),
      pauseCondition: () => (splitting.has(actor) ? pauses.condition(actor) : undefined),
      answer: async ({ name, reads, writes }) => {
        if (hasLateAnswers)
          await scheduler.step(actor, { name: `answer of ${name}`, reads, writes }, async () => undefined);
      },
      split: (point, act) => scheduler.split(actor, point, act, pauses),
    });
    return db;
  });
  return {
    scheduler,
    dbs,
    sides: sides.map(({ db }) => db),
    db: control.db,
    splitting,
    async close() {
      for (const { close } of [...actors, ...sides, control, keeper]) await close();
      await database.close();
    },
  };
}

/** Asks the lock manager, which is exact from the moment at which the holder releases the lock. */
async function countBlocked(db: Db): Promise<Map<number, number>> {
  const rows = await db.execute<{ actor: number; count: number }>(sql`
    SELECT substr(application_name, 7)::integer AS actor, count(*)::integer AS count FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'actor %' AND wait_event_type = 'Lock' AND wait_event <> 'advisory'
      AND pg_blocking_pids(pid) <> '{}'
    GROUP BY 1`);
  return new Map(rows.map(({ actor, count }) => [actor, count]));
}

export function dbOf({ dbs }: Connections, actor: number): Db {
  const db = dbs[actor];
  if (db === undefined) throw new Error(`There are connections for ${dbs.length} actors.`);
  return db;
}

export function sideOf({ sides }: Connections, actor: number): Db {
  const side = sides[actor];
  if (side === undefined) throw new Error(`There are connections for ${sides.length} actors.`);
  return side;
}
