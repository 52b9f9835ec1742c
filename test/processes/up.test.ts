import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';

afterEach(cleanUp);

const SIGN_UP =
  'mutation { signUp(input: {email: "ann@example.com", password: "correct horse"}) { token userErrors { message } } }';

function up(folder: string, env: Record<string, string> = {}) {
  return startProcess(['up'], { PORT: '0', DATA_DIR: folder, ...env });
}

describe('chronoverse up', () => {
  test('logs each part, is ready exactly once, and answers at the url it names', async () => {
    const process = up(await tempFolder());
    const url = await process.ready();
    expect(url).toMatch(/^http:\/\/.*\/graphql$/);
    const { signUp } = await ask(url, SIGN_UP);
    const { token } = z.object({ token: z.string() }).parse(signUp);
    expect(await ask(url, '{ system { database bus cache } }', { token })).toEqual({
      system: { database: 'EMBEDDED', bus: 'EMBEDDED', cache: 'EMBEDDED' },
    });
    expect(await process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(process.log.filter(({ event }) => event === 'ready')).toHaveLength(1);
    const parts = process.log.filter(({ event }) => event === 'part').map(({ part }) => part);
    expect(parts).toEqual(
      expect.arrayContaining(['database', 'migrations', 'bus', 'cache', 'worker scheduling', 'api']),
    );
  });

  test.each(['/proc/x/y', '/dev/null/x'])(
    'refuses a DATA_DIR that cannot be created, such as %s, and says so',
    async (folder) => {
      const refused = up(folder);
      expect(await refused.exit()).toEqual({ code: 2, signal: null });
      expect(refused.output()).toContain(`DATA_DIR is ${folder}, which cannot be made`);
    },
  );

  test('refuses a port that is taken, at once', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const refused = up(await tempFolder(), { PORT: String(port) });
    expect(await refused.exit()).toEqual({ code: 2, signal: null });
    expect(refused.output()).toContain(`Port ${port} of 127.0.0.1 is taken by another program`);
    expect(refused.log.filter(({ event }) => event === 'part')).toEqual([]);
    await new Promise((resolve) => taken.close(resolve));
  });
});
