import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { steadyPort } from '../support/ports.ts';
import { cleanUp } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { printer } from './printer.ts';
import { randomOf } from './random.ts';
import { expectAll, followToTheEnd, nothingYet } from './subscriber.ts';
import { type Installation, isReady, killAtRandom, openInstallation, requireServers } from './support.ts';

const KILLS = Number(process.env.FAULTS_KILLS ?? 30);

const servers = requireServers('subscribers while their api process is killed');
describe.skipIf(servers === undefined)('an api process that is killed', () => {
  let here: Installation;
  let url: string;
  beforeAll(async () => {
    if (servers === undefined) return;
    const port = await steadyPort();
    url = `http://127.0.0.1:${port}/graphql`;
    here = await openInstallation(servers, { env: { PORT: String(port) } });
    await here.start('worker', 'scheduling', 'workflow', 'joblogs').ready();
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
  });

  test(`P4: at ${KILLS} random instants while a container prints: subscribers come back with their cursors, and get every line once, in order`, async () => {
    const id = await here.create(printer(0));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const all = { WEBSOCKET: nothingYet(), SSE: nothingYet() };
    const stop = new AbortController();
    const following = Promise.all(
      (['WEBSOCKET', 'SSE'] as const).map((transport) =>
        followToTheEnd({ url, token: here.token, jobId, transport }, all[transport], stop.signal),
      ),
    );
    following.catch((error) => stop.abort(error));
    await killAtRandom({
      times: KILLS,
      random: randomOf('kills of the api'),
      start: () => here.start('api'),
      works: async (api) => {
        await isReady(api);
        const [socket, sse] = [all.WEBSOCKET.last, all.SSE.last];
        await untilSlow('both get lines', async () => {
          stop.signal.throwIfAborted();
          return all.WEBSOCKET.last > socket && all.SSE.last > sse;
        });
      },
    }).catch((error) => {
      stop.abort(error);
      throw error;
    });
    await here.tell(jobId);
    const { logLineCount } = await here.job(id, 'ENDED');
    await following;
    for (const followed of Object.values(all)) {
      expectAll(followed);
      expect(followed.last).toBe(logLineCount);
    }
  }, 500_000);
});
