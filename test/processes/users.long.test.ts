import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { desc, eq } from 'drizzle-orm';
import pino from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Api, startApi } from '../../api/server.ts';
import { parseCommand } from '../../bin/command-line.ts';
import { StartupError } from '../../bin/startup-error.ts';
import { auditEvents, tokens, users } from '../../db/schema.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import { openDataDir } from '../../platform/data-dir.ts';
import { codes, query, socketOf, taker } from '../api/support.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { reportMissing } from '../support/parts.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { testSealer } from '../support/workers.ts';

const SIGN_IN =
  'mutation ($input: SignInInput!) { signIn(input: $input) { user { administrator } token userErrors { code } } }';
const VIEWER = '{ viewer { email } }';
const PASSWORD = 'correct horse';

const script = await promisify(execFile)('script', ['--version']).catch(() => undefined);
if (!script) reportMissing('script (util-linux)', 'typing a password at a terminal');

async function usersCommand(env: Record<string, string>, args: string[], input?: string) {
  const running = startProcess(['users', ...args], env, { input });
  const { code } = await running.exit();
  return { code, output: running.output() };
}

afterEach(cleanUp);

describe('the arguments of chronoverse users', () => {
  test.each([
    [[], /^What to do with users is missing: one of list, create, set-password, disable and enable/],
    [['crate', 'x@example.com'], /did you mean create\?/],
    [['create'], /^The account's email is missing/],
    [['disable', 'no address'], /^The account's email is no email/],
    [['list', 'x@example.com'], /^users list takes --json, and nothing else/],
    [['enable', 'x@example.com', '--admin'], /^users enable takes one email, and nothing else/],
    [['create', 'x@example.com', 'secret-4711'], /one email and --admin, and nothing else. A password is never an arg/],
    [['create', 'x@example.com', '--password=secret-4711'], /A password is never an argument/],
    [['set-password', 'x@example.com', 'secret-4711'], /A password is never an argument/],
  ])('%j are refused with a message that says what is valid', (args, sentence) => {
    const refusal = () => parseCommand(['users', ...args]);
    expect(refusal).toThrow(StartupError);
    expect(refusal).toThrow(sentence);
    expect(refusal).not.toThrow('4711');
  });
});

describe('chronoverse users', () => {
  let database: TestDatabase;
  let api: Api;
  let close: () => Promise<void>;
  beforeAll(async () => {
    database = await testDatabase();
    const log = pino({ level: 'silent' });
    const bus = createMemoryBus({ log });
    const cache = createMemoryCache();
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 60 };
    api = await startApi({ db: database.db, bus, cache, log, sealer: testSealer, settings });
    close = async () => {
      await api.close();
      await bus.close();
      await cache.close();
      await database.close();
    };
  });
  afterAll(() => close());

  const run = (args: string[], input?: string) => usersCommand({ DATABASE_URL: database.url }, args, input);
  const signIn = async (email: string, password = PASSWORD) =>
    (await query(api, SIGN_IN, { variables: { input: { email, password } } })).data.signIn;
  const isValid = async (token: string) => codes(await query(api, VIEWER, { token })).length === 0;

  test.each<Record<string, string>>([{ HOST: '0.0.0.0' }, { PUBLIC_URL: 'https://chronoverse.example' }])(
    'are suggested by a server that others can reach, by %j, and that has no account yet',
    async (reach) => {
      const env = { DATABASE_URL: database.url, SECRET_KEY: '00'.repeat(32), ...reach, PORT: '0' };
      const server = startProcess(['up'], env);
      const line = await server.line(({ msg }) => String(msg).startsWith('There is no account yet'), 'the warning');
      expect(line).toMatchObject({
        level: 'warn',
        msg: expect.stringMatching(/first becomes the .*users create EMAIL/),
      });
      await server.ready();
      expect(await server.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    },
    60_000,
  );

  test('creates accounts, of which the first is the administrator, and lists them', async () => {
    expect(await run(['create', 'Ann@Example.com'], `${PASSWORD}\n`)).toEqual({
      code: 0,
      output: 'ann@example.com has an account, as an administrator.\n',
    });
    expect(await run(['create', 'bob@example.com'], PASSWORD)).toEqual({
      code: 0,
      output: 'bob@example.com has an account.\n',
    });
    expect((await run(['create', 'carol@example.com', '--admin'], `${PASSWORD}\r\n`)).code).toBe(0);
    expect(await signIn('ann@example.com')).toMatchObject({ user: { administrator: true } });
    expect(await signIn('bob@example.com')).toMatchObject({ user: { administrator: false } });
    expect(await signIn('carol@example.com')).toMatchObject({ user: { administrator: true } });

    await database.db.update(tokens).set({ lastUsedAt: new Date('2026-01-02T03:04:05Z') });
    const table = (await run(['list'])).output.split('\n');
    expect(table[0]).toMatch(/^EMAIL +ROLE +STATE +CREATED +LAST USED$/);
    expect(table[1]).toMatch(
      /^ann@example\.com +administrator +enabled +\d{4}-\d\d-\d\dT\d\d:\d\dZ +2026-01-02T03:04Z$/,
    );
    expect(table[2]).toMatch(/^bob@example\.com +user +enabled /);
    const lines = (await run(['list', '--json'])).output.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { email: 'ann@example.com', administrator: true, disabledAt: null },
      { email: 'bob@example.com', administrator: false },
      { email: 'carol@example.com', administrator: true },
    ]);
    expect(lines.join()).not.toContain('argon2');
  });

  test('says what is wrong, and changes nothing', async () => {
    await run(['create', 'ann@example.com'], PASSWORD);
    const wrong = async (args: string[], input?: string) => {
      const { code, output } = await run(args, input);
      return `${code} ${output.trim()}`;
    };
    expect(await wrong(['create', 'ann@example.com'], PASSWORD)).toMatch(/^1 There is an account with the email/);
    expect(await wrong(['set-password', 'nobody@example.com'], PASSWORD)).toMatch(/^1 No account has the email/);
    expect(await wrong(['create', 'x@example.com'], 'short')).toMatch(/^2 The password must have 8 to 200/);
    expect(await wrong(['set-password', 'ann@example.com'], 'Password1')).toMatch(/^2 The password is one of the most/);
    expect(await wrong(['create', 'x@example.com'], '')).toMatch(/^2 No password was given/);
    expect(await wrong(['create', 'x@example.com'], 'two\nlines of it')).toMatch(/^2 Standard input must be/);
    expect(await wrong(['create', 'x@example.com'], 'x'.repeat(5_000))).toMatch(/^2 Standard input must be/);
    expect(await database.db.$count(users, eq(users.email, 'x@example.com'))).toBe(0);
    expect((await signIn('ann@example.com')).token).toMatch(/^cvs_/);
  }, 60_000);

  test('gives an account another password, which ends its sessions', async () => {
    await run(['create', 'dan@example.com'], PASSWORD);
    const { token } = await signIn('dan@example.com');
    const { code, output } = await run(['set-password', 'dan@example.com'], 'a whole new password');
    expect({ code, output }).toEqual({
      code: 0,
      output: 'dan@example.com has the new password; 1 session ended. Its API tokens stay.\n',
    });
    expect(await isValid(token)).toBe(false);
    expect((await signIn('dan@example.com')).userErrors).toEqual([{ code: 'BAD_CREDENTIALS' }]);
    expect((await signIn('dan@example.com', 'a whole new password')).token).toMatch(/^cvs_/);
  });

  test('disables a user: everything open ends within 5 seconds; API tokens work again once the user is enabled', async () => {
    await run(['create', 'ann@example.com'], PASSWORD);
    await run(['create', 'eve@example.com'], PASSWORD);
    const { token } = await signIn('eve@example.com');
    const made = await query(api, 'mutation { createApiToken(input: { name: "ci" }) { secret } }', { token });
    const secret = made.data.createApiToken.secret;
    const workflow = `mutation { createWorkflow(input: { name: "x", payload: { heartbeat: {} }, interval: 60,
      maxConsecutiveJobFailuresAllowed: 1 }) { workflow { id } } }`;
    const { id } = (await query(api, workflow, { token })).data.createWorkflow.workflow;
    const terminatedAt = async () =>
      (await query(api, `{ workflow(id: "${id}") { terminatedAt } }`, { token: secret })).data.workflow.terminatedAt;

    const subscription = 'subscription { notificationAdded { id } }';
    const sockets = [token, secret].map((each) => socketOf(api, each));
    const closed = sockets.map(
      (socket) => new Promise((resolve) => socket.on('closed', (event) => resolve((event as CloseEvent).code))),
    );
    const connected = sockets.map((socket) => new Promise((resolve) => socket.on('connected', resolve)));
    for (const socket of sockets) {
      taker(socket.iterate({ query: subscription }))
        .take()
        .catch(() => undefined);
    }
    await Promise.all(connected);
    const events = await fetch(api.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream', authorization: `Bearer ${secret}` },
      body: JSON.stringify({ query: subscription }),
    });
    const ended = events.text().catch(() => 'cut');

    expect(await run(['disable', 'eve@example.com'])).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^eve@example.com is disabled: /),
    });
    const since = performance.now();
    expect([await isValid(token), await isValid(secret)]).toEqual([false, false]);
    expect((await signIn('eve@example.com')).userErrors).toEqual([{ code: 'BAD_CREDENTIALS' }]);
    expect(await Promise.all(closed)).toEqual([4403, 4403]);
    await ended;
    expect(performance.now() - since).toBeLessThan(20_000); // 5 s, if the machine gives them
    expect((await run(['list'])).output).toMatch(/^eve@example\.com +user +disabled /m);

    expect((await run(['enable', 'eve@example.com'])).code).toBe(0);
    expect([await isValid(token), await isValid(secret)]).toEqual([false, true]);
    expect((await signIn('eve@example.com')).token).toMatch(/^cvs_/);
    expect(await terminatedAt()).toBeNull();
    expect((await run(['disable', 'eve@example.com', '--terminate'])).output).toContain('1 workflow terminated.');
    const [termination] = await database.db
      .select()
      .from(auditEvents)
      .where(eq(auditEvents.objectId, id))
      .orderBy(desc(auditEvents.id));
    expect(termination).toMatchObject({ action: 'users disable --terminate', outcome: 'DONE', actorId: null });
    expect((await run(['enable', 'eve@example.com'])).code).toBe(0);
    expect(await terminatedAt()).not.toBeNull();
  });

  test('keeps the last administrator enabled', async () => {
    await run(['create', 'ann@example.com'], PASSWORD);
    await database.db.update(users).set({ administrator: false });
    await database.db.update(users).set({ administrator: true }).where(eq(users.email, 'ann@example.com'));
    const refused = await run(['disable', 'ann@example.com']);
    expect(refused).toMatchObject({ code: 1, output: expect.stringMatching(/last administrator.*--admin/) });
    expect((await signIn('ann@example.com')).token).toMatch(/^cvs_/);
  });

  test.skipIf(!script)('asks twice at a terminal, and does not show the input', async () => {
    const terminal = async (email: string, answers: string[]) => {
      const command = `${process.execPath} bin/chronoverse.js users create ${email}`;
      const env = { ...process.env, DATABASE_URL: database.url };
      const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], { env });
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
        const asked = output.match(/: /g)?.length ?? 0;
        for (const answer of answers.splice(0, asked + answers.length - 2)) child.stdin.write(`${answer}\r`);
      });
      const code = await new Promise((resolve) => child.once('close', resolve));
      return { code, output };
    };
    const { code, output } = await terminal('tty@example.com', [PASSWORD, PASSWORD]);
    expect(output).toMatch(/New password of tty@example\.com: [\s\S]*Again: [\s\S]*tty@example\.com has an account/);
    expect(output).not.toContain('horse');
    expect(code).toBe(0);
    expect((await signIn('tty@example.com')).token).toMatch(/^cvs_/);
    const other = await terminal('tty2@example.com', [PASSWORD, 'another one 123']);
    expect(other.output).toContain('The two are not the same');
    expect(other.code).toBe(2);
  });
});

describe('chronoverse users with the embedded database', () => {
  test('works before the server starts, so that no client can become the first account, and while it runs', async () => {
    const env = { DATA_DIR: await tempFolder(), DOCKER_HOST: 'unix:///nowhere/docker.sock', PORT: '0' };
    expect(await usersCommand(env, ['create', 'ann@example.com'], PASSWORD)).toEqual({
      code: 0,
      output: expect.stringMatching(
        /^There is no database in .* yet: a new one is made\.\nann@example.com has an account, as an administrator\.\n$/,
      ),
    });
    const server = startProcess(['up'], env);
    const url = await server.ready();
    expect(server.output()).not.toContain('There is no account yet');
    const signUp = 'mutation { signUp(input: { email: "eve@example.com", password: "some password" }) { token } }';
    await expect(ask(url, signUp)).rejects.toThrow(/FORBIDDEN/);
    expect((await usersCommand(env, ['create', 'bob@example.com'], PASSWORD)).code).toBe(0);
    const input = { email: 'bob@example.com', password: PASSWORD };
    expect(await ask(url, SIGN_IN, { variables: { input } })).toMatchObject({ signIn: { userErrors: [] } });
    expect((await usersCommand(env, ['list'])).output).toMatch(/^bob@example\.com /m);
    expect(await server.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }, 90_000);

  test('creates no new database for a query, and does not wait for a folder that another process holds', async () => {
    const env = { DATA_DIR: await tempFolder() };
    const wrong = await usersCommand(env, ['list']);
    expect(wrong).toMatchObject({ code: 2, output: expect.stringMatching(/^There is no database in .*DATA_DIR/) });
    const held = await openDataDir(env.DATA_DIR);
    const taken = await usersCommand(env, ['create', 'ann@example.com'], PASSWORD);
    expect(taken).toMatchObject({ code: 2, output: expect.stringMatching(/is in use, and .*DATABASE_URL/) });
    await held.release();
  });
});
