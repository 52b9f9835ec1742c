import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { withDatabase } from '../support/global-setup.ts';
import { oldDatabase } from '../support/old-database.ts';
import { cleanUp, startProcess } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';

const name = `cvtest_${randomBytes(8).toString('hex')}`;
const admin = postgres(inject('adminUrl'), { max: 1, onnotice: () => undefined });
const env = {
  DATABASE_URL: withDatabase(inject('adminUrl'), name),
  KAFKA_BROKERS: '127.0.0.1:1', // never asked: the database comes first
  REDIS_URL: 'redis://127.0.0.1:1',
  SECRET_KEY: '00'.repeat(32),
};

beforeAll(() => admin.unsafe(`CREATE DATABASE ${name}`));
afterEach(cleanUp);
afterAll(async () => {
  await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`);
  await admin.end({ timeout: 5 });
});

/** The order matters: each test finds the database as the one before has left it. */
describe.sequential('a database that is not at its version', () => {
  test.each([['api'], ['worker', 'scheduling', 'joblogs']])(
    'is refused by %s, which names migrate',
    async (...args) => {
      const refused = startProcess(args, { ...env, PORT: '0' });
      expect(await refused.exit()).toEqual({ code: 2, signal: null });
      expect(refused.output()).toMatch(
        /The database is at version 0 and this program needs \d+: run `chronoverse migrate`/,
      );
    },
  );

  test('is migrated to it by migrate', async () => {
    const migration = startProcess(['migrate'], env);
    expect(await migration.exit()).toEqual({ code: 0, signal: null });
    expect(migration.output()).toContain('migrations: applied 0001_');
  });

  test('is not changed by a second migrate', async () => {
    const migration = startProcess(['migrate'], env);
    expect(await migration.exit()).toEqual({ code: 0, signal: null });
    expect(migration.output()).toContain('the database is at the right version');
  });

  test('that is newer is refused too, with instructions', async () => {
    const client = postgres(env.DATABASE_URL, { max: 1 });
    await client`INSERT INTO schema_migrations (version, name) VALUES (9999, 'of_the_future')`;
    await client.end();
    for (const args of [['api'], ['migrate'], ['up']]) {
      const refused = startProcess(args, { ...env, PORT: '0' });
      expect(await refused.exit(), args[0]).toEqual({ code: 2, signal: null });
      expect(refused.output()).toContain('start a newer program');
      expect(refused.output()).not.toContain('"stack"');
    }
  });

  test('with a wrong password is refused with a message and without waiting', async () => {
    const url = new URL(env.DATABASE_URL);
    url.username = 'nobody';
    const refused = startProcess(['migrate'], { ...env, DATABASE_URL: url.href });
    expect(await refused.exit()).toEqual({ code: 2, signal: null });
    expect(refused.output()).toMatch(/^The database at .* cannot be used: .*Check DATABASE_URL\.$/m);
  });
});

describe('a database that cannot be used', () => {
  const refusedWith = async (args: string[], url: string) => {
    const refused = startProcess(args, { ...env, DATABASE_URL: url, PORT: '0' });
    const { code } = await refused.exit();
    expect(refused.output()).not.toMatch(/"stack"|^ {4}at /m);
    return { code, output: refused.output() };
  };

  test('is refused with 1 and a sentence while nothing listens there, by every process', async () => {
    const url = 'postgres://chronoverse:secret@127.0.0.1:1/chronoverse';
    // At the same time, because each of them waits for half a minute.
    await Promise.all(
      ['migrate', 'up', 'api'].map(async (process) => {
        const { code, output } = await refusedWith([process], url);
        expect(code, process).toBe(1);
        expect(output).toMatch(
          /^The database at 127\.0\.0\.1:1\/chronoverse cannot be used: .*ECONNREFUSED.*Check DATABASE_URL\.$/m,
        );
        expect(output).not.toContain('secret');
      }),
    );
  });

  test('is refused with 2 and a sentence where the user may not create tables', async () => {
    const other = `cvtest_${randomBytes(8).toString('hex')}`;
    await admin.unsafe(`CREATE DATABASE ${other}`);
    await admin.unsafe(`CREATE ROLE ${other} LOGIN PASSWORD 'secret'`);
    try {
      const url = new URL(withDatabase(inject('adminUrl'), other));
      url.username = other;
      url.password = 'secret';
      for (const args of [['migrate'], ['up']]) {
        const { code, output } = await refusedWith(args, url.href);
        expect(code, output).toBe(2);
        expect(output).toMatch(/permission denied for .* \(42501\)\. Give its user the right to create tables/);
      }
    } finally {
      await admin.unsafe(`DROP DATABASE ${other} WITH (FORCE)`);
      await admin.unsafe(`DROP ROLE ${other}`);
    }
  });
});

test('that is half migrated when a signal comes is no success, and is completed by the next call', async () => {
  const database = await oldDatabase();
  const reader = postgres(database.url, { max: 1 });
  try {
    await reader.unsafe('BEGIN; SELECT count(*) FROM users');
    const stopped = startProcess(['migrate'], { ...env, DATABASE_URL: database.url });
    await untilSlow('it waits', async () => stopped.output().includes('waits for a lock'));
    expect(await stopped.kill('SIGTERM')).toEqual({ code: 1, signal: null });
    const refused = startProcess(['api'], { ...env, DATABASE_URL: database.url, PORT: '0' });
    expect(await refused.exit()).toEqual({ code: 2, signal: null });
    await reader.end();
    const migration = startProcess(['migrate'], { ...env, DATABASE_URL: database.url });
    expect(await migration.exit()).toEqual({ code: 0, signal: null });
    expect(migration.output()).toContain('migrations: applied 0004_');
  } finally {
    await reader.end();
    await database.close();
  }
});
