import { sql } from 'drizzle-orm';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import { type BenchDatabase, benchDatabase, makeDue } from './database.ts';
import { type Benchmark, type Finding, median, ROUNDS } from './harness.ts';
import { seedHeartbeats, seedUser, settle } from './seed.ts';

const SIZES = [10_000, 100_000, 1_000_000];
const DUE = 10_000;
const SEED_SET = 50_000;
const SLOTS_PER_PASS = 1_000;

/**
 * Compares dispatching with a limit: PostgreSQL writes rows of the same shape, with the same
 * indexes, in sets of the same size, and does nothing else.
 */
export const scheduling: Benchmark = {
  name: 'scheduling',
  describe: `${DUE.toLocaleString('en')} due workflows into jobs on one connection, among more and more workflows`,
  async run(progress) {
    const findings: Finding[] = [];
    for (const size of SIZES) {
      const database = await benchDatabase('scheduling');
      try {
        await migrate(database.url);
        progress(`making ${size.toLocaleString('en')} workflows`);
        await seed(database, size);
        findings.push(await measure(database, size, findings[0], progress));
      } finally {
        await database.close();
      }
    }
    return findings;
  },
};

async function seed(database: BenchDatabase, size: number): Promise<void> {
  const userId = await seedUser(database.db);
  for (let made = 0; made < size; made += SEED_SET) {
    await seedHeartbeats(database.db, userId, Math.min(SEED_SET, size - made), Number.POSITIVE_INFINITY);
  }
  await database.db.execute(sql`CREATE TABLE jobs_limit (LIKE jobs INCLUDING ALL) WITH (fillfactor = 50)`);
}

async function measure(
  database: BenchDatabase,
  size: number,
  smallest: Finding | undefined,
  progress: (text: string) => void,
): Promise<Finding> {
  const ours: number[] = [];
  const limit: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await makeDue(database, DUE);
    await settle(database.db);
    limit.push(await rate(() => insertBare(database)));
    ours.push(await rate(() => queueAll(database)));
    progress(`round ${round + 1} at ${size.toLocaleString('en')}: ${ours.at(-1)?.toFixed(0)} a second`);
  }
  const against =
    smallest === undefined
      ? ''
      : ` (here ${((100 * median(ours)) / median(smallest.ours)).toFixed(0)} % of the rate at ${SIZES[0]?.toLocaleString('en')})`;
  return {
    what: `slots turned into jobs a second, ${size.toLocaleString('en')} workflows`,
    ours,
    unit: 'a second',
    peer: { name: 'limit ', values: limit },
    budget: `40,000 a second at 100,000 workflows, within 25 % of that at 1,000,000${against}`,
  };
}

async function rate(work: () => Promise<void>): Promise<number> {
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
