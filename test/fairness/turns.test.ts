import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Db } from '../../db/client.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { enterTurns, passTurn, peekTurnFor, takeTurn } from '../../db/jobs/turns.ts';
import { turns } from '../../db/schema.ts';
import { mayTake } from '../../domain/fair-share.ts';
import { newId } from '../../domain/ids.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts } from '../support/workers.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

/** Creates QUEUED jobs of a user, each of a workflow without a schedule. */
async function queued(userId: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, newId);
  for (const id of ids)
    await database.db.execute(sql`
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, queued_at)
      VALUES (${id}, ${newId()}, ${userId}, 'CONTAINER', 'MANUAL', 'QUEUED', 1, now(), now())`);
  return ids;
}

const user = (name: string) => testUser(database.db, name);
const enter = (ids: string[]) => enterTurns(database.db, 'CONTAINER', ids);
/** Takes the next turn and runs its job. Returns the user, or undefined if no turn waits. */
async function next(full: string[] = []): Promise<string | undefined> {
  const taken = await takeTurn(database.db, 'CONTAINER', full, (tx, ids) => claimJobs(tx, ids, { owner: 'test' }));
  return taken?.claimed[0]?.userId;
}

test('P11: users take turns, whatever the order of arrival and the number of jobs, and a late user is not behind them all', async () => {
  const [greedy, second, late] = [await user('greedy'), await user('second'), await user('late')];
  await enter(await queued(greedy, 6));
  await enter(await queued(second, 2));
  expect([await next(), await next(), await next()]).toEqual([greedy, second, greedy]);
  await enter(await queued(late, 2));
  // This is the second round; the first user has already had a turn in it.
  expect([await next(), await next()]).toEqual([second, late]);
  expect([await next(), await next()]).toEqual([greedy, late]);
  expect([await next(), await next(), await next(), await next()]).toEqual([greedy, greedy, greedy, undefined]);
});

test('a full user is skipped, and has the next turn when there is room again', async () => {
  const [greedy, other] = [await user('greedy'), await user('other')];
  await enter(await queued(greedy, 3));
  await enter(await queued(other, 3));
  expect([await next([greedy]), await next([greedy])]).toEqual([other, other]);
  expect([await next(), await next(), await next(), await next()]).toEqual([greedy, greedy, greedy, other]);
});

test('a turn that an engine passed by is left to the others for a while, and its job loses no attempt', async () => {
  const { db } = database;
  const [id = ''] = await queued(await user('ann'), 1);
  await enter([id]);
  const seenBy = async (engine: string) => (await peekTurnFor(db, 'CONTAINER', [], engine))?.id;
  const turn = await peekTurnFor(db, 'CONTAINER', [], 'one');
  expect(turn).toEqual({ id, passedBy: {} });
  if (turn === undefined) return;
  await passTurn(db, turn, { by: 'one', seconds: 30 });
  expect([await seenBy('one'), await seenBy('two')]).toEqual([undefined, id]);
  await passTurn(db, turn, { by: 'two', seconds: 0 });
  expect([await seenBy('one'), await seenBy('two'), await seenBy('three')]).toEqual([undefined, id, id]);
  const claim = (tx: Db, ids: string[]) => claimJobs(tx, ids, { owner: 'test' });
  expect(await takeTurn(db, 'CONTAINER', [], claim, { engineId: 'one' })).toBeUndefined();
  const taken = await takeTurn(db, 'CONTAINER', [], claim, { only: id });
  expect(Object.keys(taken?.passedBy ?? {}).toSorted()).toEqual(['one', 'two']);
  expect(taken?.claimed).toMatchObject([{ id, attempt: 1 }]);
  expect(await takeTurn(db, 'CONTAINER', [], claim, { only: id })).toBeUndefined();
});

test('P11: a user who is full for long does not make others wait for users who come again and again', async () => {
  const [full, steady, pushing] = [await user('full'), await user('steady'), await user('pushing')];
  await enter(await queued(full, 5));
  await enter(await queued(steady, 30));
  // No other user is free, for ten rounds.
  for (let n = 0; n < 10; n += 1) expect(await next([full])).toBe(steady);
  for (let batch = 0; batch < 3; batch += 1) {
    await enter(await queued(pushing, 4));
    const served = [];
    for (let n = 0; n < 4; n += 1) served.push(await next([full]));
    expect(served.filter((who) => who === steady)).toHaveLength(2);
    expect(served.filter((who) => who === pushing)).toHaveLength(2);
  }
  while ((await next()) !== undefined);
});

test('P11: concurrent and repeated events give each job one turn, and each user one turn a round', async () => {
  const [greedy, other] = [await user('greedy'), await user('other')];
  const ids = await queued(greedy, 40);
  await enter(await queued(other, 1));
  await Promise.all(Array.from({ length: 8 }, (_, n) => enter(ids.slice(n * 4, n * 4 + 12))));
  await enter(ids);
  const rounds = await database.db.execute<{ turns: number; rounds: number }>(sql`
    SELECT count(*)::integer AS turns, count(DISTINCT round)::integer AS rounds FROM turns WHERE user_id = ${greedy}`);
  expect(rounds).toEqual([{ turns: 40, rounds: 40 }]);
  // As several workers at once.
  const taken = await Promise.all(Array.from({ length: 41 }, () => next()));
  expect(taken.filter((userId) => userId === greedy)).toHaveLength(40);
  expect(taken.filter((userId) => userId === other)).toHaveLength(1);
});

test('turns of jobs that were canceled while their user was full are removed by the sweep', async () => {
  const greedy = await user('greedy');
  const ids = await queued(greedy, 5);
  await enter(ids);
  for (const id of ids.slice(0, 4))
    expect(await cancelJob(database.db, { userId: greedy, id })).toMatchObject({ outcome: 'CANCELED' });
  const parts = memoryParts(database.db);
  const scheduling = await startScheduling(parts);
  await until('the turns are gone', async () => (await database.db.$count(turns)) === 1);
  expect(await next()).toBe(greedy);
  await scheduling.close();
  await parts.bus.close();
  await parts.cache.close();
});

test('a share leaves slots for the next user, and the last slot for a user who holds none', () => {
  const held = (size: number, count: number) => {
    let free = size;
    return Array.from({ length: count }, () => {
      let own = 0;
      for (; mayTake({ held: own, free, max: size }); own += 1) free -= 1;
      return own;
    });
  };
  expect([1, 2, 4, 16, 4_000].map((size) => held(size, 3))).toEqual([
    [1, 0, 0],
    [1, 1, 0],
    [3, 1, 0],
    [12, 3, 1],
    [3_000, 750, 187],
  ]);
  expect(mayTake({ held: 2, free: 100, max: 2 })).toBe(false);
});
