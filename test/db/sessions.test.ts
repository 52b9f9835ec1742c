import { randomBytes } from 'node:crypto';
import { and, eq, isNull } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { disableUser, enableUser, setPassword } from '../../db/accounts/accounts.ts';
import { createSession, listSessions } from '../../db/accounts/sessions.ts';
import { connect } from '../../db/client.ts';
import { users } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

describe('a session', () => {
  let userId: string;
  let email: string;
  beforeEach(async () => {
    userId = newId();
    email = `${userId}@example.com`;
    await database.db.insert(users).values({ id: userId, email, passwordHash: 'former' });
  });

  function begin(passwordHash = 'former') {
    const session = { userId, passwordHash, hash: randomBytes(32), address: '127.0.0.1', userAgent: null };
    const expiresAt = new Date(Date.now() + 86_400_000);
    return createSession(database.db, { ...session, expiresAt }, { countMax: 100 });
  }

  test('is not created with a password that was changed since it was compared', async () => {
    expect(await begin()).toBeDefined();
    expect(await setPassword(database.db, { email, passwordHash: 'new' })).toEqual({ id: userId, sessionsEnded: 1 });
    expect(await begin()).toBeUndefined();
    expect(await begin('new')).toBeDefined();
  });

  test('that is requested during a change of the password waits for the change, and is not created', async () => {
    const pool = connect(database.url, { max: 1, application: 'chronoverse-test' });
    let beginning: ReturnType<typeof begin> | undefined;
    await pool.db.transaction(async (transaction) => {
      await transaction.update(users).set({ passwordHash: 'new' }).where(eq(users.id, userId));
      beginning = begin();
      await expect
        .poll(() =>
          database.db
            .execute('SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = $$Lock$$')
            .then((rows) => rows.length),
        )
        .toBeGreaterThan(0);
    });
    expect(await beginning).toBeUndefined();
    await pool.close();
  });

  test('is not created for a disabled user, and an earlier one is gone when the user is enabled again', async () => {
    await begin();
    expect(await disableUser(database.db, email)).toEqual({ userId });
    expect(await begin()).toBeUndefined();
    expect(await enableUser(database.db, email)).toBe(userId);
    expect(await listSessions(database.db, [userId])).toEqual([]);
    expect(await begin()).toBeDefined();
  });
});

test('if the last two administrators are disabled at once, one of them stays', async () => {
  const emails = ['one@example.com', 'two@example.com'];
  for (const email of emails)
    await database.db.insert(users).values({ id: newId(), email, passwordHash: '!', administrator: true });
  const outcomes = await Promise.all(emails.map((email) => disableUser(database.db, email)));
  expect(outcomes.filter((outcome) => outcome === 'LAST_ADMINISTRATOR')).toHaveLength(1);
  expect(await database.db.$count(users, and(eq(users.administrator, true), isNull(users.disabledAt)))).toBe(1);
});
