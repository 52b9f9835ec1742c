import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { enterTurns, passTurn } from '../../db/jobs/turns.ts';
import { knownEngines, listWorkers, noteWorker, noteWorkerStopped, removeOldWorkers } from '../../db/workers.ts';
import { ENGINE_AWAY_SECONDS, WORKER_KEPT_SECONDS } from '../../domain/limits.ts';
import { WORKER_NAMES, type WorkerName } from '../../domain/workers.ts';
import { insertJob } from '../support/jobs.ts';
import { until } from '../support/time.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const WORKERS = '{ system { workers { name state version startedAt lastSeenAt engineAnswers host engine } } }';

describe('the workers of an installation', () => {
  let api: TestApi;
  let operator: Person;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    [operator, ann] = [await person(api, 'operator'), await person(api)];
  });
  afterAll(() => api.close());

  beforeEach(async () => {
    await api.db.execute(sql`DELETE FROM workers`);
    for (const name of WORKER_NAMES) {
      const engineId = name === 'workflow' ? 'engine' : undefined;
      await noteWorker(api.db, { owner: 'process', name, version: '1.2.3', host: 'secret-host', engineId });
    }
  });

  /** Simulates that a worker has been silent for `seconds`. */
  async function silence(name: WorkerName, seconds: number): Promise<void> {
    const by = sql`make_interval(secs => ${seconds})`;
    await api.db.execute(sql`
      UPDATE workers SET seen_at = now() - ${by}, engine_seen_at = engine_seen_at - ${by} WHERE name = ${name}`);
  }
  const health = async (token?: string) => {
    const headers = token === undefined ? undefined : { authorization: `Bearer ${token}` };
    const response = await fetch(api.url.replace('/graphql', '/health'), { headers });
    return [response.status, await response.json()];
  };
  /** The answer is at most a second old. */
  const seen = (token: string, isNew: (workers: { name: string; state: string }[]) => boolean) =>
    until('the change is seen', async () => {
      const { workers } = (await query(api, WORKERS, { token })).data.system;
      return isNew(workers) && workers;
    });

  test('are shown with their state; machines and engines only to administrators, nothing to who is signed out', async () => {
    await noteWorkerStopped(api.db, { owner: 'process', name: 'joblogs' });
    await silence('scheduling', 45);
    const isNew = (all: { state: string }[]) => all.some(({ state }) => state === 'LOST');
    const workers = await seen(operator.token, isNew);
    expect(workers.map(({ name, state }: { name: string; state: string }) => [name, state])).toEqual([
      ['alerting', 'LIVE'],
      ['execution', 'LIVE'],
      ['workflow', 'LIVE'],
      ['joblogs', 'STOPPED'],
      ['scheduling', 'LOST'],
    ]);
    const workflow = {
      name: 'workflow',
      state: 'LIVE',
      version: '1.2.3',
      engineAnswers: true,
      startedAt: expect.any(String),
      lastSeenAt: expect.any(String),
    };
    expect(workers[2]).toEqual({ ...workflow, host: 'secret-host', engine: 'engine' });
    expect((await seen(ann.token, isNew))[2]).toEqual({ ...workflow, host: null, engine: null });
    expect(codes(await query(api, WORKERS))).toEqual(['UNAUTHENTICATED']);
  });

  test('are in the health of the operator, with what is wrong; others see only whether the system works', async () => {
    await silence('workflow', 150);
    const body = await until('it is seen', async () => {
      const [status, answer] = await health(operator.token);
      expect(status).toBe(200);
      return answer.problems?.length === 1 && answer;
    });
    expect(body).toMatchObject({ status: 'UP', database: 'EMBEDDED', cache: 'EMBEDDED' });
    expect(body.problems).toEqual(['No workflow worker has been seen for 2 minutes.']);
    expect(body.workers).toContainEqual(
      expect.objectContaining({ name: 'workflow', state: 'LOST', host: 'secret-host' }),
    );
    expect(await health()).toEqual([200, { status: 'UP' }]);
    expect(await health(ann.token)).toEqual([200, { status: 'UP' }]);
    expect(await health(`cva_${'x'.repeat(43)}`)).toEqual([200, { status: 'UP' }]);
  });

  test('a waiting job says which of them it misses', async () => {
    const queued = await insertJob(api.db, ann.id, { status: 'QUEUED', attempt: 0, startedAt: null, leaseToken: null });
    const pending = await insertJob(api.db, ann.id, {
      status: 'PENDING',
      attempt: 0,
      startedAt: null,
      leaseToken: null,
    });
    const done = await insertJob(api.db, ann.id, { status: 'COMPLETED', completedAt: new Date() });
    const reason = async (id: string) =>
      (await query(api, `{ job(id: "${id}") { waitingReason } }`, { token: ann.token })).data.job.waitingReason;
    const becomes = (id: string, words: string | null) =>
      until(`it says "${words}"`, async () => (await reason(id)) === words);

    await becomes(queued, null);
    await silence('workflow', 121);
    await becomes(queued, 'No workflow worker has been seen for 2 minutes.');
    await silence('scheduling', 300);
    await becomes(pending, 'No scheduling worker has been seen for 5 minutes.');
    expect(await reason(done)).toBeNull();

    await noteWorker(api.db, { owner: 'process', name: 'workflow', version: '1', host: 'h' });
    await becomes(queued, 'No workflow worker reaches its Docker engine.');
    await noteWorker(api.db, { owner: 'process', name: 'workflow', version: '1', host: 'h', engineId: 'engine' });
    await enterTurns(api.db, 'CONTAINER', [queued]);
    await passTurn(
      api.db,
      { id: queued, passedBy: {} },
      { by: 'engine', seconds: 30, waitsFor: 'It waits for its engine.' },
    );
    await becomes(queued, 'It waits for its engine.');
  });

  test('are forgotten after a while, and their engines before that', async () => {
    await silence('workflow', ENGINE_AWAY_SECONDS - 60);
    expect(await knownEngines(api.db)).toMatchObject({ engines: [{ id: 'engine', isLive: false }] });
    await silence('workflow', ENGINE_AWAY_SECONDS);
    expect((await knownEngines(api.db)).engines).toEqual([]);
    expect(await removeOldWorkers(api.db)).toBe(0);
    await silence('workflow', WORKER_KEPT_SECONDS + 1);
    expect(await removeOldWorkers(api.db)).toBe(1);
    expect((await listWorkers(api.db)).map(({ name }) => name)).toEqual([
      ...['alerting', 'execution', 'joblogs', 'scheduling'],
    ]);
  });
});
