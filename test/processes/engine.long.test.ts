import { existsSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { requirePart } from '../support/parts.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';

afterEach(cleanUp);

const SIGN_UP =
  'mutation { signUp(input: {email: "ann@example.com", password: "correct horse"}) { token userErrors { message } } }';

const engine = requirePart('docker', 'an engine that comes up after the start')?.replace(/^unix:\/\//, '');

describe.skipIf(engine === undefined || existsSync('/var/run/docker.sock'))('without DOCKER_HOST', () => {
  test('an engine whose usual socket appears after the start is found without a restart', async () => {
    const home = await tempFolder();
    const process = startProcess(['up'], { PORT: '0', DATA_DIR: await tempFolder(), HOME: home });
    const url = await process.ready();
    const { signUp } = await ask(url, SIGN_UP);
    const { token } = z.object({ token: z.string() }).parse(signUp);
    expect(await ask(url, '{ system { docker } }', { token })).toEqual({ system: { docker: 'ABSENT' } });
    const socket = join(home, '.docker', 'run', 'docker.sock');
    await mkdir(join(socket, '..'), { recursive: true });
    await symlink(engine ?? '', socket);
    await expect.poll(() => ask(url, '{ system { docker } }', { token })).toEqual({ system: { docker: 'UP' } });
    await process.line(({ msg }) => msg === 'The Docker engine answers.', 'the worker finds it');
  });
});
