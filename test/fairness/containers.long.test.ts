import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { CANCEL_CHANNEL, encodeIds } from '../../domain/hints.ts';
import { testUser } from '../support/database.ts';
import { requirePart } from '../support/parts.ts';
import { type Installation, type Made, openInstallation } from '../workflow-worker/support.ts';
import { countOf, untilCount } from './support.ts';

const host = requirePart('docker', 'fair shares of containers');
describe.skipIf(host === undefined)('containers of several users', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
  });
  afterAll(() => here.close());

  const LONG = 'trap "exit 0" TERM; sleep 300 & wait';
  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });
  const user = (name: string) => testUser(here.database.db, name);
  const create = (userId: string, script: string) => here.create(shell(script), 3, userId);
  const flood = (userId: string, count: number, script: string) =>
    Promise.all(Array.from({ length: count }, () => create(userId, script)));
  const count = (userId: string, status: string) => countOf(here.database.db, 'jobs', userId, status);
  const untilSplit = async (userId: string, running: number, queued: number) => {
    await untilCount(here.database.db, 'jobs', userId, 'RUNNING', running);
    await untilCount(here.database.db, 'jobs', userId, 'QUEUED', queued);
  };
  const stop = async (userId: string, made: Made[]) => {
    const ended = await Promise.all(made.map(({ id }) => terminateWorkflow(here.database.db, { userId, id })));
    await here.parts.cache.publish(
      CANCEL_CHANNEL,
      encodeIds(ended.flatMap((one) => one?.effects.stopping.jobIds ?? [])),
    );
    await untilCount(here.database.db, 'jobs', userId, 'RUNNING', 0);
  };

  test('P11: one user’s long jobs leave a slot to another user', async () => {
    const worker = await here.start({ capacity: 2 });
    const [greedy, modest] = [await user('greedy'), await user('modest')];
    const long = await flood(greedy, 3, LONG);
    await untilSplit(greedy, 1, 2);
    const { id } = await create(modest, 'echo mine');
    await here.job(id, 'COMPLETED');
    expect(await count(greedy, 'RUNNING')).toBe(1);
    await stop(greedy, long);
    await worker.close();
  });

  test('P11: with a single slot, one job waits for at most one round, however many others are queued', async () => {
    const worker = await here.start({ capacity: 1 });
    const [greedy, modest] = [await user('greedy'), await user('modest')];
    const many = await flood(greedy, 5, 'sleep 0.1');
    await here.job(many[0]?.id ?? '', 'COMPLETED');
    const { id } = await create(modest, 'echo mine');
    const { queuedAt, startedAt } = await here.job(id, 'COMPLETED');
    await untilCount(here.database.db, 'jobs', greedy, 'COMPLETED', 5);
    const jobs = await Promise.all(many.map((made) => here.job(made.id, 'COMPLETED')));
    const between = jobs.filter((job) => at(job.startedAt) > at(queuedAt) && at(job.startedAt) < at(startedAt));
    expect(between.length).toBeLessThanOrEqual(2);
    await worker.close();
  });

  test('RUNNING_CONTAINERS_PER_USER limits the jobs of one user that a worker runs at once', async () => {
    const worker = await here.start({ capacity: 8, containersPerUserMax: 2 });
    const greedy = await user('greedy');
    const long = await flood(greedy, 4, LONG);
    await untilSplit(greedy, 2, 2);
    const modest = await user('modest');
    const { id } = await create(modest, 'echo mine');
    await here.job(id, 'COMPLETED'); // meanwhile the worker has looked for turns again
    expect(await count(greedy, 'RUNNING')).toBe(2);
    await stop(greedy, long);
    await worker.close();
  });

  test('a worker takes the waiting turns while another worker is full', async () => {
    const first = await here.start({ capacity: 1 });
    const [greedy, modest] = [await user('greedy'), await user('modest')];
    const long = await flood(greedy, 1, LONG);
    await here.job(long[0]?.id ?? '', 'RUNNING');
    const { id } = await create(modest, 'echo mine');
    await here.job(id, 'QUEUED');
    const second = await here.start({ capacity: 1 });
    await here.job(id, 'COMPLETED');
    await stop(greedy, long);
    await first.close();
    await second.close();
  });

  test('P3: a turn whose job was canceled while it waited blocks no other turn', async () => {
    const worker = await here.start({ capacity: 2 });
    const greedy = await user('greedy');
    const long = await flood(greedy, 3, LONG);
    await untilSplit(greedy, 1, 2);
    await stop(greedy, long);
    const { id } = await create(greedy, 'echo mine');
    await here.job(id, 'COMPLETED');
    await worker.close();
  });
});

function at(time: Date | null): number {
  return time?.getTime() ?? Number.NaN;
}
