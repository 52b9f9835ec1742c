import pino from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { startApi } from '../../api/server.ts';
import { createUser } from '../../db/accounts/accounts.ts';
import { connect } from '../../db/client.ts';
import { users } from '../../db/schema.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { testSealer } from '../support/workers.ts';
import { type Answer, codes, query, type TestApi, testApi } from './support.ts';

const SIGN_UP =
  'mutation ($input: SignUpInput!) { signUp(input: $input) { user { email administrator } token userErrors { code } } }';

let api: TestApi | undefined;
let database: TestDatabase | undefined;
afterEach(async () => {
  await api?.close();
  await database?.close();
  api = database = undefined;
});

function signUp(to: { url: string }, email: string, password = 'correct horse'): Promise<Answer> {
  return query(to, SIGN_UP, { variables: { input: { email, password } } });
}

describe('SIGN_UP', () => {
  test('first makes the first account the administrator, then gives everyone the same refusal', async () => {
    api = await testApi({ signUp: 'first' });
    const { data } = await signUp(api, 'ann@example.com');
    expect(data.signUp).toMatchObject({ user: { administrator: true }, token: expect.any(String), userErrors: [] });
    const known = await signUp(api, 'ann@example.com');
    expect(codes(known)).toEqual(['FORBIDDEN']);
    expect(known.errors?.[0]?.message).toMatch(/SIGN_UP.*chronoverse users create/);
    expect(await signUp(api, 'bob@example.com')).toEqual(known);
    expect(await signUp(api, 'no address', 'x')).toEqual(known);
    expect(await api.db.$count(users)).toBe(1);
  });

  test('is first by default', async () => {
    api = await testApi({ signUp: undefined });
    expect(codes(await signUp(api, 'ann@example.com'))).toEqual([]);
    expect(codes(await signUp(api, 'bob@example.com'))).toEqual(['FORBIDDEN']);
  });

  test('closed refuses everyone, even the first', async () => {
    api = await testApi({ signUp: 'closed' });
    expect(codes(await signUp(api, 'ann@example.com'))).toEqual(['FORBIDDEN']);
    expect(await api.db.$count(users)).toBe(0);
  });

  test('open accepts everyone, and only the first becomes the administrator', async () => {
    api = await testApi({ signUp: 'open' });
    expect((await signUp(api, 'ann@example.com')).data.signUp.user.administrator).toBe(true);
    expect((await signUp(api, 'bob@example.com')).data.signUp.user.administrator).toBe(false);
  });

  test('first accepts one of many who sign up at once on two servers', async () => {
    api = await testApi({ signUp: 'first' });
    const { db, bus, cache } = api;
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 60 };
    const log = pino({ level: 'silent' });
    const second = await startApi({ db, bus, cache, log, sealer: testSealer, settings });
    const servers = [api, second];
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, n) => signUp(servers[n % 2] ?? second, `${n}@example.com`)),
    );
    await second.close();
    const made = answers.filter((answer) => answer.data?.signUp?.token);
    expect(made).toHaveLength(1);
    expect(answers.flatMap(codes)).toEqual(Array(15).fill('FORBIDDEN'));
    expect(await api.db.select({ administrator: users.administrator }).from(users)).toEqual([{ administrator: true }]);
  });

  test('first holds for any number of connections that insert at the same instant', async () => {
    database = await testDatabase();
    const { url, db } = database;
    const pools = Array.from({ length: 4 }, () => connect(url, { max: 8, application: 'chronoverse-test' }));
    const outcomes = await Promise.all(
      Array.from({ length: 64 }, (_, n) =>
        createUser(pools[n % 4]?.db ?? db, { email: `${n}@example.com`, passwordHash: '!' }, { onlyFirst: true }),
      ),
    );
    await Promise.all(pools.map((pool) => pool.close()));
    expect(outcomes.filter((outcome) => outcome === 'CLOSED')).toHaveLength(63);
    expect(await db.select({ administrator: users.administrator }).from(users)).toEqual([{ administrator: true }]);
  });

  test('open makes one administrator of many first accounts at once', async () => {
    database = await testDatabase();
    const { url, db } = database;
    const pool = connect(url, { max: 16, application: 'chronoverse-test' });
    await Promise.all(
      Array.from({ length: 64 }, (_, n) => createUser(pool.db, { email: `${n}@example.com`, passwordHash: '!' })),
    );
    await pool.close();
    const rows = await db.select({ administrator: users.administrator }).from(users);
    expect(rows).toHaveLength(64);
    expect(rows.filter(({ administrator }) => administrator)).toHaveLength(1);
  });
});
