import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { cleanUp, type Running } from '../support/processes.ts';
import { letPass, untilSlow } from '../support/time.ts';
import { printer } from './printer.ts';
import { follow, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

const servers = requireServers('subscribers to a job that is given up');
describe.skipIf(servers === undefined)('a job whose worker is killed and which has no attempts left', () => {
  let here: Installation;
  let worker: Running;
  let url: string;
  beforeAll(async () => {
    if (servers === undefined) return;
    here = await openInstallation(servers);
    const api = here.start('api');
    worker = here.start('worker', 'workflow');
    await Promise.all([here.start('worker', 'scheduling', 'joblogs').ready(), worker.ready()]);
    url = await api.ready();
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
  });

  test('P4: its subscribers receive everything that it printed, and the end', async () => {
    const { db } = here.database;
    const id = await here.create(printer(0));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const all = { WEBSOCKET: nothingYet(), SSE: nothingYet() };
    const to = { url, token: here.token, jobId };
    const following = Promise.all([
      follow({ ...to, transport: 'WEBSOCKET' }, all.WEBSOCKET),
      follow({ ...to, transport: 'SSE' }, all.SSE),
    ]);
    await untilSlow('both follow', async () => Math.min(all.WEBSOCKET.last, all.SSE.last) > 100);
    await db.execute(sql`UPDATE jobs SET attempt = ${ATTEMPTS_MAX} WHERE id = ${jobId}`);
    expect(await worker.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    await untilSlow('it is given up', async () => {
      await letPass(db, id, 3_600);
      const { effects } = await reconcileSchedules(db, [id], { watchedSeconds: () => Number.POSITIVE_INFINITY });
      return effects.changed.length > 0;
    });

    await following;
    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ status: 'FAILED', failureReason: 'SYSTEM' });
    const lines = await here.lines(jobId);
    expect(lines).toHaveLength(job.logLineCount);
    for (const followed of Object.values(all)) {
      expect(followed).toMatchObject({ complete: true, last: job.logLineCount });
      expect(followed.texts.findIndex((text, index) => text !== lines[index]?.text)).toBe(-1);
    }
    await here.start('worker', 'workflow').ready();
    await here.removed(jobId);
  }, 120_000);
});
