import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { builds, jobs } from '../../db/schema.ts';
import { CANCEL_CHANNEL, type Changed, decodeChanged, decodeIds, userChannel } from '../../domain/hints.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { encodeChunks } from '../../domain/logs/chunk.ts';
import { publishEffects } from '../../platform/publish.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { schedulingPass } from '../../workers/scheduling/pass.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { numberedChunk } from '../support/lines.ts';
import { until } from '../support/time.ts';
import { quiet, testSealer } from '../support/workers.ts';
import { type Person, person, query, type TestApi, testApi } from './support.ts';

const CONTAINER = 'container: { image: "alpine" }';
const HEARTBEAT = 'heartbeat: { endpoint: "http://127.0.0.1:1/" }';
const FOR_EVER = { watchedSeconds: () => Number.POSITIVE_INFINITY };

/**
 * No scheduling worker runs here and no client follows a log, so only the api itself can publish a
 * change.
 */
describe('after a change', () => {
  let api: TestApi;
  let ann: Person;
  let storing: Worker;
  const hints: Changed[] = [];
  const stopped: string[] = [];
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    storing = await startJoblogs({ ...api, log: quiet, owner: 'joblogs', sealer: testSealer });
    await api.cache.subscribe(userChannel(ann.id), (message) => hints.push(decodeChanged(message)));
    await api.cache.subscribe(CANCEL_CHANNEL, (message) => stopped.push(...decodeIds(message)));
  });
  beforeEach(() => {
    hints.length = 0;
    stopped.length = 0;
  });
  afterAll(async () => {
    await storing.close();
    await api.close();
  });

  async function mutate(mutation: string, input: string, fields: string) {
    const document = `mutation { ${mutation}(input: { ${input} }) { ${fields} userErrors { message } } }`;
    const { data } = await query(api, document, { token: ann.token });
    expect(data[mutation].userErrors).toEqual([]);
    return data[mutation];
  }

  async function create(payload: string): Promise<{ id: string; buildId: string }> {
    const input = `name: "effects", interval: 60, maxConsecutiveJobFailuresAllowed: 1, payload: { ${payload} }`;
    const { workflow } = await mutate('createWorkflow', input, 'workflow { id build { id } }');
    return { id: workflow.id, buildId: workflow.build?.id ?? '' };
  }

  async function claimBuild(id: string) {
    const [build] = (await claimBuilds(api.db, [id], { owner: 'test' })).claimed;
    if (build === undefined) throw new Error('no build');
    return build;
  }

  /** A workflow whose image is built. */
  async function built(): Promise<string> {
    const { id, buildId } = await create(CONTAINER);
    const build = await claimBuild(buildId);
    await endBuild(api.db, { ...build, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 });
    return id;
  }

  async function runningJob(workflowId: string) {
    const { effects } = await schedulingPass({ db: api.db, limit: 100, watchedSeconds: () => 0 });
    const ids = effects.dispatched.map(({ id }) => id);
    const { claimed } = await claimJobs(api.db, ids, { owner: 'test', engineId: 'engine' });
    const job = claimed.find((one) => one.workflowId === workflowId);
    if (job === undefined) throw new Error('no job');
    return job;
  }

  /** Starts the build of a new generation. */
  async function nextBuild(workflowId: string) {
    const input = `id: "${workflowId}", payload: { container: { image: "alpine", args: ["next"] } }`;
    const { workflow } = await mutate('updateWorkflow', input, 'workflow { build { id } }');
    return claimBuild(workflow.build.id);
  }

  async function print(id: string): Promise<void> {
    await api.bus.publish('job_logs', [{ key: id, value: encodeChunks([await numberedChunk(id, 1, 20)]) }]);
  }

  /** Waits until the log is closed with all lines that were printed before. */
  async function closed(table: typeof jobs | typeof builds, id: string): Promise<void> {
    await until('the log is closed', async () => {
      const [row] = await api.db.select().from(table).where(eq(table.id, id));
      return row?.completedAt !== null && row?.logOpen === false && row.logLineCount === 20;
    });
  }

  const named = (kind: keyof Changed) => hints.flatMap((hint) => hint[kind] ?? []);

  test('the log of a build that is canceled with its workflow, or by the next generation, is closed', async () => {
    for (const cancel of ['terminateWorkflow', 'deleteWorkflow', 'updateWorkflow']) {
      const { id, buildId } = await create(CONTAINER);
      await claimBuild(buildId);
      await print(buildId);
      if (cancel === 'updateWorkflow') await nextBuild(id);
      else await mutate(cancel, `id: "${id}"`, '');
      await closed(builds, buildId);
      expect(stopped).toContain(buildId);
      expect(named('builds')).toContain(buildId);
    }
  });

  test('the log of a build that is canceled by the last failure that its workflow allows is closed', async () => {
    const id = await built();
    const job = await runningJob(id);
    const build = await nextBuild(id);
    await print(build.id);
    const failed = { ...job, status: 'FAILED', failureReason: 'EXIT_CODE', logLineCount: 0 } as const;
    await publishEffects({ ...api, log: quiet }, (await endJobs(api.db, [failed])).effects);
    await closed(builds, build.id);
    expect(stopped).toEqual([build.id]);
    expect(named('workflows')).toContain(id);
  });

  test('the log of a job that is canceled when its worker returns it is closed', async () => {
    const job = await runningJob(await built());
    await print(job.id);
    await mutate('cancelJob', `id: "${job.id}"`, 'job { status }');
    const { effects } = await returnJobs(api.db, [job], { counted: true });
    await publishEffects({ ...api, log: quiet }, effects);
    await closed(jobs, job.id);
  });

  test('the log of a build that the sweep fails is closed, and subscribers see the build and its requested jobs', async () => {
    const id = await built();
    const { job } = await mutate('runWorkflow', `id: "${id}"`, 'job { id }');
    const build = await nextBuild(id);
    await print(build.id);
    const lost = { attempt: ATTEMPTS_MAX, leaseExpiresAt: sql`now() - interval '1 second'` };
    await api.db.update(builds).set(lost).where(eq(builds.id, build.id));
    hints.length = 0;
    await publishEffects({ ...api, log: quiet }, await sweepBuilds(api.db, FOR_EVER));
    await closed(builds, build.id);
    expect(named('builds')).toContain(build.id);
    expect(named('workflows')).toContain(id);
    expect(named('jobs')).toEqual([job.id]);
    expect(named('notifications')).toHaveLength(1);
  });

  test('subscribers see the requested jobs that a failed build cancels', async () => {
    const id = await built();
    const { job } = await mutate('runWorkflow', `id: "${id}"`, 'job { id }');
    const build = await nextBuild(id);
    hints.length = 0;
    const effects = await endBuild(api.db, { ...build, status: 'FAILED', error: 'No such image.', logLineCount: 0 });
    if (effects === undefined) throw new Error('The lease is lost.');
    await publishEffects({ ...api, log: quiet }, effects);
    expect(named('jobs')).toEqual([job.id]);
  });

  test('a hint contains running jobs only as jobs', async () => {
    const { id } = await create(HEARTBEAT);
    const job = await runningJob(id);
    hints.length = 0;
    await mutate('terminateWorkflow', `id: "${id}"`, '');
    await until('the worker is asked to stop', async () => stopped.includes(job.id));
    expect(named('jobs')).toEqual([job.id]);
    expect(named('builds')).toEqual([]);
  });
});
