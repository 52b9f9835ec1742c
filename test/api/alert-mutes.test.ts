import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { incidents, workflows } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { call } from './alert-support.ts';
import { createWorkflow, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

let api: TestApi;
let ann: Person;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
});
afterAll(() => api.close());

const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString();
const mute = (id: string, until: string) => call(api, ann, 'muteWorkflow', { id, until }, 'workflow { mutedUntil }');
const unmute = (id: string) => call(api, ann, 'unmuteWorkflow', { id }, 'workflow { mutedUntil }');
const created = async () => (await createWorkflow(api, ann)).workflow.id;

describe('a mute of a workflow', () => {
  test('lasts until its end, can be changed, and can be ended', async () => {
    const id = await created();
    const [one, two] = [inDays(1), inDays(29)];
    expect((await mute(id, one)).workflow).toEqual({ mutedUntil: one });
    expect((await mute(id, two)).workflow).toEqual({ mutedUntil: two });
    expect((await unmute(id)).workflow).toEqual({ mutedUntil: null });
    expect((await unmute(id)).workflow).toEqual({ mutedUntil: null });
    await api.db
      .update(workflows)
      .set({ mutedUntil: new Date(Date.now() - 1_000) })
      .where(eq(workflows.id, id));
    const { data } = await query(api, `{ workflow(id: "${id}") { mutedUntil } }`, ann);
    expect(data.workflow.mutedUntil).toBeNull();
  });

  test.each([
    ['the past', -1],
    ['more than 30 days', 31],
  ])('cannot end in %s', async (_, days) => {
    const { workflow, userErrors } = await mute(await created(), inDays(days));
    expect(workflow).toBeNull();
    expect(userErrors).toMatchObject([{ code: 'INVALID', path: ['until'] }]);
  });

  test('is refused for a terminated and for an unknown workflow', async () => {
    const id = await created();
    await call(api, ann, 'terminateWorkflow', { id }, 'workflow { id }');
    expect((await mute(id, inDays(1))).userErrors).toMatchObject([{ code: 'TERMINATED', path: ['id'] }]);
    expect((await unmute(id)).userErrors).toMatchObject([{ code: 'TERMINATED', path: ['id'] }]);
    for (const unknown of [newId(), 'x'])
      expect((await mute(unknown, inDays(1))).userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
  });

  test('is shown to subscribers at once', async () => {
    const id = await created();
    const client = socketOf(api, ann.token);
    const values = client.iterate({ query: `subscription { workflowUpdated(workflowId: "${id}") { mutedUntil } }` });
    const { take } = taker(values);
    expect((await take()).data?.workflowUpdated).toEqual({ mutedUntil: null });
    const until = inDays(1);
    await mute(id, until);
    expect((await take()).data?.workflowUpdated).toEqual({ mutedUntil: until });
    await client.dispose();
  });
});

test('a workflow shows its open incident, and no other', async () => {
  const id = await created();
  const incident = (changes: object) => ({
    ...{ id: newId(), workflowId: id, userId: ann.id, jobId: newId() },
    failures: 3,
    ...changes,
  });
  const ended = incident({ resolvedAt: new Date(), resolution: 'RECOVERED' });
  await api.db.insert(incidents).values(ended);
  const shown = async () => {
    const fields = 'openIncident { id failures openedAt resolvedAt job { id } workflow { id } }';
    return (await query(api, `{ workflow(id: "${id}") { ${fields} } }`, ann)).data.workflow.openIncident;
  };
  expect(await shown()).toBeNull();
  const open = incident({});
  await api.db.insert(incidents).values(open);
  expect(await shown()).toMatchObject({ id: open.id, failures: 3, resolvedAt: null, job: null, workflow: { id } });
  const nodes = `{ nodes(ids: ["${ended.id}", "${open.id}"]) { ... on Incident { id resolvedAt } } }`;
  const { data } = await query(api, nodes, ann);
  expect(data.nodes.map((one: { resolvedAt: unknown }) => one.resolvedAt === null)).toEqual([false, true]);
  expect((await query(api, nodes, await person(api, 'bob'))).data.nodes).toEqual([null, null]);
});
