import { sql } from 'drizzle-orm';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import { type BenchDatabase, benchDatabase, makeDue } from './database.ts';
import { type Benchmark, ROUNDS } from './harness.ts';
import { seedHeartbeats, seedUser, settle } from './seed.ts';

const FEW = 100_000;
const MANY = 1_000_000;
const DUE = 100_000;
const SEED_SET = 50_000;
const SLOTS_PER_PASS = 1_000;
const CALENDARS = 1_000;

/**
 * Compares dispatching among many workflows with dispatching among few, and that with a limit:
 * PostgreSQL writes rows of the same shape, with the same indexes, in sets of the same size, and
 * does nothing else. Each round begins after a checkpoint, so that the first change of each page
 * writes the whole page to the log. The more workflows there are, the more pages have a due one: a
 * small burst right after a checkpoint pays for nearly a page a slot.
 */
export const scheduling: Benchmark = {
  name: 'scheduling',
  describe: `${DUE.toLocaleString('en')} due workflows into jobs on one connection, among ${FEW.toLocaleString('en')} and ${MANY.toLocaleString('en')} workflows`,
  async run(progress) {
    const databases: BenchDatabase[] = [];
    const rates = { limit: [] as number[], few: [] as number[], many: [] as number[], half: [] as number[] };
    const open = async (size: number, name = String(size)) => {
      progress(`making ${size.toLocaleString('en')} workflows`);
      const database = await benchDatabase(`scheduling_${name}`);
      databases.push(database);
      await migrate(database.url);
      await seed(database, size);
      return database;
    };
    try {
      const [few, many, half] = [await open(FEW), await open(MANY), await open(FEW, 'half')];
      await giveCalendars(half);
      for (let round = 0; round < ROUNDS; round++) {
        rates.many.push(await rateOf(many, () => queueAll(many)));
        rates.half.push(await rateOf(half, () => queueAll(half)));
        rates.few.push(await rateOf(few, () => queueAll(few)));
        rates.limit.push(await rateOf(few, () => insertBare(few)));
        const [few1, many1, half1] = [rates.few, rates.many, rates.half].map((all) => all.at(-1)?.toFixed(0));
        progress(`round ${round + 1}: ${few1} and ${many1} a second, ${half1} with calendars`);
      }
    } finally {
      for (const database of databases) await database.close();
    }
    return [
      {
        what: `slots turned into jobs a second, ${FEW.toLocaleString('en')} workflows`,
        ours: rates.few,
        unit: 'a second',
        peer: { name: 'bare inserts', values: rates.limit },
        budget: '40,000 a second',
      },
      {
        what: `slots turned into jobs a second, ${MANY.toLocaleString('en')} workflows`,
        ours: rates.many,
        unit: 'a second',
        peer: { name: `${FEW.toLocaleString('en')} workflows`, values: rates.few },
        budget: 'a ratio of 0.8 or more: a slot costs at most 25 % more',
      },
      {
        what: 'slots turned into jobs a second, half of the workflows with a calendar',
        ours: rates.half,
        unit: 'a second',
        peer: { name: 'intervals alone', values: rates.few },
        budget: 'a ratio of 0.87 or more: a slot costs at most 15 % more',
      },
    ];
  },
};

async function seed(database: BenchDatabase, size: number): Promise<void> {
  const userId = await seedUser(database.db);
  for (let made = 0; made < size; made += SEED_SET) {
    await seedHeartbeats(database.db, userId, Math.min(SEED_SET, size - made), Number.POSITIVE_INFINITY);
  }
  await database.db.execute(sql`CREATE TABLE jobs_limit (LIKE jobs INCLUDING ALL) WITH (fillfactor = 50)`);
}

/**
 * Gives each second workflow one of CALENDARS, which have the most occurrences that one can have.
 */
async function giveCalendars({ db }: BenchDatabase): Promise<void> {
  await db.execute(sql`
    INSERT INTO calendars (id, key, expressions, time_zone, tz_version, occurrences, is_last, refill_at)
    SELECT gen_random_uuid(), n::text, '{"* * * * *"}', 'UTC', '2000a',
      ARRAY(SELECT date_trunc('minute', now()) + make_interval(mins => minute) FROM generate_series(0, 127) minute), false, 'infinity'
    FROM generate_series(1, ${CALENDARS}) n`);
  await db.execute(sql`
    WITH numbered AS (SELECT workflow_id, row_number() OVER (ORDER BY workflow_id) AS n FROM schedules)
    UPDATE schedules SET interval_minutes = NULL, calendar_id = calendars.id
    FROM numbered JOIN calendars ON calendars.key = (n / 2 % ${CALENDARS} + 1)::text
    WHERE schedules.workflow_id = numbered.workflow_id AND n % 2 = 0`);
}

async function rateOf(database: BenchDatabase, work: () => Promise<void>): Promise<number> {
  await makeDue(database, DUE);
  await settle(database.db);
  const started = performance.now();
  await work();
  return DUE / ((performance.now() - started) / 1_000);
}
async function queueAll(database: BenchDatabase): Promise<void> {
  for (let made = 0; made < DUE; ) {
    const pass = await queueDueSlots(database.db, { limit: SLOTS_PER_PASS });
    if (pass.effects.dispatched.length === 0) throw new Error(`Only ${made} of ${DUE} due slots were found.`);
    made += pass.effects.dispatched.length;
  }
}

async function insertBare(database: BenchDatabase): Promise<void> {
  for (let made = 0; made < DUE; made += SLOTS_PER_PASS) {
    await database.db.execute(sql`
      INSERT INTO jobs_limit (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at)
      SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'HEARTBEAT', 'AUTOMATIC', 'PENDING', 1, now()
      FROM generate_series(1, ${SLOTS_PER_PASS})`);
  }
}
