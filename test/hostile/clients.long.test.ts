import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { ask, cleanUp, type Running, startProcess, tempFolder } from '../support/processes.ts';

const CLIENTS = 200;
const LOAD_SECONDS = Number(process.env.HOSTILE_SECONDS ?? 11); // a lease is renewed every 10 s
const ANSWER_MS_MAX = 1_000;
/** The limit for the slowest answer: the clients and the database share the same cores. */
const SLOWEST_MS_MAX = 5_000;

describe('200 clients without an account that do their worst', () => {
  let database: TestDatabase;
  let up: Running;
  let url: string;
  let token: string;
  let silent: Server;
  beforeAll(async () => {
    database = await testDatabase();
    const env = {
      DATA_DIR: await tempFolder(),
      PORT: '0',
      DATABASE_URL: database.url,
      SECRET_KEY: '11'.repeat(32),
      HEARTBEAT_ALLOW: 'loopback',
      LOG_LEVEL: 'info',
    };
    up = startProcess(['up'], env);
    url = await up.ready();
    const input = { email: 'ann@example.com', password: 'the password of ann' };
    const signedUp = await ask(url, 'mutation ($input: SignUpInput!) { signUp(input: $input) { token } }', {
      variables: { input },
    });
    token = (signedUp.signUp as { token: string }).token;
    silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
  });
  afterAll(async () => {
    silent?.close();
    await cleanUp();
    await database?.close();
  });

  test('P12: delay no answer to a signed-in user by a second, and no renewal of a lease', async () => {
    const { port } = silent.address() as { port: number };
    const input = {
      name: 'waits',
      payload: { heartbeat: { endpoint: `http://127.0.0.1:${port}/`, timeoutSeconds: 60 } },
      interval: 60,
      maxConsecutiveJobFailuresAllowed: 3,
    };
    await ask(
      url,
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { userErrors { message } } }',
      { token, variables: { input } },
    );
    await expect.poll(() => lease()).toMatchObject({ status: 'RUNNING' });
    const before = await lease();

    const load = spawn('node_modules/.bin/tsx', ['test/hostile/load.ts', url, String(CLIENTS), String(LOAD_SECONDS)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let statuses = '';
    load.stdout.on('data', (chunk) => {
      statuses += chunk;
    });
    const over = once(load, 'exit');
    let running = true;
    void over.then(() => {
      running = false;
    });
    const waits: number[] = [];
    const shares: number[] = [];
    while (running) {
      const started = performance.now();
      await ask(url, '{ jobs(first: 20) { nodes { id status workflow { id name } } } }', { token });
      waits.push(performance.now() - started);
      shares.push(timesSlower());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const after = await lease();
    waits.sort((a, b) => a - b);
    // The clients did send requests.
    expect(JSON.parse(statuses)).toMatchObject({ 429: expect.any(Number) });
    expect(after).toMatchObject({ status: 'RUNNING', attempt: before?.attempt });
    expect(after?.expires).toBeGreaterThan(before?.expires ?? Number.NaN);
    const slower = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    expect(waits[Math.floor(waits.length * 0.95)]).toBeLessThan(ANSWER_MS_MAX * slower);
    expect(waits.at(-1)).toBeLessThan(SLOWEST_MS_MAX * slower);
  });

  async function lease() {
    const [row] = await database.db.execute<{ status: string; attempt: number; expires: number }>(
      sql`SELECT status, attempt, extract(epoch FROM lease_expires_at)::float8 AS expires FROM jobs ORDER BY id DESC LIMIT 1`,
    );
    return row;
  }
});

/**
 * How many times longer a moment's work takes here than on a free core: other tests may run beside
 * this one.
 */
function timesSlower(): number {
  const started = performance.now();
  const before = process.cpuUsage();
  const cpuMs = () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  while (cpuMs() < 5);
  return Math.max(1, (performance.now() - started) / cpuMs());
}
