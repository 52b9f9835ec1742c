import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { builds, workflows } from '../../db/schema.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { CANCEL_CHANNEL, encodeIds, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { builtTag } from '../../workers/workflow/builds/built-image.ts';
import { sweepImages } from '../../workers/workflow/sweeps/images.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { madeWith, stepsWith } from './engine-state.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'builds of Dockerfiles');
describe.skipIf(host === undefined)('a build of a Dockerfile', () => {
  const marker = `marker-${newId()}`; // in each step, to find what a build leaves behind
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start({ maxBuildSeconds: 20 });
  });
  afterEach(async () => {
    const { db } = here.database;
    for (const { id, userId } of await db.select().from(workflows)) await terminateWorkflow(db, { id, userId });
    await until('no image of ours is needed', async () => {
      await sweepImages(own());
      const { images, containers } = await madeWith(host, marker);
      return images.length + containers.length === 0;
    });
  });
  afterAll(() => here.close());

  const own = () => ({ ...here, db: here.database.db });
  const sources = (...steps: string[]) => ({
    dockerfile: [`FROM ${IMAGE}`, `RUN echo ${marker}`, ...steps].join('\n'),
  });
  const failed = async (...steps: string[]) => {
    const { buildId } = await here.create({ build: sources(...steps) });
    return buildIn(here.database.db, buildId, 'FAILED');
  };
  const keyOf = async (id: string) => {
    const [row] = await here.database.db.select().from(workflows).where(eq(workflows.id, id));
    return { id, userId: row?.userId ?? '' };
  };

  test('puts its files into the image and its output into its log, and a job runs the image', async () => {
    const files = [
      { path: 'bin/hello', content: '#!/bin/sh\necho "hello $1"\n' },
      { path: 'note.txt', content: 'ü\n' },
    ];
    const build = { ...sources('COPY . /app', 'RUN cat /app/note.txt', 'ENTRYPOINT ["/app/bin/hello"]'), files };
    const { id, buildId } = await here.create({ build, args: ['there'] });
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual(['hello there']);
    const row = await buildIn(here.database.db, buildId, 'COMPLETED');
    expect(row).toMatchObject({ imageId: await here.docker.findImage(builtTag({ workflowId: id, generation: 1 })) });
    expect(await storedTexts(here.database.db, buildId)).toEqual(expect.arrayContaining(['ü', marker]));
    expect(await sweepImages(own())).toBe(0);
  });

  test('has no health check in a job: the engine would run it at its own expense', async () => {
    const check = 'HEALTHCHECK --interval=1ms CMD echo beat >> /tmp/beats';
    const { id } = await here.create({
      build: sources(check, 'CMD ["sh", "-c", "sleep 1; cat /tmp/beats 2> /dev/null || echo none"]'),
    });
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual(['none']);
  });

  test('of several stages leaves nothing behind that only the earlier stages need', async () => {
    const { id } = await here.create({
      build: {
        dockerfile: `FROM ${IMAGE} AS made\nRUN echo ${marker} > /made\nFROM ${IMAGE}\nCOPY --from=made /made /made\nCMD ["cat", "/made"]`,
      },
    });
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual([marker]);
    // The last stage has no RUN, so no image with the marker is left.
    expect((await madeWith(host, marker)).images).toEqual([]);
  });

  test("that the engine refuses FAILS, with the engine's message and the line of the given text", async () => {
    expect((await failed('# why', 'HEALTHCHECK --interval=x CMD y')).error).toMatch(/line 4: .*invalid duration/i);
  });

  test('begins from the image that was checked, and names it in the log', async () => {
    const { buildId } = await here.create({ build: sources(`COPY --from=${IMAGE} /bin/busybox /b`) });
    await buildIn(here.database.db, buildId, 'COMPLETED');
    const lines = (await storedTexts(here.database.db, buildId)).filter((line) =>
      /^Step \d+\/\d+ : (FROM|COPY) /.test(line),
    );
    expect(lines.map((line) => line.replace(/^Step \d+\/\d+ : /, ''))).toEqual([
      `FROM ${IMAGE}`,
      `COPY --from=${IMAGE} /bin/busybox /b`,
    ]);
  });

  test('that hides a line from the check reads no other image, and fetches nothing', async () => {
    const other = await here.create({ build: sources('RUN echo private > /private') });
    const { imageId } = await buildIn(here.database.db, other.buildId, 'COMPLETED');
    const id = imageId?.slice('sha256:'.length) ?? '';
    for (const hidden of [`COPY --from=${id.slice(0, 12)} /private /p`, 'ADD http://127.0.0.1:1/ /p'])
      for (const dockerfile of [
        `FROM ${IMAGE}\nRUN echo x\\\\\n${hidden}\nRUN cat /p`,
        `#\u00A0escape=\`\nFROM ${IMAGE}\nRUN echo x\\\n${hidden}\nRUN cat /p`,
        `# escape=\`\nFROM ${IMAGE}\nRUN echo x\\\n${hidden}\nRUN cat /p`,
        `FROM ${IMAGE}\nRUN echo x \\\u00A0\n${hidden}\nRUN cat /p`,
        `FROM ${IMAGE}\n\uFEFFRUN echo x\n\u0085${hidden}\nRUN cat /p`,
        `FROM ${IMAGE}\nONBUILD ${hidden}\nFROM ${IMAGE}\nRUN cat /p`,
        `FROM ${IMAGE}\nRUN echo x \\\n#\n${hidden}\nRUN cat /p`,
        `FROM ${IMAGE}\nRUN echo x <<E\n${hidden}\nE\nRUN cat /p`,
      ]) {
        const { buildId } = await here.create({ build: { dockerfile } });
        const build = await buildIn(here.database.db, buildId, 'FAILED');
        expect(await storedTexts(here.database.db, build.id), dockerfile).not.toContain('private');
      }
  });

  test('with a failing step FAILS, with the output in its log', async () => {
    const build = await failed('RUN echo last words; exit 3');
    expect(build).toMatchObject({ attempt: 1, error: expect.stringContaining('returned a non-zero code: 3') });
    expect(await storedTexts(here.database.db, build.id)).toContain('last words');
  });

  test('from the beginning of an id, which the engine would take for a name, FAILS', async () => {
    const id = (await here.docker.findImage(IMAGE))?.slice('sha256:'.length, 'sha256:'.length + 12);
    const made = await here.create({ build: { dockerfile: `FROM ${id}` } });
    expect((await buildIn(here.database.db, made.buildId, 'FAILED')).error).not.toContain('sha256');
    const named = await here.create({ image: id ?? '' });
    await buildIn(here.database.db, named.buildId, 'FAILED');
  });

  test('that exceeds its time limit is stopped on the engine, and FAILS', async () => {
    const other = await openInstallation(host);
    await other.start({ maxBuildSeconds: 2 });
    const { buildId } = await other.create({ build: sources(`RUN echo ${marker} up; sleep 600`) });
    expect((await buildIn(other.database.db, buildId, 'FAILED')).error).toBe(
      'It took longer than 2 s, and was stopped.',
    );
    // On a busy machine the engine stops it while it writes the first step, and reports nothing.
    await until('nothing is left of it', async () => {
      await sweepImages({ ...other, db: other.database.db });
      const { images, containers } = await madeWith(host, marker);
      return images.length + containers.length === 0;
    });
    await other.close();
  });

  test.each(['update', 'terminate', 'delete'])('P5: an %s stops it on the engine', async (how) => {
    const { db } = here.database;
    const { id, buildId } = await here.create({ build: sources(`RUN echo ${marker} up; sleep 600`) });
    await until('its step runs', async () => (await stepsWith(host, marker)).containers.length > 0);
    const whose = await keyOf(id);
    if (how === 'update') await updateWorkflow(db, { ...whose, payload: { kind: 'CONTAINER', image: IMAGE } });
    else await (how === 'delete' ? deleteWorkflow : terminateWorkflow)(db, whose);
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([buildId]));
    await buildIn(db, buildId, 'CANCELED');
    await until('its step is gone', async () => (await stepsWith(host, marker)).containers.length === 0);
  });

  test('P5: stopped while the engine writes a layer, which it does not report, leaves no layer', async () => {
    const { db } = here.database;
    // The large file makes writing the layer take a while.
    const write = `RUN echo ${marker} && dd if=/dev/zero of=/large bs=1M count=300`;
    const { id, buildId } = await here.create({
      build: { dockerfile: [`FROM ${IMAGE}`, write, 'CMD ["true"]'].join('\n') },
    });
    await until('its step has ended', async () => (await stepsWith(host, marker)).ended.length > 0);
    await terminateWorkflow(db, await keyOf(id));
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([buildId]));
    await buildIn(db, buildId, 'CANCELED');
  });

  test('P5: keeps its image while a generation needs it, and the sweep removes it afterwards', async () => {
    const { db } = here.database;
    const { id } = await here.create({ build: sources('CMD ["true"]') });
    await here.job(id, 'COMPLETED');
    const image = () => here.docker.findImage(builtTag({ workflowId: id, generation: 1 }));
    await sweepImages(own());
    expect(await image()).toBeDefined();
    await updateWorkflow(db, { ...(await keyOf(id)), payload: { kind: 'CONTAINER', image: IMAGE } });
    await until('its container is gone', async () => (await here.containers()).length === 0);
    await sweepImages(own()); // unless the worker's own sweep came first, which runs once a minute
    expect(await image()).toBeUndefined();
  });

  test('waits for a place without blocking jobs, and begins when there is one', async () => {
    const { db } = here.database;
    const { id } = await here.create({ command: ['true'] });
    await here.job(id, 'COMPLETED');
    const made: { buildId: string; id: string }[] = [];
    for (let n = 0; n < 12; n += 1)
      made.push(await here.create({ build: sources(`RUN echo ${n} ${marker}; sleep 600`) }));
    const started = () => db.select().from(builds).where(eq(builds.status, 'STARTED'));
    await until('all places of one user are taken', async () => (await started()).length === 3);
    await runWorkflow(db, await keyOf(id));
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    await here.job(id, 'COMPLETED', 1);

    const first = (await started()).map((build) => build.id);
    for (const build of made) await terminateWorkflow(db, await keyOf(build.id));
    const last = await here.create({ command: ['true'] });
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds(first));
    await buildIn(db, last.buildId, 'COMPLETED');
  });

  test('runs on an engine that lacks the image of a job', async () => {
    const { id } = await here.create({ build: sources('CMD ["echo", "again"]') });
    await here.job(id, 'COMPLETED');
    await until('its container is gone', async () => (await here.containers()).length === 0);
    await here.docker.removeImage(builtTag({ workflowId: id, generation: 1 }));
    await runWorkflow(here.database.db, await keyOf(id));
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    const job = await here.job(id, 'COMPLETED', 1);
    expect(await storedTexts(here.database.db, job.id)).toEqual(['again']);
  });
});
