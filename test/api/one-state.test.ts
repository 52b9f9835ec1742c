import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WorkflowLists } from '../../api/live/workflow-lists.ts';
import { connect } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { builds, jobs, workflows } from '../../db/schema.ts';
import { inSnapshot } from '../../db/snapshot.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { waitersFor } from '../support/database.ts';
import { numberedChunk } from '../support/lines.ts';
import {
  codes,
  createWorkflow,
  type Person,
  person,
  query,
  socketOf,
  type TestApi,
  taker,
  testApi,
} from './support.ts';

/** Writes without a pause until it is stopped, as a busy worker does. */
function writing(write: () => Promise<unknown>): () => Promise<void> {
  let goesOn = true;
  const run = async () => {
    while (goesOn) await write();
  };
  const running = run();
  return async () => {
    goesOn = false;
    await running;
  };
}

const ROUNDS = 20;

describe('one answer shows one state', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  const hint = (changed: object) => api.cache.publish(userChannel(ann.id), encodeChanged(changed));
  const run = async (workflowId: string): Promise<string> => {
    const document = 'mutation ($id: ID!) { runWorkflow(input: { id: $id }) { job { id } } }';
    return (await query(api, document, { token: ann.token, variables: { id: workflowId } })).data.runWorkflow.job.id;
  };
  /** Moves a job on to its next state, and back to QUEUED after RUNNING. */
  const moveOn = async (id: string) => {
    await api.db.execute(sql`
      UPDATE jobs SET attempt = attempt + CASE WHEN status = 'RUNNING' THEN 0 ELSE 1 END, queued_at = clock_timestamp(),
        started_at = CASE WHEN status = 'RUNNING' THEN NULL ELSE clock_timestamp() END,
        lease_token = CASE WHEN status = 'RUNNING' THEN NULL ELSE ${newId()}::uuid END,
        status = CASE WHEN status = 'RUNNING' THEN 'QUEUED' ELSE 'RUNNING' END
      WHERE id = ${id}`);
  };

  test('of a job in each event, on whatever way the event reaches it', async () => {
    const { workflow } = await createWorkflow(api, ann);
    const id = await run(workflow.id);
    const client = socketOf(api, ann.token);
    const state = 'id status attempt startedAt';
    const document = `subscription ($jobId: ID, $workflowId: ID) { jobUpdated(jobId: $jobId, workflowId: $workflowId) {
      ${state} workflow { latestJob { ${state} workflow { latestJob { ${state} } } } jobs { nodes { ${state} } edges { node { ${state} } } } } } }`;
    for (const variables of [{ jobId: id }, { workflowId: workflow.id }]) {
      const stream = taker(client.iterate<{ jobUpdated: Record<string, unknown> }>({ query: document, variables }));
      await stream.take();
      const stop = writing(async () => {
        await moveOn(id);
        await hint({ jobs: [id] });
      });
      for (let round = 0; round < ROUNDS; round += 1) {
        const { workflow: of, ...job } = (await stream.take()).data?.jobUpdated ?? {};
        const { latestJob, jobs: listed } = Object(of);
        const { workflow: again, ...latest } = latestJob;
        expect([latest, again.latestJob, listed.nodes[0], listed.edges[0].node]).toEqual([job, job, job, job]);
      }
      await stop();
      await stream.stop();
    }
    await client.dispose();
  });

  test('of several rows in each answer to a query, and of what one transaction changed', async () => {
    const { workflow } = await createWorkflow(api, ann, { payload: { container: { image: 'alpine:3' } } });
    const [build] = await api.db.select().from(builds).where(eq(builds.workflowId, workflow.id));
    const statuses = ['QUEUED', 'FAILED'] as const;
    let turn = 0;
    const stop = writing(() =>
      api.db.transaction(async (tx) => {
        turn += 1;
        const status = statuses[turn % 2] ?? 'QUEUED';
        const completedAt = status === 'FAILED' ? new Date() : null;
        const set = { status, completedAt, error: status === 'FAILED' ? 'no' : null };
        await tx
          .update(builds)
          .set(set)
          .where(eq(builds.id, build?.id ?? ''));
        await tx
          .update(workflows)
          .set({ buildStatus: status, consecutiveJobFailuresCount: turn, updatedAt: new Date() })
          .where(eq(workflows.id, workflow.id));
      }),
    );
    const document = `query ($id: ID!) {
      workflow(id: $id) { buildStatus build { status workflow { buildStatus consecutiveJobFailuresCount } } consecutiveJobFailuresCount }
      workflows { nodes { buildStatus build { status } consecutiveJobFailuresCount } }
      node(id: $id) { ... on Workflow { buildStatus build { status } consecutiveJobFailuresCount } } }`;
    for (let round = 0; round < ROUNDS; round += 1) {
      const { data } = await query(api, document, { token: ann.token, variables: { id: workflow.id } });
      const { build: nested, ...outer } = data.workflow;
      expect(nested.status).toBe(outer.buildStatus);
      expect(nested.workflow).toEqual(outer);
      const same = { ...outer, build: { status: outer.buildStatus } };
      expect([data.workflows.nodes[0], data.node]).toEqual([same, same]);
    }
    await stop();

    const client = socketOf(api, ann.token);
    const updated = 'subscription ($id: ID) { workflowUpdated(workflowId: $id) { buildStatus build { status } } }';
    for (const id of [workflow.id, undefined]) {
      const stream = taker(
        client.iterate<{ workflowUpdated: { buildStatus: string; build: { status: string } } }>({
          query: updated,
          variables: { id },
        }),
      );
      const stopEvents = writing(async () => {
        turn += 1;
        const status = statuses[turn % 2] ?? 'QUEUED';
        await api.db.transaction(async (tx) => {
          const isFailed = status === 'FAILED';
          const set = { status, completedAt: isFailed ? new Date() : null, error: isFailed ? 'no' : null };
          await tx
            .update(builds)
            .set(set)
            .where(eq(builds.id, build?.id ?? ''));
          await tx
            .update(workflows)
            .set({ buildStatus: status, updatedAt: sql`clock_timestamp()` })
            .where(eq(workflows.id, workflow.id));
        });
        await hint({ workflows: [workflow.id] });
      });
      for (let round = 0; round < ROUNDS; round += 1) {
        const { buildStatus, build: nested } = (await stream.take()).data?.workflowUpdated ?? {};
        expect(nested?.status).toBe(buildStatus);
      }
      await stopEvents();
      await stream.stop();
    }
    await client.dispose();
  });

  test('of a job and its log, whether the log grows or is at its end', async () => {
    const { workflow } = await createWorkflow(api, ann, { name: 'printer' });
    const id = await run(workflow.id);
    await moveOn(id);
    let number = 0;
    const print = () =>
      api.db.transaction(async (tx) => {
        number += 1;
        await insertChunks(tx, [await numberedChunk(id, number, number)]);
        await tx.update(jobs).set({ attempt: number }).where(eq(jobs.id, id));
      });
    const document = `{ jobs(filter: { workflowId: "${workflow.id}" }) {
      nodes { status attempt logs(last: 1) { nodes { number } } } } }`;
    const read = async () => (await query(api, document, { token: ann.token })).data.jobs.nodes[0];
    const readMeanwhile = async () => {
      const stop = writing(print);
      const shown = [];
      for (let round = 0; round < ROUNDS; round += 1) shown.push(await read());
      await stop();
      for (const { attempt, logs } of shown) expect(logs.nodes).toEqual([{ number: attempt }]);
    };
    const set = (to: Partial<typeof jobs.$inferInsert>) => api.db.update(jobs).set(to).where(eq(jobs.id, id));
    await print();
    await readMeanwhile();
    const now = new Date();
    await set({ status: 'COMPLETED', startedAt: now, completedAt: now, leaseToken: null, logOpen: true });
    await readMeanwhile();
    await set({ logOpen: false });
    expect(await read()).toEqual({ status: 'COMPLETED', attempt: number, logs: { nodes: [{ number }] } });
  });

  test('or an error if the database refuses it, and a WebSocket stays open', async () => {
    const { workflow } = await createWorkflow(api, ann);
    const dead = connect('postgres://nobody@127.0.0.1:1/none', { max: 1, application: 'test' });
    const away = () =>
      vi.spyOn(api.db, 'transaction').mockImplementationOnce((run, config) => dead.db.transaction(run, config));
    const document = `{ workflow(id: "${workflow.id}") { latestJob { id } } }`;
    away();
    expect(codes(await query(api, document, { token: ann.token }))).toEqual(['UNAVAILABLE']);
    const client = socketOf(api, ann.token);
    const isClosed = vi.fn();
    client.on('closed', isClosed);
    const stream = taker(
      client.iterate<{ workflowUpdated: { name: string } }>({
        query: 'subscription ($id: ID) { workflowUpdated(workflowId: $id) { name latestJob { id } } }',
        variables: { id: workflow.id },
      }),
    );
    await stream.take();
    away();
    const [refused] = await taker(client.iterate({ query: document })).rest();
    expect(refused?.errors?.[0]).toMatchObject({ extensions: { code: 'UNAVAILABLE' } });
    const rename = async (name: string) => {
      await api.db.update(workflows).set({ name, updatedAt: new Date() }).where(eq(workflows.id, workflow.id));
      await hint({ workflows: [workflow.id] });
      return stream.take();
    };
    away();
    expect((await rename('one')).errors?.[0]).toMatchObject({ extensions: { code: 'UNAVAILABLE' } });
    expect((await rename('two')).data?.workflowUpdated.name).toBe('two');
    expect(isClosed).not.toHaveBeenCalled();
    await stream.stop();
    await client.dispose();
    await dead.close();
  });

  test('and is limited in time and number, and ends with the answer', async () => {
    let late = api.db;
    const limit = sql`SELECT current_setting('statement_timeout') AS limit`;
    await inSnapshot(api.db, async (snapshot) => {
      late = snapshot;
      expect(await snapshot.execute(limit)).toEqual([{ limit: '10s' }]);
    });
    await expect(late.execute(limit)).rejects.toMatchObject({ cause: { message: expect.stringContaining('is over') } });
    expect(await api.db.execute(limit)).toEqual([{ limit: '0' }]);

    const bob = await person(api, 'bob');
    const { workflow } = await createWorkflow(api, ann);
    const other = connect(api.databaseUrl, { max: 1, application: 'test' });
    const locked = other.db.transaction(async (tx) => {
      await tx.execute(sql`LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE`);
      const document = `{ system { database } workflow(id: "${workflow.id}") { id latestJob { id } } }`;
      const answers = Array.from({ length: 20 }, () => query(api, document, { token: ann.token }));
      const waiting = async () => (await tx.execute<{ pid: number }>(waitersFor('jobs'))).map(({ pid }) => pid);
      await expect.poll(async () => (await waiting()).length).toBe(2);
      for (let round = 0; round < 5; round += 1) {
        const { data } = await query(api, '{ viewer { id workflows { nodes { id build { id } } } } }', bob);
        expect(data.viewer.id).toBe(bob.id);
      }
      const pids = await waiting();
      expect(pids).toHaveLength(2);
      await tx.execute(sql`SELECT pg_cancel_backend(${pids[0] ?? 0})`); // as the time limit does
      const ended = await Promise.race(answers);
      expect(codes(ended)).toEqual(['UNAVAILABLE']);
      expect(ended.data).toEqual({ system: { database: 'EMBEDDED' }, workflow: { id: workflow.id, latestJob: null } });
      await expect.poll(async () => (await waiting()).length).toBe(2);
      return answers;
    });
    const whole = (await Promise.all(await locked)).filter(({ errors }) => errors === undefined);
    expect(whole).toHaveLength(19);
    await other.close();
  });

  test('but each mutation of a request shows what it changed', async () => {
    const { workflow } = await createWorkflow(api, ann);
    const document = `mutation ($id: ID!) {
      a: updateWorkflow(input: { id: $id, name: "one" }) { workflow { name } }
      b: updateWorkflow(input: { id: $id, name: "two" }) { workflow { name latestJob { id } } }
      c: runWorkflow(input: { id: $id }) { job { id status workflow { name latestJob { id status } } } } }`;
    const { data } = await query(api, document, { token: ann.token, variables: { id: workflow.id } });
    expect([data.a.workflow.name, data.b.workflow.name]).toEqual(['one', 'two']);
    const { id, status } = data.c.job;
    expect(data.c.job.workflow).toEqual({ name: 'two', latestJob: { id, status } });
    await api.db.delete(jobs).where(eq(jobs.id, id));
  });
});

describe('the purge of a workflow', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  interface Update {
    workflowUpdated: { id: string; name: string; deletedAt: string | null; purgedAt: string | null; payload: string };
  }
  const UPDATED = `subscription { workflowUpdated { id name kind deletedAt purgedAt terminatedAt payload definition { __typename }
    build { id } latestJob { id } nextRunAt jobs { nodes { id } } } }`;
  const remove = (id: string, purge: boolean) =>
    query(api, `mutation ($id: ID!) { deleteWorkflow(input: { id: $id, purge: ${purge} }) { deletedWorkflowId } }`, {
      token: ann.token,
      variables: { id },
    });

  test('is the last change of it that a subscriber to all workflows gets, and says so', async () => {
    const before = (await createWorkflow(api, ann, { name: 'before' })).workflow.id;
    const bob = await person(api, 'bob');
    const clients = [ann, ann, bob].map(({ token }) => socketOf(api, token));
    const [first, second, bobs] = clients.map((client) => taker(client.iterate<Update>({ query: UPDATED })));
    if (!first || !second || !bobs) throw new Error('There are three.');
    const nothing = bobs.take().catch(() => 'nothing');
    // The streams have begun when they deliver.
    const begun = Promise.all([first.take(), second.take()]);
    const marker = (await createWorkflow(api, ann, { name: 'marker' })).workflow.id;
    const rename = (name: string) =>
      query(
        api,
        'mutation ($id: ID!, $name: String) { updateWorkflow(input: { id: $id, name: $name }) { workflow { id } } }',
        {
          token: ann.token,
          variables: { id: marker, name },
        },
      );
    let isBegun = false;
    void begun.then(() => {
      isBegun = true;
    });
    await expect
      .poll(async () => {
        await rename(`marker ${Math.random()}`);
        return isBegun;
      })
      .toBe(true);

    const untilPurged = async (stream: typeof first, id: string) => {
      for (;;) {
        const { data } = await stream.take();
        if (data?.workflowUpdated.id === id && data.workflowUpdated.purgedAt) return data.workflowUpdated;
      }
    };
    await remove(before, true);
    for (const stream of [first, second]) {
      const purged = await untilPurged(stream, before);
      expect(purged).toMatchObject({ id: before, name: 'before', deletedAt: expect.any(String), build: null });
      expect(JSON.parse(purged.payload).kind).toBe('HEARTBEAT');
    }
    // Deleted before; and gone before the hint arrives, without any hint.
    await remove(marker, false);
    await remove(marker, true);
    expect(await untilPurged(first, marker)).toMatchObject({ id: marker, purgedAt: expect.any(String) });
    const silent = (await createWorkflow(api, ann, { name: 'silent', payload: { container: { image: 'a' } } })).workflow
      .id;
    for (;;) if ((await first.take()).data?.workflowUpdated.id === silent) break;
    await api.db.delete(workflows).where(eq(workflows.id, silent));
    await hint(silent);
    expect(await untilPurged(first, silent)).toMatchObject({ name: 'silent', payload: '{"kind":"CONTAINER"}' });
    expect(await Promise.race([nothing, 'still nothing'])).toBe('still nothing');
    const answer = await query(api, '{ workflows(filter: { deleted: true }) { nodes { id } } }', { token: ann.token });
    expect(answer.data.workflows.nodes).toEqual([]);
    for (const stream of [first, second, bobs]) await stream.stop();
    for (const client of clients) await client.dispose();
    expect(api.logged).toEqual([]);
  });

  test('is found by the re-check if no hint names it', async () => {
    const { workflow } = await createWorkflow(api, ann, { name: 'lost' });
    const lists = new WorkflowLists(api.db);
    const { ready, release } = lists.follow(ann.id);
    await ready;
    expect(await lists.recheck()).toEqual([]);
    await api.db.execute(sql`UPDATE workflows SET deleted_at = now(), purge_requested_at = now(), terminated_at = now(),
      termination_reason = 'DELETED' WHERE id = ${workflow.id}`);
    expect(await lists.recheck()).toMatchObject([
      { id: workflow.id, name: 'lost', purgeRequestedAt: expect.any(Date) },
    ]);
    expect(await lists.recheck()).toEqual([]);
    release();
  });

  const hint = (id: string) => api.cache.publish(userChannel(ann.id), encodeChanged({ workflows: [id] }));
});
