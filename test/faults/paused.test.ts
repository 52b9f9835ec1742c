import { setTimeout as delay } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { afterAll, describe, expect, test } from 'vitest';
import { jobs, notifications } from '../../db/schema.ts';
import { LEASE_SECONDS } from '../../domain/limits.ts';
import { cleanUp } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { expectAll, followToTheEnd, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

/** After this time, a killed or stopped member of a Kafka group has lost its partitions. */
const LONGER_THAN_SESSION_MS = 9_000;
/**
 * A worker whose lease is gone notices within one renewal interval; it then reads the row once
 * more.
 */
const AWAKE_MS = 12_000;

const servers = requireServers('processes that are paused and go on');
describe.skipIf(servers === undefined)('a process that is paused (SIGSTOP) and continued (SIGCONT)', () => {
  const opened: Installation[] = [];
  afterAll(async () => {
    await cleanUp();
    for (const here of opened) await here.close();
  });

  async function open(): Promise<Installation> {
    if (servers === undefined) throw new Error('There are no servers.');
    const here = await openInstallation(servers);
    opened.push(here);
    return here;
  }

  test.concurrent('P4: a workflow worker, paused past its leases: another one has adopted its containers, and it no longer touches them', async () => {
    const here = await open();
    await here.start('worker', 'scheduling', 'joblogs').ready();
    const paused = here.start('worker', 'workflow');
    await paused.ready();
    const ids = await Promise.all([here.create(printer(5)), here.create(printer(6))]);
    const [early, late] = await Promise.all(ids.map(async (id) => (await here.job(id, 'RUNNING')).id));
    if (early === undefined || late === undefined) throw new Error('Two jobs run.');
    for (const id of [early, late]) await untilSlow('it prints', async () => (await here.progress(id)).stored > 1_000);
    const other = here.start('worker', 'workflow');
    await other.ready();

    process.kill(paused.pid, 'SIGSTOP');
    const pausedAt = Date.now();
    for (const id of [early, late])
      await untilSlow('the other worker has it', async () =>
        (await here.progress(id)).owner.includes(` ${other.pid} `),
      );
    // A lease was renewed at most one interval ago.
    expect(Date.now() - pausedAt).toBeGreaterThan((LEASE_SECONDS - 11) * 1_000);
    await here.tell(early);
    const ended = await here.job(ids[0] ?? '', 'ENDED');
    await here.removed(early);
    const { stored } = await here.progress(late);
    process.kill(paused.pid, 'SIGCONT');

    await delay(AWAKE_MS); // time in which it could do what it must not do
    expect((await here.progress(late)).owner).toContain(` ${other.pid} `);
    await untilSlow('the other one stores on', async () => (await here.progress(late)).stored > stored);
    await here.tell(late);
    const last = await here.job(ids[1] ?? '', 'ENDED');
    expect([ended, last]).toMatchObject([
      { status: 'FAILED', attempt: 1, exitCode: 5 },
      { status: 'FAILED', attempt: 1, exitCode: 6 },
    ]);
    for (const { id, logLineCount } of [ended, last]) {
      const lines = await here.lines(id);
      expect(lines).toHaveLength(logLineCount);
      expectWhole(lines);
      expect(await here.database.db.select().from(notifications).where(eq(notifications.jobId, id))).toHaveLength(1);
    }
    expect(await here.database.db.select().from(jobs).where(eq(jobs.id, early))).toEqual([ended]);
    await here.removed(late);
    expect(await paused.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }, 180_000);

  test.concurrent('P4: a joblogs worker, paused past its session, and an api: late writes change nothing, and subscribers get the rest', async () => {
    const here = await open();
    await here.start('worker', 'scheduling', 'workflow').ready();
    const both = [here.start('worker', 'joblogs'), here.start('worker', 'joblogs')];
    const api = here.start('api');
    const url = await api.ready();
    await Promise.all(both.map((worker) => worker.ready()));
    const id = await here.create(printer(0));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const followed = nothingYet();
    const following = followToTheEnd(
      { url, token: here.token, jobId, transport: 'WEBSOCKET' },
      followed,
      new AbortController().signal,
    );
    following.catch(() => undefined); // reported at the end

    for (const { pid } of [...both, ...both]) {
      const { stored } = await here.progress(jobId);
      await untilSlow('lines are stored and followed', async () => {
        return (await here.progress(jobId)).stored > stored && followed.last > stored;
      });
      for (const stopped of [pid, api.pid]) process.kill(stopped, 'SIGSTOP');
      await delay(LONGER_THAN_SESSION_MS);
      const before = await here.progress(jobId);
      await untilSlow('the other one stores on', async () => (await here.progress(jobId)).stored > before.stored);
      for (const stopped of [pid, api.pid]) process.kill(stopped, 'SIGCONT');
    }

    await here.tell(jobId);
    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ status: 'COMPLETED', attempt: 1 });
    const lines = await here.lines(jobId);
    expect(lines).toHaveLength(job.logLineCount);
    expectWhole(lines);
    await following;
    expectAll(followed);
  }, 180_000);
});
