import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLoaders } from '../../api/loaders.ts';
import { newId } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

describe('a read of very many objects in one operation', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.close());

  test('fetches a thousand rows at a time, so that others are served meanwhile', async () => {
    const load = createLoaders(database.db, newId);
    let turn = 0;
    let isOver = false;
    const goRound = () => {
      turn += 1;
      if (!isOver) setImmediate(goRound);
    };
    goRound();
    const ofTurn = new Map<number, number>();
    const pages = Array.from({ length: 50 }, async () => {
      await load.jobs({ workflowId: newId(), filter: {}, window: { count: 100, backwards: false } });
      ofTurn.set(turn, (ofTurn.get(turn) ?? 0) + 1);
    });
    await Promise.all(pages);
    isOver = true;
    expect([...ofTurn.values()]).toEqual([10, 10, 10, 10, 10]);
  });
});
