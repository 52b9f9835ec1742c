import { sql } from 'drizzle-orm';
import { connect, type Db } from '../../db/client.ts';
import { ALERT_EVENTS } from '../../domain/alerts/states.ts';
import { channel } from '../alerting/support.ts';
import { testDatabase, testUser } from '../support/database.ts';
import { IS_LONG_RUN } from '../support/run-length.ts';
import { refuseWrongChanges } from './changes.ts';
import { World } from './world.ts';

export interface Lifecycle {
  db: Db;
  /** Removes everything and returns an empty world. */
  begin(): Promise<World>;
  close(): Promise<void>;
}

/**
 * A database that does not wait for its disk. These tests do not examine crashes of the server, and
 * this allows several times as many sequences in the same time.
 */
export async function lifecycle({ connections }: { connections: number }): Promise<Lifecycle> {
  const database = await testDatabase();
  const url = `${database.url}?synchronous_commit=off`;
  const { db, close } = connect(url, { max: connections, application: 'chronoverse-test' });
  await refuseWrongChanges(db);
  const ann = await testUser(db, 'ann');
  await channel(db, ann, { events: [...ALERT_EVENTS] });
  return {
    db,
    async begin() {
      // There are few rows, so deleting them is faster than TRUNCATE, which creates new files.
      await db.execute(sql`DELETE FROM run_requests`);
      await db.execute(sql`DELETE FROM jobs`);
      await db.execute(sql`DELETE FROM workflows`);
      await db.execute(sql`DELETE FROM calendars`);
      await db.execute(sql`DELETE FROM alert_deliveries`);
      await db.execute(sql`DELETE FROM alert_due`);
      return new World(db, ann);
    },
    async close() {
      await close();
      await database.close();
    },
  };
}

/**
 * LIFECYCLE_SECONDS makes a longer run by hand. LIFECYCLE_SEED is the seed that a failed run has
 * printed; it repeats that run.
 */
const { LIFECYCLE_SECONDS, LIFECYCLE_SEED } = process.env;
const SECONDS_OF_LONG_RUN = 10;
/** The default: a few sequences, however long a busy machine takes. */
const SEQUENCES_OF_QUICK_RUN = 15;
const QUICK_MS_MAX = 60_000;
const IS_TIMED = IS_LONG_RUN || LIFECYCLE_SECONDS !== undefined;
/** The time in which sequences begin. */
export const RUN_MS_MAX = IS_TIMED ? Number(LIFECYCLE_SECONDS ?? SECONDS_OF_LONG_RUN) * 1_000 : QUICK_MS_MAX;
/** More than any machine does. */
const SEQUENCES_PER_SECOND_MAX = 50;

/**
 * The number of sequences. A failing sequence is shortened and printed with its seed, and with what
 * was wrong: a report that has only messages lacks causes.
 */
export const BOUNDS = {
  includeErrorInReport: true,
  numRuns: IS_TIMED ? (RUN_MS_MAX / 1_000) * SEQUENCES_PER_SECOND_MAX : SEQUENCES_OF_QUICK_RUN,
  ...(LIFECYCLE_SEED === undefined ? {} : { seed: Number(LIFECYCLE_SEED) }),
};

/** Time to complete the running sequence, which is not interrupted. */
export const TEST_MS_MAX = RUN_MS_MAX + 60_000;
