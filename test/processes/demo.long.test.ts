import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { testDatabase, testUser } from '../support/database.ts';
import { requirePart } from '../support/parts.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { demo, WITHOUT_ENGINE } from './support.ts';

afterEach(cleanUp);

const dockerHost = requirePart('docker', "the demo's CONTAINER workflow when its image is missing");

describe('the demo', () => {
  test('finds its user and its workflow again at a second start', async () => {
    const env = { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder() };
    for (let start = 0; start < 2; start++) expect((await demo(['--once'], env).exit()).code).toBe(0);
    const third = demo([], env);
    await third.line(({ event }) => event === 'ready', 'the ready line');
    await expect.poll(third.output, { timeout: 20_000 }).toContain('password  ');
    expect(await third.kill('SIGINT')).toEqual({ code: 0, signal: null });
  });

  test('leaves the first account of a server in the same folder to the person who signs up there', async () => {
    const env = { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder() };
    const once = demo(['--once'], { ...env, LOG_FORMAT: 'pretty' });
    expect((await once.exit()).code).toBe(0);
    expect(once.output()).toMatch(
      /^ {2}mutation \{ signIn\(input: \{ email: "demo@example.com", password: "[-\w]+" \}\) /m,
    );
    expect(once.output()).toMatch(/^ {2}e-mail {4}demo@example.com$/m);
    expect(once.output()).toMatch(/audit: createWorkflow DONE, user [-0-9a-f]+, on [-0-9a-f]+, from 127\.0\.0\.1$/m);
    expect(once.output()).not.toMatch(/tokenKind|changes/);
    const server = startProcess(['up'], { PORT: '0', ...env });
    const input = { email: 'me@example.com', password: 'a long enough password' };
    const signUp = 'mutation ($input: SignUpInput!) { signUp(input: $input) { user { administrator } } }';
    expect(await ask(await server.ready(), signUp, { variables: { input } })).toEqual({
      signUp: { user: { administrator: true } },
    });
    expect(await server.kill('SIGINT')).toEqual({ code: 0, signal: null });
  }, 90_000);

  test('works if sign-up is closed because another account exists', async () => {
    const database = await testDatabase();
    await testUser(database.db, 'ann');
    const keys = { DATABASE_URL: database.url, SECRET_KEY: '00'.repeat(32) };
    const once = demo(['--once'], { ...WITHOUT_ENGINE, ...keys, DATA_DIR: await tempFolder() });
    expect((await once.exit()).code, once.output()).toBe(0);
    await database.close();
  });

  test('takes a free port if its own is taken, and says so', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const once = demo(['--once'], { ...WITHOUT_ENGINE, DATA_DIR: await tempFolder(), PORT: String(port) });
    expect(await once.exit()).toEqual({ code: 0, signal: null });
    expect(once.output()).toContain(`Port ${port} is taken, so the demo takes a free one.`);
    await new Promise((resolve) => taken.close(resolve));
  });

  test.skipIf(dockerHost === undefined)('ends with 1 and the reason when a job does not complete', async () => {
    const env = { DATA_DIR: await tempFolder(), DOCKER_HOST: dockerHost ?? '', DEMO_IMAGE: 'localhost:1/nothing:here' };
    const once = demo(['--once'], env);
    expect((await once.exit()).code, once.output()).toBe(1);
    expect(once.output()).toMatch(
      /^The container did not complete: its build waits: The registry localhost:1 could not be reached\.$/m,
    );
  });
});
