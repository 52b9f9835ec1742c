import { afterEach, describe, expect, test } from 'vitest';
import { cleanUp, startProcess, tempFolder } from '../support/processes.ts';

afterEach(cleanUp);

const REAL = {
  DATABASE_URL: 'postgres://nobody:nothing@127.0.0.1:1/none',
  KAFKA_BROKERS: '127.0.0.1:1',
  REDIS_URL: 'redis://127.0.0.1:1',
  SECRET_KEY: '00'.repeat(32),
};

async function refusal(args: string[], env: Record<string, string> = {}): Promise<string> {
  const refused = startProcess(args, { DATA_DIR: await tempFolder(), ...env });
  expect(await refused.exit()).toEqual({ code: 2, signal: null });
  return refused.output();
}

describe('an invalid start ends with exit code 2 and a message', () => {
  test('for an unknown command, naming the nearest one', async () => {
    expect(await refusal(['wroker'])).toMatch(/^"wroker" is no command: did you mean worker\? There are up, api, /);
  });

  test('for no command at all', async () => {
    expect(await refusal([])).toMatch(/^A command is missing: one of up, api, /);
  });

  test('for an unknown worker and for none', async () => {
    expect(await refusal(['worker', 'shceduling'])).toMatch(/^"shceduling" is no worker: did you mean scheduling\?/);
    expect(await refusal(['worker'])).toMatch(/^The name of a worker is missing: /);
  });

  test('for an unknown argument', async () => {
    expect(await refusal(['up', '--port=1'])).toMatch(/^"--port=1" is not understood: up takes no argument;/);
  });

  test('for every invalid setting, all at once', async () => {
    const output = await refusal(['up'], { PORT: 'http', MAX_JOB_SECONDS: '-5' });
    expect(output).toMatch(/^PORT is "http": it must be a whole number from 0 to 65535, for example PORT=4000$/m);
    expect(output).toMatch(/^MAX_JOB_SECONDS is "-5": /m);
  });

  test('for a separate process that lacks real parts, naming each', async () => {
    const output = await refusal(['api'], { KAFKA_BROKERS: '127.0.0.1:9092' });
    for (const name of ['DATABASE_URL', 'REDIS_URL', 'SECRET_KEY']) expect(output).toContain(`${name} is missing (`);
    expect(output).not.toContain('KAFKA_BROKERS is missing');
  });

  test('for a real database without a key that other processes have too', async () => {
    expect(await refusal(['up'], { DATABASE_URL: REAL.DATABASE_URL })).toMatch(/^SECRET_KEY is missing /);
  });
});

describe('commands that need no part', () => {
  test('--help names every command and setting', async () => {
    const help = startProcess(['--help'], { PORT: 'wrong' });
    expect(await help.exit()).toEqual({ code: 0, signal: null });
    for (const word of ['up', 'api', 'worker NAME', 'migrate', 'demo', 'HEARTBEAT_ALLOW'])
      expect(help.output()).toContain(word);
  });

  test('--version prints the version of package.json', async () => {
    const version = startProcess(['--version'], {});
    await version.exit();
    expect(version.output().trim()).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
