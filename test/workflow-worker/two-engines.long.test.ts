import Docker from 'dockerode';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { jobs } from '../../db/schema.ts';
import { ENGINE_AWAY_SECONDS } from '../../domain/limits.ts';
import { createDocker, type Docker as Engine } from '../../platform/docker/docker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { requirePart } from '../support/parts.ts';
import { hasCommand, type OwnServer, ownEngine } from '../support/servers.ts';
import { until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const untested = 'jobs of two workflow workers with an engine each';
const isHere = requirePart('docker', untested) !== undefined && process.getuid?.() === 0;
const canStart = isHere && (await hasCommand('dockerd', untested));

describe.skipIf(!canStart)('two workflow workers with an engine each', () => {
  const servers: OwnServer[] = [];
  let here: Installation;
  let engines: [Engine, Engine];
  let ids: [string, string];
  let workers: Worker[] = [];
  /** By job: the engine that was last asked for its container. */
  const ranOn = new Map<string, string>();

  beforeAll(async () => {
    for (const _ of [1, 2]) servers.push(await ownEngine({ liveRestore: false }));
    await Promise.all(servers.map((server) => server.start()));
    here = await openInstallation(servers[0]?.address);
    const other = createDocker({ host: servers[1]?.address, log: quiet });
    engines = [here.docker, other];
    ids = [await here.docker.storeId(), await other.storeId()];
    await startBoth();
  }, 60_000);
  afterAll(async () => {
    try {
      await here?.close();
    } finally {
      for (const server of servers) await server.close();
    }
  }, 60_000);

  async function startBoth(): Promise<void> {
    workers = [await startOn(0), await startOn(1)];
  }

  /** Starts the worker of an engine, and notes which jobs run there. */
  function startOn(engine: 0 | 1): Promise<Worker> {
    const docker: Engine = {
      ...engines[engine],
      createContainer(spec) {
        ranOn.set(spec.labels['chronoverse.job'] ?? '', ids[engine]);
        return engines[engine].createContainer(spec);
      },
    };
    return here.start({ docker });
  }

  /** Makes an image by hand, as `docker commit` does. Returns its id. */
  async function makeImage(engine: 0 | 1, name: string, text: string): Promise<string> {
    const client = clientOf(engine);
    const container = await client.createContainer({ Image: IMAGE, Cmd: ['true'], Labels: { text } });
    const made = await container.commit({ repo: name.split(':')[0], tag: name.split(':')[1] });
    await container.remove();
    return made.Id;
  }
  const clientOf = (engine: 0 | 1) => new Docker({ socketPath: servers[engine]?.address.slice('unix://'.length) });

  const print = (text: string) => ({ command: ['sh', '-c'], args: [text], network: 'NONE' as const });

  async function runTimes(id: string, times: number) {
    const { userId } = await here.job(id, 'COMPLETED');
    for (let n = 1; n <= times; n++) {
      expect((await runWorkflow(here.database.db, { userId, id })).outcome).toBe('REQUESTED');
      await here.job(id, 'COMPLETED', n);
    }
    const rows = await here.database.db.select().from(jobs).where(eq(jobs.workflowId, id));
    return rows.map((row) => ({ status: row.status, attempt: row.attempt, engine: ranOn.get(row.id) }));
  }

  async function buildEngine(buildId: string): Promise<string | null> {
    return (await buildIn(here.database.db, buildId, 'COMPLETED')).engineId;
  }

  test('an image that was made by hand on one of them runs there, in its first attempt, whatever worker sees the job first', async () => {
    for (const engine of [0, 1] as const) {
      await makeImage(engine, `byhand${engine}:1`, 'one');
      const { id, buildId } = await here.create({ ...print('echo ran'), image: `byhand${engine}:1` });
      const ran = await runTimes(id, 3);
      expect(await buildEngine(buildId)).toBe(ids[engine]);
      expect(ran).toEqual(ran.map(() => ({ status: 'COMPLETED', attempt: 1, engine: ids[engine] })));
    }
  }, 180_000);

  test('under one name with two ids, each workflow runs the one that its build found, on its engine', async () => {
    const made = [await makeImage(0, 'both:1', 'one'), await makeImage(1, 'both:1', 'two')];
    expect(made[0]).not.toBe(made[1]);
    for (let n = 0; n < 3; n++) {
      const { id, buildId } = await here.create({ ...print('echo ran'), image: 'both:1' });
      const ran = await runTimes(id, 2);
      const engine = ids.indexOf((await buildEngine(buildId)) ?? '');
      expect((await buildIn(here.database.db, buildId, 'COMPLETED')).imageId).toBe(made[engine]);
      expect(ran).toEqual(ran.map(() => ({ status: 'COMPLETED', attempt: 1, engine: ids[engine] })));
    }
  }, 180_000);

  test('an image that is gone from all engines ends the job at once, and says the way out', async () => {
    const old = await makeImage(0, 'rebuilt:1', 'old');
    const { id } = await here.create({ ...print('echo ran'), image: 'rebuilt:1' });
    const { userId } = await here.job(id, 'COMPLETED');
    await makeImage(0, 'rebuilt:1', 'new');
    await clientOf(0).getImage(old).remove({ force: true });
    const before = performance.now();
    await runWorkflow(here.database.db, { userId, id });
    const job = await here.job(id, 'FAILED', 1);
    expect(performance.now() - before).toBeLessThan(30_000);
    expect(job).toMatchObject({ failureReason: 'SYSTEM', attempt: 1 });
    expect(job.failureMessage).toContain(old);
    expect(job.failureMessage).toContain('rebuildWorkflow');
  }, 180_000);

  test('one that was built runs on the engine that built it; on the other one it is built again when the first is full', async () => {
    const built = { ...print('cat /made'), build: { dockerfile: `FROM ${IMAGE}\nRUN echo made > /made` } };
    const { id, buildId } = await here.create(built);
    const ran = await runTimes(id, 3);
    const home = await buildEngine(buildId);
    expect(ran).toEqual(ran.map(() => ({ status: 'COMPLETED', attempt: 1, engine: home })));
    const homeAt = ids.indexOf(home ?? '');
    await workers[homeAt]?.close();
    const [job] = await here.database.db.select().from(jobs).where(eq(jobs.workflowId, id));
    await runWorkflow(here.database.db, { userId: job?.userId ?? '', id });
    const away = await here.job(id, 'COMPLETED', 4);
    expect(away.attempt).toBe(1);
    expect(ranOn.get(away.id)).toBe(ids[1 - homeAt]);
    expect(await storedTexts(here.database.db, away.id)).toEqual(['made']);
    await workers[1 - homeAt]?.close();
    await startBoth();
  }, 180_000);

  test('a volume stays on the engine that has it, and its data with it', async () => {
    const append = {
      ...print('echo line >> /data/file; wc -l < /data/file'),
      volumes: [{ name: 'kept', path: '/data' }],
    };
    const { id } = await here.create(append);
    const ran = await runTimes(id, 3);
    expect(new Set(ran.map(({ engine }) => engine)).size).toBe(1);
    expect(ran.every(({ attempt }) => attempt === 1)).toBe(true);
    const last = await here.job(id, 'COMPLETED', 3);
    expect(await storedTexts(here.database.db, last.id)).toEqual(['4']);
  }, 180_000);

  describe('whose image and volumes', () => {
    const volumes = (...names: string[]) => names.map((name) => ({ name, path: `/${name}` }));

    /** Makes a volume there, by a job whose image is there alone. */
    async function makeVolume(engine: 0 | 1, name: string): Promise<void> {
      await makeImage(engine, `maker-${name}:1`, name);
      const { id } = await here.create({
        ...print(`echo kept > /${name}/file`),
        image: `maker-${name}:1`,
        volumes: volumes(name),
      });
      expect(ranOn.get((await here.job(id, 'COMPLETED')).id)).toBe(ids[engine]);
    }

    test.each([0, 1] as const)(
      'are apart: the job ends in its first attempt and says so (image on engine %i)',
      async (engine) => {
        await makeImage(engine, `apart${engine}:1`, 'one');
        const name = `apart${engine}`;
        await makeVolume(engine === 0 ? 1 : 0, name);
        const { id } = await here.create({ ...print('echo ran'), image: `apart${engine}:1`, volumes: volumes(name) });
        const job = await here.job(id, 'FAILED');
        expect(job).toMatchObject({ failureReason: 'SYSTEM', attempt: 1 });
        expect(job.failureMessage).toContain(
          `The build found the image apart${engine}:1 on one Docker engine, and the data of the volume ${name} is on another`,
        );
      },
      120_000,
    );

    test.each([0, 1] as const)(
      'are apart: an image that was built is built again on the engine of the volume (engine %i)',
      async (engine) => {
        const name = `built${engine}`;
        await makeVolume(engine, name);
        for (let n = 0; n < 3; n++) {
          const dockerfile = `FROM ${IMAGE}\nRUN echo ${name} ${n} > /made`;
          const { id } = await here.create({
            ...print(`cat /made /${name}/file`),
            build: { dockerfile },
            volumes: volumes(name),
          });
          const job = await here.job(id, 'COMPLETED');
          expect(job.attempt).toBe(1);
          expect(ranOn.get(job.id)).toBe(ids[engine]);
          expect(await storedTexts(here.database.db, job.id)).toEqual([`${name} ${n}`, 'kept']);
        }
      },
      120_000,
    );

    test('can be together, because both engines have an image of that name: the build finds the right one', async () => {
      for (const engine of [0, 1] as const) {
        await makeVolume(engine, `twin${engine}`);
        for (const at of [0, 1] as const) await makeImage(at, `twins${engine}:1`, `${at}`);
        for (let n = 0; n < 3; n++) {
          const { id, buildId } = await here.create({
            ...print('echo ran'),
            image: `twins${engine}:1`,
            volumes: volumes(`twin${engine}`),
          });
          expect(await buildEngine(buildId)).toBe(ids[engine]);
          expect((await here.job(id, 'COMPLETED')).attempt).toBe(1);
        }
      }
    }, 120_000);

    test('are apart, and two volumes of a job too: it ends and says so', async () => {
      await makeVolume(0, 'first');
      await makeVolume(1, 'second');
      await makeImage(0, 'two-volumes:1', 'one');
      const { id } = await here.create({
        ...print('echo ran'),
        image: 'two-volumes:1',
        volumes: volumes('first', 'second'),
      });
      const job = await here.job(id, 'FAILED');
      expect(job).toMatchObject({ failureReason: 'SYSTEM', attempt: 1 });
      expect(job.failureMessage).toBe(
        'The data of the volumes first, second is on different Docker engines, so no engine can run this job.',
      );
    }, 120_000);
  });

  test('a job whose engine no worker reaches waits without an attempt, can be canceled, and runs when the worker is back', async () => {
    await makeImage(0, 'waits:1', 'one');
    const { id } = await here.create({ ...print('echo ran'), image: 'waits:1' });
    const { userId } = await here.job(id, 'COMPLETED');
    await workers[0]?.close();
    await runWorkflow(here.database.db, { userId, id });
    const waiting = await here.job(id, 'QUEUED', 1);
    const passed = () =>
      until('the other engine has passed it by', async () => {
        const [turn] = await here.database.db.execute<{ waits_for: string }>(
          sql`SELECT waits_for FROM turns WHERE passed_by ? ${ids[1]}`,
        );
        return turn;
      });
    expect((await passed()).waits_for).toContain('the Docker engine that has the image waits:1');
    await cancelJob(here.database.db, { userId, id: waiting.id });
    await here.job(id, 'CANCELED', 1);
    await runWorkflow(here.database.db, { userId, id });
    await here.job(id, 'QUEUED', 2);
    await passed();
    workers[0] = await startOn(0);
    const done = await here.job(id, 'COMPLETED', 2);
    expect(done.attempt).toBe(1);
    expect(ranOn.get(done.id)).toBe(ids[0]);
  }, 180_000);

  test('a job whose engine is gone for good ends, and says so', async () => {
    await makeImage(0, 'gone:1', 'one');
    const { id } = await here.create({
      ...print('echo ran'),
      image: 'gone:1',
      volumes: [{ name: 'gone', path: '/data' }],
    });
    const { userId } = await here.job(id, 'COMPLETED');
    const { id: withVolume } = await here.create({
      ...print('echo ran'),
      image: 'gone:1', // where the volume will be, too
      volumes: [{ name: 'gone', path: '/data' }],
    });
    expect(ranOn.get((await here.job(withVolume, 'COMPLETED')).id)).toBe(ids[0]);
    for (const worker of workers) await worker.close();
    await here.database.db.execute(sql`
      UPDATE workers SET engine_seen_at = now() - make_interval(secs => ${ENGINE_AWAY_SECONDS + 1}) WHERE engine_id = ${ids[0]}`);
    // As after a stop of all: no worker has run for long enough to know that the engine is gone.
    workers[1] = await startOn(1);
    await runWorkflow(here.database.db, { userId, id: withVolume });
    const turn = await until('the other engine has returned it', async () => {
      const [turn] = await here.database.db.execute<{ waits_for: string | null }>(
        sql`SELECT waits_for FROM turns WHERE passed_by ? ${ids[1]}`,
      );
      return turn;
    });
    expect(turn.waits_for).toContain('the Docker engine that has the data of the volume gone');
    await here.job(withVolume, 'QUEUED', 1);
    await here.database.db.execute(sql`
      UPDATE workers SET started_at = now() - make_interval(secs => ${ENGINE_AWAY_SECONDS + 1})`);
    await here.database.db.execute(sql`UPDATE turns SET passed_by = '{}'`);
    const job = await here.job(withVolume, 'FAILED', 1);
    // The only engine that is known took it once before it looked for others.
    expect(job).toMatchObject({ failureReason: 'SYSTEM', attempt: 2 });
    expect(job.failureMessage).toContain('The data of the volume gone is on another Docker engine');
    workers[0] = await startOn(0);
    await runWorkflow(here.database.db, { userId, id: withVolume });
    expect(ranOn.get((await here.job(withVolume, 'COMPLETED', 2)).id)).toBe(ids[0]);
    await runWorkflow(here.database.db, { userId, id });
    await here.job(id, 'COMPLETED', 1);
  }, 120_000);
});
