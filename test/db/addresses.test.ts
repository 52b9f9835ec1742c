import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../../db/client.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
let folder: string;
const closing: (() => void)[] = [];
beforeAll(async () => {
  database = await testDatabase();
  folder = await mkdtemp(join(tmpdir(), 'cv-socket-')); // the path of a socket must be short
});
afterAll(async () => {
  for (const close of closing) close();
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

/** The database of the test at one more address, where `listen` is what a server listens on. */
async function alsoAt(listen: { host: string; port: number } | { path: string }): Promise<number> {
  const real = new URL(database.url);
  const server = createServer((client) => {
    const upstream = connectTcp(Number(real.port), real.hostname);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(listen, resolve));
  closing.push(() => server.close());
  const at = server.address();
  return typeof at === 'object' && at !== null ? at.port : 0;
}

async function nameOfZone(url: string): Promise<unknown> {
  const connection = connect(url, { max: 1, application: 'test' });
  const [row] = await connection.db.execute(sql`SELECT current_setting('TimeZone') AS zone`);
  await connection.close();
  return row?.zone;
}

test('an IPv6 address and a Unix socket are found, and the URL changes no setting that we rely on', async () => {
  const { username, password, pathname } = new URL(database.url);
  const as = `postgres://${username}:${password}@`;
  const port = await alsoAt({ host: '::1', port: 0 });
  expect(await nameOfZone(`${as}[::1]:${port}${pathname}?timezone=Europe/Berlin`)).toBe('UTC');
  await alsoAt({ path: join(folder, '.s.PGSQL.5432') });
  expect(await nameOfZone(`${as}${encodeURIComponent(folder)}${pathname}`)).toBe('UTC');
  expect(await nameOfZone(`${as}${pathname}?host=${folder}`)).toBe('UTC');
});
