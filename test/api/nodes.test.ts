import { describe, expect, test } from 'vitest';
import { newId } from '../../domain/ids.ts';
import { codes, createWorkflow, type Person, query, type TestApi, withAnnAndBob } from './support.ts';

const NODES =
  'query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Workflow { name jobs(first: 20) { nodes { id } } } } }';

describe('several objects by their ids', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  withAnnAndBob((made) => {
    ({ api, ann, bob } = made);
  });

  const ask = (ids: string[], who = ann) => query(api, NODES, { token: who.token, variables: { ids } });

  test('come in the order of the ids, with null for what is unknown or of another account', async () => {
    const { workflow } = await createWorkflow(api, ann, { name: 'one' });
    const run = `mutation { runWorkflow(input: { id: "${workflow.id}" }) { job { id } } }`;
    const job = (await query(api, run, { token: ann.token })).data.runWorkflow.job.id;
    const foreign = (await createWorkflow(api, bob)).workflow.id;
    const event = (await query(api, '{ auditEvents(first: 1) { nodes { id } } }', { token: ann.token })).data
      .auditEvents.nodes[0].id;
    const ids = [job, newId(), foreign, workflow.id.toUpperCase(), 'malformed', ann.id, event, job];
    expect((await ask(ids)).data.nodes).toMatchObject([
      { __typename: 'Job', id: job },
      null,
      null,
      { __typename: 'Workflow', id: workflow.id, name: 'one', jobs: { nodes: [{ id: job }] } },
      null,
      { __typename: 'User', id: ann.id },
      { __typename: 'AuditEvent', id: event },
      { __typename: 'Job', id: job },
    ]);
    expect((await ask([])).data.nodes).toEqual([]);
  });

  test('are at most 100, need a token, and cost as much as they are', async () => {
    const many = (count: number) => Array.from({ length: count }, newId);
    expect(codes(await ask(many(101)))).toEqual(['BAD_REQUEST']);
    expect((await query(api, '{ nodes(ids: []) { id } }')).errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
    expect(codes(await ask(many(100)))).toEqual([]);
    const deeper = NODES.replace(' name ', ' name payload definition { __typename } ')
      .replace('first: 20', 'first: 100')
      .replace('nodes { id }', 'nodes { id status trigger workflow { id name kind } }');
    expect(codes(await query(api, deeper, { token: ann.token, variables: { ids: many(5) } }))).toEqual([]);
    expect(codes(await query(api, deeper, { token: ann.token, variables: { ids: many(100) } }))).toEqual([
      'BAD_REQUEST',
    ]);
  });
});
