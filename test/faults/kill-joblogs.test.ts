import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cleanUp } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { expectWhole, printer } from './printer.ts';
import { randomOf } from './random.ts';
import { type Installation, isReady, killAtRandom, openInstallation, requireServers } from './support.ts';

const KILLS = Number(process.env.FAULTS_KILLS ?? 30);
/**
 * The broker lets the next member in when the session of the killed one has ended, which takes
 * seconds each time. So the kills are spread over several independent installations.
 */
const SIDE_BY_SIDE = 5;

const servers = requireServers('logs while the joblogs worker is killed');
describe.skipIf(servers === undefined)('a joblogs worker that is killed', () => {
  const all: Installation[] = [];
  beforeAll(async () => {
    if (servers === undefined) return;
    for (let n = 0; n < SIDE_BY_SIDE; n += 1) all.push(await openInstallation(servers));
  });
  afterAll(async () => {
    await cleanUp();
    for (const installation of all) await installation.close();
  });

  async function killAmidPrinting(here: Installation, random: () => number): Promise<void> {
    await here.start('worker', 'scheduling', 'workflow').ready();
    const id = await here.create(printer(0, { pairs: 25 }));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const last = await killAtRandom({
      times: KILLS / SIDE_BY_SIDE,
      random,
      start: () => here.start('worker', 'joblogs'),
      works: async (worker) => {
        // The former worker is dead, so this one stores everything from here on.
        await isReady(worker);
        const { stored } = await here.progress(jobId);
        await untilSlow('it stores lines', async () => (await here.progress(jobId)).stored > stored);
      },
    });
    await here.tell(jobId);
    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ status: 'COMPLETED', attempt: 1, exitCode: 0 });
    const lines = await here.lines(jobId);
    expect(lines).toHaveLength(job.logLineCount);
    expectWhole(lines);
    expect(await last.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }

  test(`P4: at ${KILLS} random instants while containers print: no line is missing or repeated`, async () => {
    await Promise.all(
      all.map((here, index) => killAmidPrinting(here, randomOf(`kills of joblogs worker ${index + 1}`))),
    );
  }, 500_000);
});
