import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { enterTurns, peekTurn, takeTurn } from '../../db/jobs/turns.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { createLastResort } from '../../workers/workflow/builds/last-resort.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, builds, turns CASCADE`));
afterAll(() => database.close());

async function queue(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const { buildId } = await createWorkflow(database.db, {
      userId: ann,
      name: 'image',
      payload: { kind: 'CONTAINER', image: 'alpine:3' },
      schedule: { everyMinutes: 60 },
      maxConsecutiveJobFailuresAllowed: 1,
    });
    await enterTurns(database.db, 'BUILD', [buildId ?? '']);
  }
}

async function take(owner: string) {
  const taken = await takeTurn(database.db, 'BUILD', [], (tx, ids) => claimBuilds(tx, ids, { owner }));
  const [build] = taken?.claimed ?? [];
  if (build === undefined) throw new Error('no build');
  return {
    end: () => endBuild(database.db, { ...build, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 }),
  };
}

/** A worker whose engine is away, with a clock of the test. */
function worker(owner: string) {
  const at = { monotonic: 0, wall: 1_000_000 };
  const lastResort = createLastResort({ db: database.db, owner, now: () => ({ ...at }) });
  const pass = (seconds: number) => {
    at.monotonic += seconds * 1_000;
    at.wall += seconds * 1_000;
  };
  return {
    ...lastResort,
    pass,
    /**
     * Looks every second. Returns after how many seconds it may take the next turn, or undefined if
     * not within 60.
     */
    async after(): Promise<number | undefined> {
      for (let seconds = 0; seconds < 60; seconds++) {
        const next = await peekTurn(database.db, 'BUILD', []);
        if (next !== undefined && (await lastResort.mayTake(next))) return seconds;
        pass(1);
      }
      return undefined;
    },
  };
}

test('a build that waits for 10 s is taken by a worker without an engine, and those behind it at once', async () => {
  await queue(2);
  const here = worker('here');
  expect(await here.after()).toBe(10);
  await take('here');
  here.taken();
  expect(await here.after()).toBe(0);
});

test('a build that another worker takes, even if it ends at once, shows that there is an engine', async () => {
  await queue(3);
  const here = worker('here');
  expect(await here.after()).toBe(10);
  await (await take('other')).end();
  expect(await here.after()).toBe(10);
});

test('builds are left to a worker that builds, however long, and for 10 s more', async () => {
  await queue(2);
  const here = worker('here');
  const { end } = await take('other');
  expect(await here.after()).toBeUndefined();
  await end();
  expect(await here.after()).toBe(10);
});

test('a lost worker with an expired lease is not waited for, nor are builds of this worker', async () => {
  await queue(2);
  await take('other');
  await database.db.execute(
    sql`UPDATE builds SET lease_expires_at = now() - interval '1 second' WHERE status = 'STARTED'`,
  );
  const here = worker('here');
  expect(await here.after()).toBe(10);
  await take('here');
  here.taken();
  await queue(1);
  expect(await here.after()).toBe(0);
});

test('of two workers without an engine, one takes, and the other leaves the rest to it', async () => {
  await queue(3);
  const [one, two] = [worker('one'), worker('two')];
  expect([await one.after(), await two.after()]).toEqual([10, 10]);
  await take('one');
  one.taken();
  expect(await two.after()).toBeUndefined();
  expect(await one.after()).toBe(0);
});

test('time without looking does not count: a frozen process, an outage of the database, an engine that came back', async () => {
  await queue(1);
  const here = worker('here');
  expect(await here.after()).toBe(10);
  here.pass(7);
  expect(await here.after()).toBe(10);
  here.reset();
  expect(await here.after()).toBe(10);
});
