import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { steadyPort } from '../support/ports.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { proxyTo } from '../support/proxy.ts';
import { untilSlow } from '../support/time.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(cleanUp);
afterAll(() => database.close());

const ACCOUNT = 'email: "ann@example.com", password: "correct horse"';

describe('the log of a server at level info', () => {
  test('an outage of the database is one line when it begins and one when it ends, whatever asks meanwhile', async () => {
    const { hostname, port, pathname, username, password } = new URL(database.url);
    const proxy = await proxyTo(hostname, Number(port));
    const server = startProcess(['up'], {
      DATABASE_URL: `postgres://${username}:${password}@127.0.0.1:${proxy.port}${pathname}`,
      SECRET_KEY: 'ab'.repeat(32),
      PORT: '0',
      DATA_DIR: await tempFolder(),
    });
    const url = await server.ready();
    const begun = server.log.length;
    proxy.cut();
    for (let n = 0; n < 3; n++)
      await ask(url, `mutation { signIn(input: {${ACCOUNT}}) { token } }`).catch(() => undefined);
    await server.line(({ msg }) => String(msg).startsWith('The database cannot be used'), 'the begin');
    proxy.restore();
    const end = await server.line(({ msg }) => msg === 'The database can be used again.', 'the end');
    expect(end.outageMs).toBeGreaterThan(0);
    const lines = server.log.slice(begun).map(({ msg }) => msg);
    expect(lines).toEqual([
      expect.stringMatching(
        /^The database cannot be used \(E?[A-Z_]+\)\. What needs it waits and goes on by itself\.$/,
      ),
      'The database can be used again.',
    ]);
    await server.kill('SIGTERM');
    await proxy.close();
  });

  test('reports each failed job and each sign-in once, and no line is longer than 4 KB', async () => {
    const server = startProcess(['up'], { PORT: '0', DATA_DIR: await tempFolder() });
    const url = await server.ready();
    const { signUp } = await ask(url, `mutation { signUp(input: {${ACCOUNT}}) { token } }`);
    const { token } = z.object({ token: z.string() }).parse(signUp);
    await ask(url, `mutation { signIn(input: {${ACCOUNT}}) { token } }`);
    const endpoint = `tcp://${'a'.repeat(63)}.invalid:1`;
    await ask(
      url,
      `mutation { createWorkflow(input: {name: "${'long '.repeat(50)}", interval: 60, maxConsecutiveJobFailuresAllowed: 5,
        payload: {heartbeat: {endpoint: "${endpoint}"}}}) { workflow { id } } }`,
      { token },
    );
    const failed = await server.line(({ event }) => event === 'job failed', 'the failed job');
    expect(failed).toMatchObject({ level: 'info', reason: expect.any(String), jobId: expect.any(String) });
    await untilSlow('the sign-in', async () => server.log.some(({ action }) => action === 'signIn'));
    // A terminal that was closed stops it in good order too.
    expect(await server.kill('SIGHUP')).toEqual({ code: 0, signal: null });
    expect(server.log.filter(({ event }) => event === 'job failed')).toHaveLength(1);
    expect(server.log.filter(({ action }) => action === 'signIn')).toHaveLength(1);
    for (const line of server.output().split('\n')) expect(Buffer.byteLength(line)).toBeLessThan(4_096);
  });

  test.each(['json', 'pretty'])('may go to a full disk, which does not end the server: %s', async (format) => {
    const port = await steadyPort();
    const full = await open('/dev/full', 'w');
    const env = { PATH: process.env.PATH, LOG_FORMAT: format, PORT: String(port), DATA_DIR: await tempFolder() };
    const server = spawn(process.execPath, ['bin/chronoverse.js', 'up'], {
      env,
      stdio: ['ignore', full.fd, 'inherit'],
    });
    const ended = once(server, 'exit');
    await full.close();
    const isUp = () =>
      fetch(`http://127.0.0.1:${port}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    await untilSlow('it works', isUp);
    server.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  });
});
