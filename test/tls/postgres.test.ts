import { execFileSync } from 'node:child_process';
import { appendFile, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../db/client.ts';
import { connectionProblem } from '../../db/connection-check.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import type { TlsMaterial } from '../../platform/pem.ts';
import { startEmbeddedPostgres } from '../../platform/postgres/embedded.ts';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts';
import { hasCommand } from '../support/servers.ts';
import { until } from '../support/time.ts';

const isMissing = !(await hasCommand('openssl', 'TLS to PostgreSQL'));
describe.skipIf(isMissing)('a PostgreSQL reached by TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  let own: Certificate;
  let dir: string;
  let server: Awaited<ReturnType<typeof startEmbeddedPostgres>>;
  beforeAll(async () => {
    [authority, stranger] = [await makeAuthority(), await makeAuthority('Another authority')];
    own = authority.issue('client', ['DNS:client.test']);
    dir = await mkdtemp(join(tmpdir(), 'chronoverse-postgres-'));
    const folder = join(dir, 'postgres');
    const log = pino({ level: 'silent' });
    const onLost = (error: Error) => {
      throw error;
    };
    server = await startEmbeddedPostgres({ folder, password: 'test', log, onLost });
    const { certFile, keyFile } = authority.issue('postgres', ['IP:127.0.0.1']);
    // Copied into the server's own files, so that they belong to its user.
    for (const [from, to] of [
      [certFile, 'server.crt'],
      [keyFile, 'server.key'],
      [authority.caFile, 'root.crt'],
    ] as const) {
      await copyFile(join(folder, 'PG_VERSION'), join(folder, to));
      await copyFile(from, join(folder, to));
      execFileSync('chown', ['--reference', join(folder, 'PG_VERSION'), join(folder, to)]);
      execFileSync('chmod', ['600', join(folder, to)]);
    }
    const hba = join(folder, 'pg_hba.conf');
    const lines = (await readFile(hba, 'utf8')).replace(/^host\b/gm, '#host');
    await writeFile(hba, lines);
    await appendFile(hba, 'hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n');
    const admin = postgres(server.url, { max: 1 });
    for (const setting of ["ssl = 'on'", "ssl_ca_file = 'root.crt'"]) await admin.unsafe(`ALTER SYSTEM SET ${setting}`);
    await admin`SELECT pg_reload_conf()`;
    await admin.end();
    await until('it refuses connections without TLS', async () => (await reach(server.url)) !== 'up');
  });
  afterAll(async () => {
    await server?.close();
    await rm(dir, { recursive: true, force: true });
    await Promise.all([authority?.close(), stranger?.close()]);
  });

  async function reach(url: string, tls?: TlsMaterial): Promise<string> {
    const { db, close } = connect(url, { max: 1, application: 'chronoverse-test', tls });
    try {
      // The refusal of our certificate may arrive while we write, and a reset may hide it. A
      // process that waits for the database asks again, so this does too.
      const why = await until('it says more than that it was reset', async () => {
        const said = await connectionProblem(db);
        return said?.passes && /ECONNRESET|EPIPE/.test(said.message) ? undefined : { said };
      }).then(({ said }) => said);
      if (why !== undefined) return `${why.passes ? 'waits: ' : ''}${why.message}`;
      const [row] = await db.execute<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
      return row?.ssl ? 'up' : 'up without TLS';
    } finally {
      await close();
    }
  }
  const withMode = (mode: string, url = server.url) => `${url}?sslmode=${mode}`;

  test('serves a client whose certificate it knows, including migrations', async () => {
    const tls = { ca: authority.ca, cert: own.cert, key: own.key };
    for (const url of [withMode('verify-full'), withMode('verify-ca'), withMode('require'), server.url]) {
      expect(await reach(url, tls)).toBe('up');
    }
    expect(await migrate(withMode('verify-full'), { tls })).not.toEqual([]);
    // As in libpq, this is encrypted but not verified.
    expect(await reach(withMode('require'), { cert: own.cert, key: own.key })).toBe('up');
  });

  test('is not used, or refuses us, if one side does not trust the other: a message says what to set', async () => {
    const { cert, key } = own;
    const full = withMode('verify-full');
    const unknown = /^[^w].*Set DATABASE_TLS_CA to/;
    expect(await reach(full, { cert, key })).toMatch(unknown);
    for (const url of [full, withMode('verify-ca'), withMode('require'), server.url]) {
      expect(await reach(url, { ca: stranger.ca, cert, key })).toMatch(unknown);
    }
    const named = (mode: string) => withMode(mode, server.url.replace('127.0.0.1', 'localhost'));
    expect(await reach(named('verify-full'), { ca: authority.ca, cert, key })).toMatch(
      /certificate is for other names/,
    );
    expect(await reach(named('verify-ca'), { ca: authority.ca, cert, key })).toBe('up');
    expect(await reach(full, { ca: authority.ca })).toMatch(/certificate/);
    const other = stranger.issue('client', ['DNS:client.test']);
    expect(await reach(full, { ca: authority.ca, cert: other.cert, key: other.key })).toMatch(/DATABASE_TLS_CERT/);
    expect(await reach(withMode('disable'))).toMatch(/no encryption/);
  });
});
