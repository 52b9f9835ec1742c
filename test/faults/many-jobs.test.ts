import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { asc, isNotNull, like } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobs } from '../../db/schema.ts';
import { ADOPTION_SECONDS, LEASE_SECONDS } from '../../domain/limits.ts';
import { cleanUp, type Running } from '../support/processes.ts';
import { letPass, untilSlow } from '../support/time.ts';
import { randomOf } from './random.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

const HEARTBEATS = 40;
const CONTAINERS = 12;
const JOBS_OF_EACH = 4;
const LINES = 200;
const WORKERS = ['scheduling', 'execution', 'workflow', 'joblogs'];
const LOAD_MS = 3_000; // the jobs of a workflow run one after the other
/**
 * Live workers look for leftovers of dead ones every 5 s, and a group removes a dead member after 6
 * s.
 */
const NOTICED_MS = 12_000;

const servers = requireServers('many jobs while workers are killed');
describe.skipIf(servers === undefined)('two copies of each worker, of which one is killed under load', () => {
  let here: Installation;
  let endpoint: Server;
  beforeAll(async () => {
    if (servers === undefined) return;
    endpoint = createServer((_, response) => setTimeout(() => response.end('here'), 700)).listen(0, '127.0.0.1');
    here = await openInstallation(servers, { env: { HEARTBEAT_ALLOW: 'loopback' } });
  });
  afterAll(async () => {
    await cleanUp();
    endpoint?.close();
    await here?.close();
  });

  test('P3, P4, P5: every job reaches one final state, its log is complete, and no container is left', async () => {
    const random = randomOf('kills under load');
    const { db } = here.database;
    const [doomed, living] = [0, 1].map(() => WORKERS.map((name) => here.start('worker', name)));
    if (doomed === undefined || living === undefined) throw new Error('There are two copies.');
    await Promise.all([...doomed, ...living].map((worker) => worker.ready()));

    const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`;
    const exits = (n: number) => (n % 3 === 0 ? 3 : 0);
    const containers = await Promise.all(
      Array.from({ length: CONTAINERS }, (_, n) =>
        here.create({ command: ['sh', '-c', `seq 1 ${LINES}; sleep 0.5; exit ${exits(n)}`] }),
      ),
    );
    await Promise.all(containers.map((id) => here.job(id, 'ENDED'))); // now they are built
    const heartbeats = await Promise.all(
      Array.from({ length: HEARTBEATS }, () => here.create({ kind: 'HEARTBEAT', endpoint: url })),
    );
    const all = [...containers, ...heartbeats];
    for (let n = 1; n < JOBS_OF_EACH; n += 1) for (const id of all) await here.run(id);

    const killed = await Promise.all(
      doomed.map(async (worker) => {
        await delay(random() * LOAD_MS);
        return worker.kill('SIGKILL');
      }),
    );
    expect(killed).toEqual(doomed.map(() => ({ code: null, signal: 'SIGKILL' })));
    // The first job of each comes with its slot, perhaps after the requested ones.
    const made = all.length * JOBS_OF_EACH;
    const ended = () => db.$count(jobs, isNotNull(jobs.completedAt));
    expect(await ended()).toBeLessThan(made); // otherwise the last kill came too late
    await delay(NOTICED_MS);
    for (const worker of doomed) await loseLeases(worker);
    await untilSlow('every job has ended', async () => (await ended()) === made);

    const rows = await db.select().from(jobs).orderBy(asc(jobs.id));
    expect(rows).toHaveLength(made);
    for (const job of rows) {
      const exitCode = job.kind === 'HEARTBEAT' ? null : exits(containers.indexOf(job.workflowId));
      const status = exitCode === 3 ? 'FAILED' : 'COMPLETED';
      expect(job).toMatchObject({ status, exitCode, leaseToken: null, leaseOwner: null });
      const lines = await here.lines(job.id);
      expect(lines.map(({ number }) => number)).toEqual(lines.map((_, index) => index + 1));
      const last = lines.filter(({ attempt }) => attempt === job.attempt);
      if (job.kind === 'HEARTBEAT') expect(last.at(-1)?.text).toContain('200 OK');
      // A worker that was killed between the claim and the start lost an attempt, and a line says so.
      else
        expect(last.filter(({ source }) => source === 'PROGRAM').map(({ text }) => text)).toEqual(
          Array.from({ length: LINES }, (_, n) => String(n + 1)),
        );
    }
    await here.removed();
    const stopped = await Promise.all(living.map((worker) => worker.kill('SIGTERM')));
    expect(stopped).toEqual(living.map(() => ({ code: 0, signal: null })));
  }, 240_000);

  /**
   * Jobs that a dead worker claimed but did not begin, or that cannot be adopted, are given up when
   * their leases expire. This expires the leases at once.
   */
  async function loseLeases({ pid }: Running): Promise<void> {
    const left = await here.database.db
      .select()
      .from(jobs)
      .where(like(jobs.leaseOwner, `% ${pid} %`));
    for (const { workflowId } of left)
      await letPass(here.database.db, workflowId, LEASE_SECONDS + ADOPTION_SECONDS + 1);
    console.info(`${left.length} jobs were left by the process ${pid}`);
  }
});
