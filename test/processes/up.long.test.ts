import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { isAlive, processIdentity } from '../../platform/process-identity.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';

afterEach(cleanUp);

const SIGN_UP =
  'mutation { signUp(input: {email: "ann@example.com", password: "correct horse"}) { token userErrors { message } } }';
const SIGN_IN =
  'mutation { signIn(input: {email: "ann@example.com", password: "correct horse"}) { token userErrors { message } } }';

function up(folder: string, env: Record<string, string> = {}) {
  return startProcess(['up'], { PORT: '0', DATA_DIR: folder, ...env });
}

async function serverPid(folder: string): Promise<number> {
  return Number.parseInt(await readFile(join(folder, 'postgres', 'postmaster.pid'), 'utf8'), 10);
}

describe('chronoverse up', () => {
  test('stops its database together with itself on a Ctrl-C, and finds its data at the next start', async () => {
    const folder = await tempFolder();
    const first = up(folder);
    const { signUp } = await ask(await first.ready(), SIGN_UP);
    expect(signUp).toMatchObject({ userErrors: [] });
    const server = await serverPid(folder);
    expect(await first.kill('SIGINT')).toEqual({ code: 0, signal: null });
    expect(isAlive(server)).toBe(false);

    const second = up(folder);
    const { signIn } = await ask(await second.ready(), SIGN_IN);
    expect(signIn).toMatchObject({ token: expect.any(String), userErrors: [] });
  });

  test('finds its data after a SIGKILL, and leaves no second database behind', async () => {
    const folder = await tempFolder();
    const first = up(folder);
    await ask(await first.ready(), SIGN_UP);
    const server = await serverPid(folder);
    expect(await first.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });

    const second = up(folder);
    const { signIn } = await ask(await second.ready(), SIGN_IN);
    expect(signIn).toMatchObject({ token: expect.any(String) });
    expect(await processIdentity(server)).toBeUndefined();
  });

  test('starts its database again if the database is killed', async () => {
    const folder = await tempFolder();
    const process_ = up(folder);
    const url = await process_.ready();
    process.kill(await serverPid(folder), 'SIGKILL');
    await process_.line(({ msg }) => String(msg).includes('is started again'), 'the restart');
    const isReady = async () => (await fetch(new URL('/health', url))).status;
    await expect.poll(isReady, { timeout: 20_000 }).toBe(200);
    expect(await ask(url, SIGN_UP)).toMatchObject({ signUp: { userErrors: [] } });
  });

  test('refuses a folder that another process holds, which continues undisturbed', async () => {
    const folder = await tempFolder();
    const first = up(folder);
    const url = await first.ready();
    const second = up(folder);
    expect(await second.exit()).toEqual({ code: 2, signal: null });
    expect(second.output()).toContain(`${folder} is in use by the process ${first.pid}`);
    expect(await ask(url, '{ viewer { id } }')).toEqual({ viewer: null });
  });

  test('ends with 0 if it is stopped while it starts', async () => {
    const process = up(await tempFolder());
    await process.line(({ part }) => part === 'database', 'the first part');
    expect(await process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  test('warns of a misspelt setting, and starts', async () => {
    const process = up(await tempFolder(), { DEMO_IMGAE: 'busybox' });
    await process.ready();
    expect(process.log.map(({ msg }) => msg)).toContain(
      'DEMO_IMGAE is no setting and is not used: did you mean DEMO_IMAGE?',
    );
  });
});
