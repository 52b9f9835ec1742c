import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { cleanUp, type Running } from '../support/processes.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { expectAll, follow, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

/** Longer than a lease. */
const AWAY_MS = 45_000;

const servers = requireServers('a database that is away for long');
describe.skipIf(servers === undefined)('a database that is down for longer than leases last', () => {
  let here: Installation;
  let proxy: TestProxy;
  let processes: Running[];
  let url: string;
  beforeAll(async () => {
    if (servers === undefined) return;
    const database = await testDatabase();
    const direct = new URL(database.url);
    proxy = await proxyTo(direct.hostname, Number(direct.port));
    const proxied = new URL(direct);
    proxied.port = String(proxy.port);
    here = await openInstallation(servers, { database, env: { DATABASE_URL: proxied.href } });
    const api = here.start('api');
    processes = [api, ...['scheduling', 'workflow', 'joblogs'].map((name) => here.start('worker', name))];
    await Promise.all(processes.map((process) => process.ready()));
    url = await api.ready();
  });
  afterAll(async () => {
    await cleanUp();
    await proxy?.close();
    await here?.close();
    await here?.database.close();
  });

  test('P4: containers keep printing, and afterwards their jobs and their subscribers continue by themselves', async () => {
    const ids = await Promise.all([here.create(printer(0)), here.create(printer(5))]);
    const jobs = await Promise.all(ids.map((id) => here.job(id, 'RUNNING')));
    const all = jobs.flatMap(({ id: jobId }) =>
      (['WEBSOCKET', 'SSE'] as const).map((transport) => {
        const followed = nothingYet();
        // One connection.
        const following = follow({ url, token: here.token, jobId, transport }, followed);
        following.catch(() => undefined); // reported at the end
        return { followed, following };
      }),
    );
    await untilSlow('all follow', async () => all.every(({ followed }) => followed.last > 100));
    const before = all.map(({ followed }) => followed.last);

    proxy.cut();
    await here.tell(jobs[1]?.id ?? ''); // one ends meanwhile
    await delay(AWAY_MS);
    // Live lines need no database. A follower that was just reading the store may wait for its
    // answer.
    expect(all.some(({ followed }, index) => followed.last > (before[index] ?? 0))).toBe(true);
    proxy.restore();

    await here.tell(jobs[0]?.id ?? '');
    const ended = await Promise.all(ids.map((id) => here.job(id, 'ENDED')));
    expect(ended).toMatchObject([
      { status: 'COMPLETED', attempt: 1, exitCode: 0 },
      { status: 'FAILED', attempt: 1, exitCode: 5, failureReason: 'EXIT_CODE' },
    ]);
    for (const { id, logLineCount } of ended) {
      const lines = await here.lines(id);
      expect(lines).toHaveLength(logLineCount);
      expectWhole(lines);
    }
    for (const { followed, following } of all) {
      await following;
      expectAll(followed);
    }
    await here.removed();
    expect(processes.every(({ pid }) => process.kill(pid, 0))).toBe(true);
  }, 150_000);
});
