import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobs, logChunks } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

describe('a list', () => {
  let api: TestApi;
  let ann: Person;
  let workflowId: string;
  let jobIds: string[];
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    workflowId = await createHeartbeat('first');
    for (const name of ['second', 'third']) await createHeartbeat(name);
    jobIds = Array.from({ length: 45 }, newId);
    const scheduledAt = (n: number) => new Date(Date.UTC(2026, 0, 1) + n * 60_000);
    await api.db.insert(jobs).values(
      jobIds.map((id, n) => ({
        id,
        workflowId,
        userId: ann.id,
        kind: 'HEARTBEAT' as const,
        trigger: 'AUTOMATIC' as const,
        status: 'COMPLETED' as const,
        generation: 1,
        attempt: 1,
        scheduledAt: scheduledAt(n),
        startedAt: scheduledAt(n),
        completedAt: new Date(scheduledAt(n).getTime() + 1_500),
      })),
    );
  });
  afterAll(() => api.close());

  async function createHeartbeat(name: string): Promise<string> {
    const input = { name, payload: { heartbeat: {} }, interval: 5, maxConsecutiveJobFailuresAllowed: 1 };
    const create = 'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } } }';
    return (await query(api, create, { token: ann.token, variables: { input } })).data.createWorkflow.workflow.id;
  }

  const page = async (args: string, rest = '') => {
    const document = `{ jobs(${args}) { edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } ${rest} }`;
    return (await query(api, document, { token: ann.token })).data.jobs;
  };
  const ids = ({ nodes }: { nodes: { id: string }[] }) => nodes.map(({ id }) => id);

  test('comes newest first, page by page, to its end and back', async () => {
    const newestFirst = [...jobIds].reverse();
    const forwards: string[] = [];
    let after = '';
    for (let pages = 0; pages < 5; pages += 1) {
      const { pageInfo, ...shown } = await page(`first: 20${after}`);
      expect(shown.edges.map(({ node }: { node: object }) => node)).toEqual(shown.nodes);
      forwards.push(...ids(shown));
      expect(pageInfo).toMatchObject({ startCursor: shown.edges[0].cursor, endCursor: shown.edges.at(-1).cursor });
      if (!pageInfo.hasNextPage) break;
      after = `, after: "${pageInfo.endCursor}"`;
    }
    expect(forwards).toEqual(newestFirst);

    const end = await page('last: 10');
    expect(ids(end)).toEqual(newestFirst.slice(-10));
    expect(end.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: false });
    const before = await page(`last: 10, before: "${end.pageInfo.startCursor}"`);
    expect(ids(before)).toEqual(newestFirst.slice(-20, -10));
    expect(ids(await page('after: null'))).toHaveLength(20);
  });

  test('accepts filters and combines them', async () => {
    const between = 'scheduledAfter: "2026-01-01T00:10:00Z", scheduledBefore: "2026-01-01T00:20:00Z"';
    expect(ids(await page(`filter: { ${between} }`))).toEqual(jobIds.slice(10, 20).reverse());
    expect(ids(await page('filter: { status: [FAILED, CANCELED] }'))).toEqual([]);
    expect(ids(await page('filter: { status: [] }'))).toEqual([]);
    expect(ids(await page('first: 2, filter: { status: [COMPLETED], trigger: AUTOMATIC }'))).toHaveLength(2);
    const workflows = async (filter: string) =>
      (
        await query(api, `{ workflows(filter: ${filter}) { nodes { name } } }`, { token: ann.token })
      ).data.workflows.nodes.map(({ name }: { name: string }) => name);
    expect(await workflows('{ nameContains: "IR" }')).toEqual(['third', 'first']);
    expect(await workflows('{ nameContains: "%" }')).toEqual([]);
    expect(await workflows('{ kind: CONTAINER }')).toEqual([]);
    expect(
      await workflows('{ intervalMin: 5, intervalMax: 5, terminated: false, buildStatus: COMPLETED }'),
    ).toHaveLength(3);
    expect(await workflows('{ terminated: true }')).toEqual([]);
  });

  test('of jobs can be that of several workflows, of which those of others are not found', async () => {
    const more = await createHeartbeat('more');
    const bob = await person(api, 'bob');
    const input = { name: 'bob', payload: { heartbeat: {} }, interval: 5, maxConsecutiveJobFailuresAllowed: 1 };
    const create = 'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } } }';
    const foreign = (await query(api, create, { token: bob.token, variables: { input } })).data.createWorkflow.workflow
      .id;
    const run = async (id: string, { token } = ann) =>
      (await query(api, `mutation { runWorkflow(input: { id: "${id}" }) { job { id } } }`, { token })).data.runWorkflow
        .job.id;
    const made = [await run(more), await run(more)];
    await run(foreign, bob);
    const of = async (args: string) => ids(await page(args));
    const some = (...wanted: string[]) => `filter: { workflowIds: ${JSON.stringify(wanted)} }`;
    expect(await of(`first: 3, ${some(more, workflowId, more)}`)).toEqual([made[1], made[0], jobIds[44]]);
    const after = (await page(`first: 3, ${some(more, workflowId)}`)).pageInfo.endCursor;
    expect(await of(`first: 2, after: "${after}", ${some(more, workflowId)}`)).toEqual([jobIds[43], jobIds[42]]);
    expect(await of(`last: 1, ${some(more, workflowId)}`)).toEqual([jobIds[0]]);
    expect(await of(some(more.toUpperCase(), foreign, 'malformed', newId()))).toEqual(made.toReversed());
    expect(await of(some(foreign))).toEqual([]);
    expect(await of(some())).toEqual([]);
    expect(await of(`filter: { workflowId: "${more}", workflowIds: ["${workflowId}"] }`)).toEqual([]);
    expect(await of(`filter: { workflowId: "${more}", workflowIds: ["${workflowId}", "${more}"] }`)).toEqual(
      made.toReversed(),
    );
    const many = Array.from({ length: 101 }, newId);
    const refused = await query(api, `{ jobs(${some(...many)}) { nodes { id } } }`, { token: ann.token });
    expect([codes(refused), refused.errors?.[0]?.message]).toEqual([
      ['BAD_REQUEST'],
      expect.stringContaining('`workflowIds` may have 100 ids at most'),
    ]);
    await query(api, `mutation { deleteWorkflow(input: { id: "${more}", purge: true }) { userErrors { code } } }`, {
      token: ann.token,
    });
  });

  test('within another list is read by one query for all of it, each with its own page', async () => {
    const document = `{ workflows { nodes { name latestJob { id durationMs } nextRunAt payload
      jobs(first: 2) { nodes { id workflow { name } } pageInfo { hasNextPage } } others: jobs(last: 1) { nodes { id } } } } }`;
    const { data } = await query(api, document, { token: ann.token });
    const none = {
      latestJob: null,
      payload: '{"kind":"HEARTBEAT"}',
      jobs: { nodes: [], pageInfo: { hasNextPage: false } },
    };
    expect(data.workflows.nodes).toMatchObject([
      { name: 'third', ...none },
      { name: 'second', ...none },
      {
        name: 'first',
        latestJob: { id: jobIds[44], durationMs: 1_500 },
        jobs: {
          nodes: [{ id: jobIds[44], workflow: { name: 'first' } }, { id: jobIds[43] }],
          pageInfo: { hasNextPage: true },
        },
        others: { nodes: [{ id: jobIds[0] }] },
      },
    ]);
  });

  test('of jobs omits those of deleted workflows', async () => {
    const id = await createHeartbeat('deleted');
    const act = (name: string) =>
      query(api, `mutation ($id: ID!) { ${name}(input: { id: $id }) { userErrors { code } } }`, {
        token: ann.token,
        variables: { id },
      });
    await act('runWorkflow');
    const of = async () => ids(await page(`filter: { workflowId: "${id}" }`));
    expect(await of()).toHaveLength(1);
    await act('deleteWorkflow');
    expect(await of()).toEqual([]);
    const kept = await query(api, '{ workflow(id: "ID") { jobs { nodes { status } } } }'.replace('ID', id), {
      token: ann.token,
    });
    expect(kept.data.workflow.jobs.nodes).toEqual([{ status: 'CANCELED' }]);
  });

  test('of log lines pages by number over overlapping chunks, in either direction and by stream', async () => {
    const id = jobIds[0] ?? '';
    const chunk = async (first: number, last: number) => {
      const text = Array.from({ length: last - first + 1 }, (_, n) => {
        const number = first + n;
        return formatLine(number % 10 === 0 ? 'STDERR' : 'STDOUT', '2026-01-01T00:00:00.123456789Z', `line ${number}`);
      });
      const lines = await packLines(Buffer.from(text.join('')));
      await api.db.insert(logChunks).values({ sourceId: id, firstNumber: first, lastNumber: last, attempt: 1, lines });
    };
    for (const [first, last] of [
      [1, 300],
      [101, 150],
      [301, 301],
      [302, 2_000],
      [1_500, 2_500],
    ] as const)
      await chunk(first, last);
    type Logs = {
      nodes: { number: number; text: string }[];
      pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string; endCursor: string };
    };
    const logs = async (args: string): Promise<Logs> => {
      const document = `{ job(id: "${id}") { logs${args} { nodes { number text } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`;
      return (await query(api, document, { token: ann.token })).data.job.logs;
    };
    const numbers = ({ nodes }: Logs) => nodes.map(({ number }) => number);
    const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

    const first = await logs('');
    expect(numbers(first)).toEqual(range(1, 100));
    expect(first.nodes[6]).toEqual({ number: 7, text: 'line 7' });
    const all: number[] = [];
    for (let after = ''; ; ) {
      const shown = await logs(`(first: 700${after})`);
      all.push(...numbers(shown));
      if (!shown.pageInfo.hasNextPage) break;
      after = `, after: "${shown.pageInfo.endCursor}"`;
    }
    expect(all).toEqual(range(1, 2_500));
    const last = await logs('(last: 1000)');
    expect(numbers(last)).toEqual(range(1_501, 2_500));
    const before = await logs(`(last: 1000, before: "${last.pageInfo.startCursor}")`);
    expect(numbers(before)).toEqual(range(501, 1_500));
    expect(numbers(await logs(`(last: 1000, before: "${before.pageInfo.startCursor}")`))).toEqual(range(1, 500));
    expect(numbers(await logs('(first: 3, stream: STDERR)'))).toEqual([10, 20, 30]);
    expect(numbers(await logs('(last: 2, stream: STDERR)'))).toEqual([2_490, 2_500]);

    const other = await query(
      api,
      `{ job(id: "${jobIds[1]}") { logs(after: "${first.pageInfo.endCursor}") { nodes { number } } } }`,
      { token: ann.token },
    );
    expect(codes(other)).toEqual(['BAD_REQUEST']);
    const tooMany = await query(api, `{ job(id: "${id}") { logs(first: 1001) { nodes { number } } } }`, {
      token: ann.token,
    });
    expect(codes(tooMany)).toEqual(['BAD_REQUEST']);
  });
});
