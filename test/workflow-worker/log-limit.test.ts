import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatLine } from '../../domain/logs/encode.ts';
import { UNTIL_LET_GO } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedLines } from './support.ts';

const CUT = /^The log was cut here: [\d,]+ bytes of it are kept at most\./;

const host = requirePart('docker', 'the maximum of what is kept of a log');
describe.skipIf(host === undefined)('a log that reaches its maximum', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
  });
  afterAll(() => here.close());

  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });
  const expectCut = async (sourceId: string, logLineCount: number) => {
    const lines = await storedLines(here.database.db, sourceId);
    expect(lines).toHaveLength(logLineCount);
    expect(lines.at(-1)).toMatchObject({ stream: 'STDERR', source: 'SYSTEM', text: expect.stringMatching(CUT) });
    expect(lines.filter(({ text }) => CUT.test(text))).toHaveLength(1);
    return lines.slice(0, -1).map(({ text }) => text);
  };
  const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n + 1));

  test('is cut there, and its job continues to its end, even under a worker that adopts it', async () => {
    const first = await here.start({ maxLogBytes: 100_000 });
    const { id, buildId } = await here.create(shell(`seq 1 50000; ${UNTIL_LET_GO}; seq 50001 60000; exit 9`));
    const build = await buildIn(here.database.db, buildId, 'COMPLETED');
    expect((await storedLines(here.database.db, buildId)).map(({ text }) => text)).not.toContainEqual(
      expect.stringMatching(CUT),
    );
    const { id: jobId } = await here.job(id, 'RUNNING');
    await until('the log is cut', async () =>
      (await storedLines(here.database.db, jobId)).some(({ text }) => CUT.test(text)),
    );
    await first.close();
    const second = await here.start({ maxLogBytes: 100_000 });
    await here.letGo(jobId);
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ id: jobId, attempt: 1, exitCode: 9, failureReason: 'EXIT_CODE' });
    const kept = await expectCut(jobId, job.logLineCount);
    expect(kept).toEqual(numbers(kept.length));
    expect(kept.length).toBeGreaterThan(2_500); // each stored line takes 37 bytes
    expect(build.logLineCount).toBeGreaterThan(1);
    await second.close();
  });

  test('is cut there for a build too, which continues', async () => {
    const build = async (maxLogBytes?: number) => {
      const worker = await here.start(maxLogBytes === undefined ? {} : { maxLogBytes });
      const { id, buildId } = await here.create(shell('echo a; exit 0'));
      const { logLineCount } = await buildIn(here.database.db, buildId, 'COMPLETED');
      await until(
        'its lines are stored',
        async () => (await storedLines(here.database.db, buildId)).length === logLineCount,
      );
      await here.job(id, 'COMPLETED');
      await worker.close();
      return { buildId, logLineCount };
    };
    const whole = await build();
    const [first, second] = await storedLines(here.database.db, whole.buildId);
    if (first === undefined || second === undefined) throw new Error('The log of a build is too short to cut.');
    // The length of a line depends on the engine's address, so the test measures a limit that fits
    // the first line but not the second.
    const maxLogBytes = Buffer.byteLength(formatLine(first.stream, first.timestamp, first.text)) + 10;
    const cut = await build(maxLogBytes);
    expect(await expectCut(cut.buildId, cut.logLineCount)).toEqual([first.text]);
  });

  test('no line that a container or a build step prints counts as ours', async () => {
    const forged = 'The log was cut here: 100 bytes of it are kept at most.';
    await here.start({});
    const dockerfile = `FROM ${IMAGE}\nRUN echo '${forged}'; echo '${forged}' >&2\nCMD echo '${forged}'; echo '${forged}' >&2`;
    const { id, buildId } = await here.create({ build: { dockerfile } });
    const job = await here.job(id, 'COMPLETED');
    const sourcesOf = async (sourceId: string, wanted: (text: string) => boolean) =>
      (await storedLines(here.database.db, sourceId)).filter(({ text }) => wanted(text)).map(({ source }) => source);
    expect(await sourcesOf(job.id, () => true)).toEqual(['PROGRAM', 'PROGRAM']);
    const ofBuild = await sourcesOf(buildId, (text) => text.includes(forged));
    expect(ofBuild.length).toBeGreaterThanOrEqual(2);
    expect(new Set(ofBuild)).toEqual(new Set(['PROGRAM']));
    expect(await sourcesOf(buildId, (text) => text.startsWith('Building the Dockerfile'))).toEqual(['SYSTEM']);
  });
});
