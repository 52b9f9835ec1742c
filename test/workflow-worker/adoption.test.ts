import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimJobs } from '../../db/jobs/claim.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { newId } from '../../domain/ids.ts';
import { createTemplates } from '../../workers/workflow/builds/template.ts';
import { installationLabels } from '../../workers/workflow/engine/labels.ts';
import { toSpec } from '../../workers/workflow/jobs/container.ts';
import { printed, UNTIL_LET_GO, UNTIL_LET_GO_PRINT } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { letPass, until } from '../support/time.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedLines, storedTexts } from './support.ts';

const host = requirePart('docker', 'the adoption of containers whose worker is lost');
describe.skipIf(host === undefined)('a container whose worker is gone', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
  });
  afterAll(() => here.close());

  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });
  const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n + 1));
  const PRINTER = `${UNTIL_LET_GO_PRINT}; exit 4`;

  /** The id of the only container, once it runs. */
  const running = () =>
    until('its container runs', async () => {
      const [found] = await here.containers();
      return found !== undefined && (await here.docker.inspectContainer(found))?.status === 'running'
        ? found
        : undefined;
    });

  /** Waits until more lines are stored than these, and returns how many. */
  const morePrinted = (jobId: string, than = 40) =>
    until('more lines are stored', async () => {
      const { length } = await storedTexts(here.database.db, jobId);
      return length > than && length;
    });

  test('P4: a drained worker passes its container on: the next one adopts it, and the log continues without a gap', async () => {
    const first = await here.start();
    const { id } = await here.create(shell(PRINTER));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await morePrinted(jobId);
    const [container] = await here.containers();
    await first.close();
    expect(await here.containers()).toEqual([container]);
    const before = (await storedTexts(here.database.db, jobId)).length;
    const second = await here.start();
    await morePrinted(jobId, before);
    await here.letGo(jobId);
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ id: jobId, attempt: 1, exitCode: 4, failureReason: 'EXIT_CODE' });
    expect(await storedTexts(here.database.db, jobId)).toEqual(printed(job.logLineCount));
    await second.close();
  });

  test('P4: one that ended while no worker watched gets its exit code and its whole log', async () => {
    const first = await here.start();
    const { id } = await here.create(shell(`echo 1; ${UNTIL_LET_GO}; seq 2 3000; exit 6`));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const container = await running();
    await first.close();
    await here.letGo(jobId);
    await here.docker.waitContainer(container, { timeoutMs: 10_000, signal: new AbortController().signal });
    const second = await here.start();
    expect(await here.job(id, 'FAILED')).toMatchObject({ exitCode: 6, attempt: 1, logLineCount: 3_000 });
    expect(await storedTexts(here.database.db, jobId)).toEqual(numbers(3_000));
    await second.close();
  });

  test.each([
    ['exits with 255, as after a killed engine,', 'exit 255', 255],
    ['is killed by its own program, as by a stopped engine,', 'kill -9 $$', 137],
    ['ends by SIGTERM', 'trap - TERM; kill -15 $$', 143],
  ])(
    'P4: one that %s while no worker watched and the engine ran on fails, and does not run again',
    async (_, end, code) => {
      const first = await here.start();
      const { id } = await here.create(shell(`echo 1; ${UNTIL_LET_GO}; ${end}`));
      const { id: jobId } = await here.job(id, 'RUNNING');
      const container = await running();
      await first.close();
      await here.letGo(jobId);
      await here.docker.waitContainer(container, { timeoutMs: 10_000, signal: new AbortController().signal });
      const second = await here.start();
      expect(await here.job(id, 'FAILED')).toMatchObject({ exitCode: code, attempt: 1, failureReason: 'EXIT_CODE' });
      await second.close();
    },
  );

  test('P4: one that is removed while no worker watches: the next attempt begins with a line that says what may be missing', async () => {
    const { db } = here.database;
    const first = await here.start();
    const { id } = await here.create(shell(`echo 1; ${UNTIL_LET_GO}; echo 2`));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const container = await running();
    await until('a line is stored', async () => (await storedTexts(db, jobId)).length > 0);
    await first.close();
    await here.docker.removeContainer(container, { force: true });
    await db.execute(sql`UPDATE jobs SET lease_expires_at = now() - interval '1 hour' WHERE id = ${jobId}`);
    await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE workflow_id = ${id}`);
    const second = await here.start();
    await reconcileSchedules(db, [id], { watchedSeconds: () => Number.POSITIVE_INFINITY });
    await letPass(db, id, 60);
    await here.letGo(jobId, 2);
    expect(await here.job(id, 'COMPLETED')).toMatchObject({ attempt: 2 });
    const lines = await storedLines(db, jobId);
    expect(lines.map(({ text, attempt, stream, source }) => ({ text, attempt, stream, source }))).toEqual([
      expect.objectContaining({ text: '1', attempt: 1 }),
      { text: expect.stringContaining('Attempt 1 was lost'), attempt: 2, stream: 'STDERR', source: 'SYSTEM' },
      expect.objectContaining({ text: '1', attempt: 2 }),
      expect.objectContaining({ text: '2', attempt: 2 }),
    ]);
    await second.close();
  });

  test('P4: a worker that was frozen past its lease does no harm when it continues: the log is complete, the end is written once', async () => {
    const frozen = await here.start();
    const { id } = await here.create(shell(PRINTER));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await morePrinted(jobId);
    // The other worker takes the job over while the first one still prints. A frozen worker would
    // do less.
    await here.database.db.execute(
      sql`UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id = ${jobId}`,
    );
    const other = await here.start({ owner: 'other' });
    await until('it is taken over', async () => (await here.job(id, 'RUNNING')).leaseOwner === 'other');
    await here.letGo(jobId);
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ attempt: 1, exitCode: 4, leaseToken: null });
    expect(await storedTexts(here.database.db, jobId)).toEqual(printed(job.logLineCount));
    await Promise.all([frozen.close(), other.close()]);
  });

  test('P4: one that was created and never started is created again in the same attempt', async () => {
    const { db } = here.database;
    const builder = await here.start();
    const { id, buildId } = await here.create(shell('echo ran'));
    await here.job(id, 'COMPLETED');
    await builder.close();
    const requested = await runWorkflow(db, { userId: (await buildIn(db, buildId, 'COMPLETED')).userId, id });
    if (requested.outcome !== 'REQUESTED') throw new Error(requested.outcome);
    await here.job(id, 'QUEUED', 1);
    const { claimed } = await claimJobs(db, [requested.job.id], {
      owner: 'dead',
      engineId: await here.docker.engineId(),
    });
    const template = await createTemplates(here.parts).load({ workflowId: id, generation: 1 });
    if (claimed[0] === undefined || template === undefined) throw new Error('nothing to create');
    const abandoned = await here.docker.createContainer(toSpec(claimed[0], template, here.installation));
    await db.execute(
      sql`UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id = ${requested.job.id}`,
    );

    const worker = await here.start();
    expect(await here.job(id, 'COMPLETED', 1)).toMatchObject({ attempt: 1, logLineCount: 1 });
    // Its dead creator tries to start it.
    await expect(here.docker.startContainer(abandoned)).rejects.toMatchObject({ kind: 'NOT_FOUND' });
    await worker.close();
  });

  test('P5: containers that no job wants are removed, those of another installation are not', async () => {
    const container = (installation: string) =>
      here.docker.createContainer({
        ...toSpec({ id: newId(), attempt: 1, workflowId: newId(), userId: newId() }, { imageId: IMAGE }, installation),
      });
    const other = `${here.installation}-other`;
    const unwanted = await container(here.installation);
    const foreign = await container(other);
    const worker = await here.start();
    await until('it is removed', async () => (await here.docker.inspectContainer(unwanted)) === undefined);
    expect((await here.docker.listContainers(installationLabels(other))).map(({ id }) => id)).toEqual([foreign]);
    await here.docker.removeContainer(foreign, { force: true });
    await worker.close();
  });

  test('the template is made again from the database if the cache has lost it', async () => {
    const worker = await here.start();
    const { id } = await here.create(shell('echo ran'));
    const { userId } = await here.job(id, 'COMPLETED');
    await here.parts.cache.delete(`template:${id}:1`);
    await runWorkflow(here.database.db, { userId, id });
    expect(await here.job(id, 'COMPLETED', 1)).toMatchObject({ trigger: 'MANUAL', logLineCount: 1 });
    expect(await here.parts.cache.get(`template:${id}:1`)).toContain('echo ran');
    await worker.close();
  });

  test('a full worker takes no more than it has room for, and the rest waits', async () => {
    const worker = await here.start({ capacity: 2 });
    const made = await Promise.all([1, 2, 3, 4].map(() => here.create(shell('sleep 0.5'))));
    const counts: number[] = [];
    for (const { id } of made) {
      await here.job(id, 'COMPLETED');
      const rows = await here.database.db.execute(sql`SELECT id FROM jobs WHERE status = 'RUNNING'`);
      counts.push(rows.length);
    }
    expect(Math.max(...counts)).toBeLessThanOrEqual(2);
    await worker.close();
  });
});
