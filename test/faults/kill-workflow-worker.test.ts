import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cleanUp, type Running } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { randomOf } from './random.ts';
import { type Installation, killAtRandom, openInstallation, requireServers } from './support.ts';

const KILLS = Number(process.env.FAULTS_KILLS ?? 30);
/**
 * They print one after the other: the worker that adopts a container reads its log from the
 * beginning, and a single log would become long.
 */
const CONTAINERS = 5;

const servers = requireServers('logs while the workflow worker is killed');
describe.skipIf(servers === undefined)('a workflow worker that is killed', () => {
  let here: Installation;
  beforeAll(async () => {
    if (servers === undefined) return;
    here = await openInstallation(servers);
    await here.start('worker', 'scheduling', 'joblogs').ready();
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
  });

  /** Resolves when the worker has adopted the container and has published a line since. */
  async function works(jobId: string, worker: Running): Promise<void> {
    const adopted = await untilSlow('the worker has the job', async () => {
      const { owner, stored } = await here.progress(jobId);
      return owner.split(' ').includes(String(worker.pid)) ? { stored } : undefined;
    });
    await untilSlow('it stores lines', async () => (await here.progress(jobId)).stored > adopted.stored);
  }

  /** Resolves with the id of the job once its container has printed a line. */
  async function begun(workflowId: string): Promise<string> {
    const { id } = await here.job(workflowId, 'RUNNING');
    await untilSlow('it prints', async () => (await here.progress(id)).stored > 0);
    return id;
  }

  test(`P4: at ${KILLS} random instants while containers print: no line is missing or repeated, and the containers stay the same`, async () => {
    const ids = await Promise.all(Array.from({ length: CONTAINERS }, () => here.create(printer(0, { waits: true }))));
    const random = randomOf('kills of the workflow worker');
    let jobIds: string[] = [];
    let kills = 0;
    let printing = -1;
    const last = await killAtRandom({
      times: KILLS,
      random,
      start: () => here.start('worker', 'workflow'),
      works: async (worker) => {
        if (printing === -1) jobIds = await Promise.all(ids.map((id) => begun(id)));
        const turn = Math.min(CONTAINERS - 1, Math.floor((kills * CONTAINERS) / KILLS));
        if (turn !== printing) {
          // One container ends and the next begins.
          for (const jobId of jobIds.slice(Math.max(0, printing), turn + 1)) await here.tell(jobId);
          printing = turn;
        }
        await works(jobIds[printing] ?? '', worker);
        kills += 1;
      },
    });
    await here.tell(jobIds[printing] ?? '');
    for (const id of ids) {
      const job = await here.job(id, 'ENDED');
      const lines = await here.lines(job.id);
      expect(job).toMatchObject({ status: 'COMPLETED', attempt: 1, exitCode: 0, logLineCount: lines.length });
      expectWhole(lines);
      await here.removed(job.id);
    }
    expect(await last.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }, 500_000);

  test('P4: and whose containers end meanwhile: the rest of their logs is collected, and their exit codes count', async () => {
    const worker = here.start('worker', 'workflow');
    const ids = await Promise.all([7, 0, 8, 9].map((exitCode) => here.create(printer(exitCode, { pairs: 25 }))));
    const running = await Promise.all(ids.map((id) => here.job(id, 'RUNNING')));
    await Promise.all(running.map(({ id }) => works(id, worker)));
    await worker.kill('SIGKILL');
    await Promise.all(running.map(({ id }) => here.tell(id)));
    await Promise.all(running.map(({ id }) => here.containerEnd(id)));

    here.start('worker', 'workflow');
    const ended = await Promise.all(ids.map((id) => here.job(id, 'ENDED')));
    expect(ended).toMatchObject([
      { attempt: 1, status: 'FAILED', exitCode: 7, failureReason: 'EXIT_CODE' },
      { attempt: 1, status: 'COMPLETED', exitCode: 0 },
      { attempt: 1, status: 'FAILED', exitCode: 8 },
      { attempt: 1, status: 'FAILED', exitCode: 9 },
    ]);
    for (const { id, logLineCount } of ended) {
      const lines = await here.lines(id);
      expect(lines).toHaveLength(logLineCount);
      expectWhole(lines);
    }
    await Promise.all(ended.map(({ id }) => here.removed(id)));
  }, 120_000);
});
