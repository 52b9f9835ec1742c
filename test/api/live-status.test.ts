import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimJobs } from '../../db/jobs/claim.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { jobs, workflows } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const JOB =
  'subscription ($jobId: ID, $workflowId: ID) { jobUpdated(jobId: $jobId, workflowId: $workflowId) { id status attempt completedAt workflow { name } } }';
const WORKFLOW = 'subscription ($workflowId: ID) { workflowUpdated(workflowId: $workflowId) { id name terminatedAt } }';

interface Update {
  jobUpdated: { id: string; status: string; attempt: number; completedAt: string | null; workflow: { name: string } };
  workflowUpdated: { id: string; name: string; terminatedAt: string | null };
}

describe('a status that is followed', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  let client: ReturnType<typeof socketOf>;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
    client = socketOf(api, ann.token);
  });
  afterAll(async () => {
    await client.dispose();
    await api.close();
  });

  const follow = (document: string, variables: Record<string, unknown> = {}) =>
    taker(client.iterate<Update>({ query: document, variables }));
  const mutate = async (name: string, input: object) => {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
    const object = name.endsWith('Workflow') && name !== 'runWorkflow' ? 'workflow' : 'job';
    const document = `mutation ($input: ${type}!) { ${name}(input: $input) { ${object} { id ${object === 'job' ? 'workflowId ' : ''}} userErrors { code } } }`;
    return (await query(api, document, { token: ann.token, variables: { input } })).data[name][object];
  };
  const createWorkflow = (name = 'a'): Promise<{ id: string }> =>
    mutate('createWorkflow', { name, payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 });

  /** Writes what a worker would write, with or without a hint. */
  async function set(id: string, values: Partial<typeof jobs.$inferInsert>, { published = true } = {}): Promise<void> {
    await api.db.update(jobs).set(values).where(eq(jobs.id, id));
    if (published) await api.cache.publish(userChannel(ann.id), encodeChanged({ jobs: [id] }));
  }
  const queued = () => ({ status: 'QUEUED' as const, queuedAt: new Date() });
  const running = () => ({ status: 'RUNNING' as const, attempt: 1, startedAt: new Date(), leaseToken: newId() });
  const completed = () => ({ status: 'COMPLETED' as const, completedAt: new Date(), leaseToken: null });

  test('of a job shows each of its states up to the final one', async () => {
    const job = await mutate('runWorkflow', { id: (await createWorkflow()).id });
    const stream = follow(JOB, { jobId: job.id });
    const statuses = [(await stream.take()).data?.jobUpdated.status];
    for (const values of [queued(), running()]) {
      await set(job.id, values);
      statuses.push((await stream.take()).data?.jobUpdated.status);
    }
    await set(job.id, { leaseExpiresAt: new Date() }); // a renewed lease is not a change
    await set(job.id, completed());
    statuses.push(...(await stream.rest()).map(({ data }) => data?.jobUpdated.status));
    expect(statuses).toEqual(['PENDING', 'QUEUED', 'RUNNING', 'COMPLETED']);
  });

  test('of a job skips no state if hints come together or not at all', async () => {
    for (const published of [true, false]) {
      const job = await mutate('runWorkflow', { id: (await createWorkflow()).id });
      const stream = follow(JOB, { jobId: job.id });
      const statuses = [(await stream.take()).data?.jobUpdated];
      await set(job.id, { ...queued(), ...running(), ...completed() }, { published });
      statuses.push(...(await stream.rest()).map(({ data }) => data?.jobUpdated));
      expect(statuses.map((seen) => [seen?.status, seen?.attempt])).toEqual([
        ['PENDING', 0],
        ['QUEUED', 0],
        ['RUNNING', 1],
        ['COMPLETED', 1],
      ]);
      expect(statuses.map((seen) => seen?.completedAt !== null)).toEqual([false, false, false, true]);
    }
  });

  test.each([true, false])('of a job that is returned becomes PENDING again, counted: %s', async (counted) => {
    const job = await mutate('runWorkflow', { id: (await createWorkflow()).id });
    for (const variables of [{ jobId: job.id }, { workflowId: job.workflowId }]) {
      const follower = follow(JOB, variables);
      const seen = async () => {
        const update = (await follower.take()).data?.jobUpdated;
        return [update?.status, update?.attempt];
      };
      const hint = () => api.cache.publish(userChannel(ann.id), encodeChanged({ jobs: [job.id] }));
      const [now] = await api.db.select().from(jobs).where(eq(jobs.id, job.id));
      const before = now?.attempt ?? 0;
      expect(await seen()).toEqual(['PENDING', before]);
      for (const attempt of [before + 1, before + 2]) {
        await set(job.id, queued());
        expect(await seen()).toEqual(['QUEUED', attempt - 1]);
        const { claimed } = await claimJobs(api.db, [job.id], { owner: 'test' });
        await hint();
        expect(await seen()).toEqual(['RUNNING', attempt]);
        await returnJobs(api.db, claimed, { counted });
        await hint();
        expect(await seen()).toEqual(['PENDING', attempt]);
      }
      await follower.stop();
    }
  });

  test('of an ended job is sent once', async () => {
    const job = await mutate('runWorkflow', { id: (await createWorkflow()).id });
    await mutate('cancelJob', { id: job.id });
    expect((await follow(JOB, { jobId: job.id }).rest()).map(({ data }) => data?.jobUpdated.status)).toEqual([
      'CANCELED',
    ]);
  });

  test("of a workflow's jobs begins with the newest job, if any, and continues with every later one", async () => {
    const workflow = await createWorkflow('of jobs');
    const stream = follow(JOB, { workflowId: workflow.id });
    const first = stream.take();
    await expect
      .poll(async () => {
        const job = await mutate('runWorkflow', { id: workflow.id });
        return (
          (await Promise.race([first, new Promise<undefined>((resolve) => setTimeout(resolve, 200))])) !== undefined &&
          job !== null
        );
      })
      .toBe(true);
    const started = (await first).data?.jobUpdated;
    expect(started).toMatchObject({ status: 'PENDING', workflow: { name: 'of jobs' } });
    await set(started?.id ?? '', { ...queued(), ...running() });
    const next = await mutate('runWorkflow', { id: workflow.id });
    await set(started?.id ?? '', completed());
    await set(next.id, queued(), { published: false });
    const seen: string[] = [];
    while (!(seen.includes(`${next.id} QUEUED`) && seen.includes(`${started?.id} COMPLETED`))) {
      const update = (await stream.take()).data?.jobUpdated;
      seen.push(`${update?.id} ${update?.status}`);
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toContain(`${started?.id} RUNNING`);
    await stream.stop();
  });

  test("of a workflow's jobs ends when the workflow is purged, published or not", async () => {
    const workflow = await createWorkflow('of jobs');
    const published = follow(JOB, { workflowId: workflow.id });
    const job = await mutate('runWorkflow', { id: workflow.id });
    expect((await published.take()).data?.jobUpdated.id).toBe(job.id);
    await mutate('deleteWorkflow', { id: workflow.id, purge: true });
    await published.rest();

    const other = await createWorkflow('of jobs');
    const unpublished = follow(JOB, { workflowId: other.id });
    const first = await mutate('runWorkflow', { id: other.id });
    expect((await unpublished.take()).data?.jobUpdated.id).toBe(first.id);
    await api.db.delete(workflows).where(eq(workflows.id, other.id));
    expect(await unpublished.rest()).toEqual([]);
  });

  test('of a workflow is its current state, then each change', async () => {
    const workflow = await createWorkflow('before');
    const stream = follow(WORKFLOW, { workflowId: workflow.id });
    expect((await stream.take()).data?.workflowUpdated).toMatchObject({ id: workflow.id, name: 'before' });
    await mutate('updateWorkflow', { id: workflow.id, name: 'after' });
    expect((await stream.take()).data?.workflowUpdated.name).toBe('after');
    await api.db
      .update(workflows)
      .set({ name: 'silently', updatedAt: new Date() })
      .where(eq(workflows.id, workflow.id));
    expect((await stream.take()).data?.workflowUpdated.name).toBe('silently');
    await mutate('deleteWorkflow', { id: workflow.id });
    expect((await stream.take()).data?.workflowUpdated.terminatedAt).not.toBeNull();
    await api.db.delete(workflows).where(eq(workflows.id, workflow.id));
    expect(await stream.rest()).toEqual([]);
  });

  test("P6: of all workflows of a user is every change of any of them, and none of Bob's", async () => {
    const asBob = socketOf(api, bob.token);
    const bobs = taker(asBob.iterate<Update>({ query: WORKFLOW }));
    const nothing = bobs.take().catch(() => 'nothing');
    const stream = follow(WORKFLOW);
    const first = stream.take();
    await expect
      .poll(async () => {
        await createWorkflow('one of many');
        return Promise.race([
          first.then(({ data }) => data?.workflowUpdated.name),
          new Promise((resolve) => setTimeout(resolve, 200)),
        ]);
      })
      .toBe('one of many');
    const other = await createWorkflow('another');
    for (;;) if ((await stream.take()).data?.workflowUpdated.id === other.id) break;
    await api.db
      .update(workflows)
      .set({ name: 'unpublished', updatedAt: new Date() })
      .where(eq(workflows.id, other.id));
    expect((await stream.take()).data?.workflowUpdated).toMatchObject({ id: other.id, name: 'unpublished' });
    await stream.stop();
    expect(await Promise.race([nothing, 'still nothing'])).toBe('still nothing');
    await bobs.stop();
    await asBob.dispose();
  });

  test('P6: is NOT_FOUND to Bob as if it did not exist, and takes at most one id', async () => {
    const workflow = await createWorkflow();
    const job = await mutate('runWorkflow', { id: workflow.id });
    const asBob = socketOf(api, bob.token);
    for (const variables of [
      { jobId: job.id },
      { jobId: newId() },
      { workflowId: workflow.id },
      { workflowId: 'malformed' },
    ]) {
      const [answer] = await taker(asBob.iterate({ query: JOB, variables })).rest();
      expect(answer?.errors?.[0]).toMatchObject({ extensions: { code: 'NOT_FOUND' } });
    }
    const [answer] = await taker(asBob.iterate({ query: WORKFLOW, variables: { workflowId: workflow.id } })).rest();
    expect(answer?.errors?.[0]).toMatchObject({ extensions: { code: 'NOT_FOUND' } });
    const both = { jobId: job.id, workflowId: workflow.id };
    const [refused] = await taker(asBob.iterate({ query: JOB, variables: both })).rest();
    expect(refused?.errors?.[0]).toMatchObject({ extensions: { code: 'BAD_REQUEST' } });
    await asBob.dispose();
  });

  test('P6: of all jobs shows each state of each of the own jobs, with and without hints', async () => {
    const workflowIds = [(await createWorkflow()).id, (await createWorkflow()).id];
    const waiting = await mutate('runWorkflow', { id: workflowIds[0] });
    const asBob = socketOf(api, bob.token);
    const bobs = taker(asBob.iterate<Update>({ query: JOB }));
    const nothing = bobs.take().then(
      () => 'something',
      () => 'nothing',
    );
    const stream = follow(JOB);
    const next = async (): Promise<[string | undefined, string | undefined]> => {
      const update = (await stream.take()).data?.jobUpdated;
      return [update?.id, update?.status];
    };
    const first = next();
    let last = '';
    // Until the stream has begun, its first event is a job that was made after that.
    for (let got: unknown; got === undefined; ) {
      last = (await mutate('runWorkflow', { id: workflowIds[1] })).id;
      await api.cache.publish(userChannel(ann.id), encodeChanged({ jobs: [last] }));
      got = await Promise.race([first, new Promise((resolve) => setTimeout(resolve, 200))]);
    }
    for (let seen = await first; seen[0] !== last; ) seen = await next();
    for (const published of [true, false]) {
      const made = await mutate('runWorkflow', { id: workflowIds[published ? 0 : 1] });
      if (published) await api.cache.publish(userChannel(ann.id), encodeChanged({ jobs: [made.id] }));
      expect(await next()).toEqual([made.id, 'PENDING']);
      await set(made.id, { ...queued(), ...running(), ...completed() }, { published });
      for (const status of ['QUEUED', 'RUNNING', 'COMPLETED']) expect(await next()).toEqual([made.id, status]);
    }
    // It had not ended when the stream began, and no hint names its change.
    await set(waiting.id, { ...queued(), ...running(), ...completed() }, { published: false });
    for (const status of ['QUEUED', 'RUNNING', 'COMPLETED']) expect(await next()).toEqual([waiting.id, status]);
    expect(await nothing).toBe('nothing');
    await stream.stop();
    await asBob.dispose();
  });

  test('leaves no line in the log', () => {
    expect(api.logged).toEqual([]);
  });
});
