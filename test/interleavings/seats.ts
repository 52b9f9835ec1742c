import { sql } from 'drizzle-orm';
import { connect, type Db } from '../../db/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { stepStatements } from './points.ts';
import { Scheduler } from './scheduler.ts';
import { openStands } from './stands.ts';

/** A database with a connection for each actor, every statement of which is a step of the scheduler's. */
export interface Seats {
  scheduler: Scheduler;
  /** Of the actors. */
  dbs: Db[];
  /** Of the actors as well: what goes through it is no step, but may wait for locks. */
  sides: Db[];
  /** Of nobody: what goes through it is no step. */
  db: Db;
  /** Whose statements are two steps each (stands.ts). */
  splitting: Set<number>;
  close(): Promise<void>;
}

/** A deadlock is a failure: it need not take a second to be one. */
const DEADLOCK_TIMEOUT = '50ms';

export async function openSeats(count: number, { connections = 1, hasLateAnswers = false } = {}): Promise<Seats> {
  const database: TestDatabase = await testDatabase();
  const url = new URL(database.url);
  url.searchParams.set('synchronous_commit', 'off'); // nothing here is about a crash of the server
  url.searchParams.set('deadlock_timeout', DEADLOCK_TIMEOUT);
  const control = connect(url.href, { max: 2, application: 'control' });
  const actors = Array.from({ length: count }, (_, actor) =>
    connect(url.href, { max: connections, application: `actor ${actor}` }),
  );
  const sides = Array.from({ length: count }, (_, actor) =>
    connect(url.href, { max: 1, application: `actor ${actor}` }),
  );
  const keeper = connect(url.href, { max: 1, application: 'keeper' });
  const stands = await openStands(keeper.db);
  const splitting = new Set<number>();
  const scheduler = new Scheduler(() => countBlocked(control.db));
  const dbs = actors.map(({ db }, actor) => {
    stepStatements(db, {
      step: (point, act) => scheduler.step(actor, point, act),
      fly: (point, act) => scheduler.fly(actor, point, act),
      stand: () => (splitting.has(actor) ? stands.condition(actor) : undefined),
      answer: async ({ name, reads, writes }) => {
        if (hasLateAnswers)
          await scheduler.step(actor, { name: `answer of ${name}`, reads, writes }, async () => undefined);
      },
      split: (point, act) => scheduler.split(actor, point, act, stands),
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

/** By the lock manager's own word, which is true from the moment at which the holder lets go. */
async function countBlocked(db: Db): Promise<Map<number, number>> {
  const rows = await db.execute<{ actor: number; count: number }>(sql`
    SELECT substr(application_name, 7)::integer AS actor, count(*)::integer AS count FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'actor %' AND wait_event_type = 'Lock' AND wait_event <> 'advisory'
      AND pg_blocking_pids(pid) <> '{}'
    GROUP BY 1`);
  return new Map(rows.map(({ actor, count }) => [actor, count]));
}

export function dbOf({ dbs }: Seats, actor: number): Db {
  const db = dbs[actor];
  if (db === undefined) throw new Error(`There are seats for ${dbs.length} actors.`);
  return db;
}

export function sideOf({ sides }: Seats, actor: number): Db {
  const side = sides[actor];
  if (side === undefined) throw new Error(`There are seats for ${sides.length} actors.`);
  return side;
}
