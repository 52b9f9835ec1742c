import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cleanUp } from '../support/processes.ts';
import { letPass, untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

const AWAY_SECONDS = 600;

const servers = requireServers('containers while nobody is there');
describe.skipIf(servers === undefined)('a container whose installation is down for minutes', () => {
  let here: Installation;
  beforeAll(async () => {
    if (servers !== undefined) here = await openInstallation(servers);
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
  });

  test('P4: is adopted and not started again, even if scheduling comes back before its worker does', async () => {
    const { db } = here.database;
    const all = [here.start('worker', 'scheduling', 'joblogs'), here.start('worker', 'workflow')];
    await Promise.all(all.map((worker) => worker.ready()));
    const id = await here.create(printer(4));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await untilSlow('it prints', async () => (await here.progress(jobId)).stored > 100);
    await Promise.all(all.map((worker) => worker.kill('SIGKILL')));
    await letPass(db, id, AWAY_SECONDS);

    here.start('worker', 'scheduling', 'joblogs');
    await untilSlow('scheduling has looked at the job', async () => {
      const rows = await db.execute(sql`SELECT FROM schedules WHERE workflow_id = ${id} AND wake_at > now()`);
      return rows.length > 0;
    });
    expect(await here.job(id, 'RUNNING')).toMatchObject({ id: jobId, attempt: 1 });
    const worker = here.start('worker', 'workflow');
    await untilSlow('the worker has it', async () => (await here.progress(jobId)).owner.includes(` ${worker.pid} `));
    await here.tell(jobId);
    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ id: jobId, status: 'FAILED', exitCode: 4, attempt: 1 });
    expectWhole(await here.lines(jobId));
    await here.removed();
  }, 120_000);
});
