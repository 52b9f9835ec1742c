import { desc, eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { preparedByShape } from '../../db/prepared.ts';
import { jobs, tokens, users, workflows } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { insertJob } from '../support/jobs.ts';

describe('the rows of a prepared query', () => {
  let database: TestDatabase;
  let userId: string;
  beforeAll(async () => {
    database = await testDatabase();
    userId = await testUser(database.db, 'ann');
  });
  afterAll(() => database.close());

  test('are those that the builder makes, with its times, numbers, documents and nulls', async () => {
    const { db } = database;
    await insertJob(db, userId);
    await insertJob(db, userId, { status: 'FAILED', completedAt: new Date(), exitCode: 1, failureReason: 'EXIT_CODE' });
    await db.insert(tokens).values({ id: newId(), userId, kind: 'API', name: 'é "', hash: Buffer.from([0, 255]) });
    const allJobs = preparedByShape((of, _, name) => of.select().from(jobs).orderBy(jobs.id).prepare(name));
    expect(await allJobs(db, {}).execute()).toEqual(await db.select().from(jobs).orderBy(jobs.id));
    const joined = (of: typeof db) =>
      of
        .select({ id: tokens.id, bytes: tokens.hash, text: sql<string>`encode(${tokens.hash}, 'hex')`, user: users })
        .from(tokens)
        .innerJoin(users, eq(users.id, tokens.userId));
    const owners = preparedByShape((of, _, name) => joined(of).prepare(name));
    expect(await owners(db, {}).execute()).toEqual(await joined(db));
    const lateral = (of: typeof db) => {
      const newest = of.select().from(jobs).where(sql`${jobs.userId} = asked.id`).orderBy(desc(jobs.id)).limit(1);
      return of.select().from(sql`unnest(ARRAY[${userId}::uuid]) AS asked (id)`).crossJoinLateral(newest.as('newest'));
    };
    const newest = preparedByShape((of, _, name) => lateral(of).prepare(name));
    expect(await newest(db, {}).execute()).toEqual(await lateral(db));
  });

  test('are those of the builder for an outer join, whose objects can be missing', async () => {
    const { db } = database;
    const outer = (of: typeof db) =>
      of.select().from(jobs).leftJoin(workflows, eq(workflows.id, jobs.workflowId)).orderBy(jobs.id);
    const query = preparedByShape((of, _, name) => outer(of).prepare(name));
    const rows = await query(db, {}).execute();
    expect(rows).toEqual(await outer(db));
    expect(rows[0]?.workflows).toBeNull();
  });

  test('have the times that JavaScript reads from the same texts', async () => {
    const { db } = database;
    const texts = ['2026-01-31 12:00:00+00', '2026-01-31 12:00:00.1+00', '1969-12-31 23:59:59.999999+00'];
    const edges = ['0001-01-01 00:00:00+00', '9999-12-31 23:59:59.999+00', '2024-02-29 00:00:00.000001+00'];
    const query = preparedByShape((of, _, name) =>
      of.select({ at: users.createdAt }).from(users).where(eq(users.id, userId)).prepare(name),
    );
    for (const text of [...texts, ...edges]) {
      await db
        .update(users)
        .set({ createdAt: sql`${text}::timestamptz` })
        .where(eq(users.id, userId));
      expect(await query(db, {}).execute(), text).toEqual([{ at: new Date(text) }]);
    }
  });

  test('are read in the transaction that asks', async () => {
    const { db } = database;
    const query = preparedByShape((of, _, name) => of.select({ id: users.id }).from(users).prepare(name));
    const before = (await query(db, {}).execute()).length;
    await db.transaction(async (tx) => {
      await testUser(tx, 'bob');
      expect(await query(tx, {}).execute()).toHaveLength(before + 1);
      expect(await query(db, {}).execute()).toHaveLength(before);
    });
  });
});
