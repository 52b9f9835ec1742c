import { sql } from 'drizzle-orm';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRefusals } from '../../api/auth/audit-refusals.ts';
import { mutations } from '../../api/schema/mutation.ts';
import { schema } from '../../api/schema/schema.ts';
import { removeOldAuditEvents } from '../../db/accounts/audit.ts';
import { until } from '../support/time.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const EVENTS = `{ auditEvents(first: 100) { nodes {
  id at action outcome code count userId actorId tokenId tokenKind tokenName address objectId changes { field value }
} } }`;
const SECRETS = ['s3cr3t-env', 's3cr3t-header', 's3cr3t-password', 's3cr3t-registry', 's3cr3t-json'];

interface Event {
  id: string;
  action: string;
  outcome: string;
  code: string | null;
  count: number;
  userId: string | null;
  actorId: string | null;
  tokenKind: string | null;
  tokenName: string | null;
  address: string | null;
  objectId: string | null;
  changes: { field: string; value: string }[];
}

describe('the audit', () => {
  let api: TestApi;
  let root: Person; // the first account is the administrator
  let ann: Person;
  let bob: Person;
  beforeAll(async () => {
    api = await testApi();
    root = await person(api, 'root');
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
  });
  afterAll(() => api.close());

  const events = async ({ token }: { token: string }): Promise<Event[]> =>
    (await query(api, EVENTS, { token })).data.auditEvents.nodes;
  const act = (document: string, input?: object, { token } = ann) =>
    query(api, document, { token, variables: { input } });
  const newest = async (action: string, who = ann) =>
    until(`there is an event of ${action}`, async () => (await events(who)).find((event) => event.action === action));

  const create = (payload: object, more: object = {}) =>
    act(
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } userErrors { code } } }',
      { name: 'audited', payload, interval: 5, maxConsecutiveJobFailuresAllowed: 3, ...more },
    );
  const idOf = async (payload: object = { heartbeat: {} }) => (await create(payload)).data.createWorkflow.workflow.id;

  test('covers every mutation', () => {
    expect([...mutations].toSorted()).toEqual(Object.keys(schema.getMutationType()?.getFields() ?? {}).toSorted());
  });

  test('records the actor, the token, the origin and the changed fields; a secret is "changed"', async () => {
    const id = await idOf({
      heartbeat: {
        endpoint: 'https://example.com/?key=s3cr3t-password',
        headers: [{ name: 'X-Key', value: 's3cr3t-header' }],
      },
    });
    const event = await newest('createWorkflow');
    expect(event).toMatchObject({
      outcome: 'DONE',
      code: null,
      count: 1,
      userId: ann.id,
      actorId: ann.id,
      tokenKind: 'SESSION',
      tokenName: null,
      address: '127.0.0.1',
      objectId: id,
    });
    expect(event.changes.toSorted((one, other) => one.field.localeCompare(other.field))).toEqual([
      { field: 'interval', value: '5' },
      { field: 'maxConsecutiveJobFailuresAllowed', value: '3' },
      { field: 'name', value: 'audited' },
      { field: 'payload.heartbeat.endpoint', value: 'changed' },
      { field: 'payload.heartbeat.headers.X-Key', value: 'changed' },
    ]);
    const container = {
      image: 'alpine:3',
      env: [{ name: 'TOKEN', value: 's3cr3t-env', secret: true }],
      registryAuth: { username: 'ann', password: 's3cr3t-registry' },
    };
    await create({ container });
    await create({ json: JSON.stringify({ kind: 'HEARTBEAT', headers: { a: 's3cr3t-json' } }) });
    const update = 'mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) { userErrors { code } } }';
    await act(update, { id, name: 'renamed', idempotencyKey: 's3cr3t-env' });
    const rows = await api.db.execute(sql`SELECT * FROM audit_events`);
    for (const secret of SECRETS) expect(JSON.stringify(rows)).not.toContain(secret);
    const { changes } = await newest('updateWorkflow');
    expect(changes).toHaveLength(3);
    expect(changes).toEqual(
      expect.arrayContaining([
        { field: 'id', value: id },
        { field: 'name', value: 'renamed' },
        { field: 'idempotencyKey', value: 'changed' },
      ]),
    );
    expect(JSON.stringify(rows)).toContain('payload.container.env.TOKEN');
  });

  test('names the API token that was used, and a job names the user who requested it', async () => {
    const made = await act(
      'mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) { secret apiToken { id scope } userErrors { code } } }',
      { name: 'deploy', scope: 'RUN' },
    );
    const { secret, apiToken } = made.data.createApiToken;
    const id = await idOf();
    const run =
      'mutation ($input: RunWorkflowInput!) { runWorkflow(input: $input) { job { id requestedBy { userId tokenName } } userErrors { code } } }';
    const byToken = (await act(run, { id }, { ...ann, token: secret })).data.runWorkflow.job;
    expect(byToken.requestedBy).toEqual({ userId: ann.id, tokenName: 'deploy' });
    expect(await newest('runWorkflow')).toMatchObject({
      objectId: byToken.id,
      tokenKind: 'API',
      tokenId: apiToken.id,
      tokenName: 'deploy',
    });
    const bySession = (await act(run, { id })).data.runWorkflow.job;
    expect(bySession.requestedBy).toEqual({ userId: ann.id, tokenName: null });
  });

  test('shows administrators all events, and other users those that concern them, also by id', async () => {
    const id = await idOf();
    const { id: eventId } = await newest('createWorkflow');
    const seen = await events(bob);
    expect(seen.length).toBeGreaterThan(0);
    expect(new Set(seen.map(({ userId }) => userId))).toEqual(new Set([bob.id]));
    expect((await events(root)).some((event) => event.objectId === id)).toBe(true);
    const node = `{ node(id: "${eventId}") { __typename id ... on AuditEvent { at action } } }`;
    const typed = { __typename: 'AuditEvent', id: eventId, action: 'createWorkflow' };
    for (const who of [ann, root]) {
      expect((await query(api, node, { token: who.token })).data.node).toMatchObject(typed);
    }
    expect((await query(api, node, { token: bob.token })).data.node).toBeNull();
    expect(codes(await query(api, '{ auditEvents { nodes { id } } }'))).toEqual(['UNAUTHENTICATED']);
  });

  test('shows an API token of an administrator only the events of its own account', async () => {
    const id = await idOf();
    const { id: eventId } = await newest('createWorkflow');
    const make = 'mutation { createApiToken(input: { name: "reader", scope: READ }) { secret } }';
    const token = (await query(api, make, { token: root.token })).data.createApiToken.secret;
    const seen = await events({ token });
    expect(seen.map(({ action }) => action)).toContain('createApiToken');
    expect(new Set(seen.map(({ userId }) => userId))).toEqual(new Set([root.id]));
    expect((await query(api, `{ node(id: "${eventId}") { id } }`, { token })).data.node).toBeNull();
    expect((await events(root)).some((event) => event.objectId === id)).toBe(true);
  });

  test('records refusals with their code and counts similar ones; none of them stores the input', async () => {
    const before = (await events(ann)).filter(({ outcome }) => outcome === 'REFUSED').length;
    const remove = 'mutation ($input: DeleteWorkflowInput!) { deleteWorkflow(input: $input) { userErrors { code } } }';
    for (let n = 0; n < 5; n += 1) await act(remove, { id: bob.id });
    const refused = await newest('deleteWorkflow');
    expect(refused).toMatchObject({
      outcome: 'REFUSED',
      code: 'NOT_FOUND',
      actorId: ann.id,
      objectId: null,
      changes: [],
    });
    expect((await events(ann)).filter(({ outcome }) => outcome === 'REFUSED')).toHaveLength(before + 1);
  });

  test('records sign-ins, and failed ones with the account that they tried', async () => {
    const signIn = (email: string, password: string) =>
      query(api, 'mutation ($input: SignInInput!) { signIn(input: $input) { user { id } userErrors { code } } }', {
        variables: { input: { email, password } },
      });
    await signIn(ann.email, 's3cr3t-password is wrong');
    await signIn('nobody@example.com', 's3cr3t-password');
    const failed = await until('the failed sign-in is there', async () =>
      (await events(ann)).find(({ action, code }) => action === 'signIn' && code === 'BAD_CREDENTIALS'),
    );
    expect(failed).toMatchObject({
      outcome: 'REFUSED',
      userId: ann.id,
      actorId: null,
      tokenKind: null,
      address: '127.0.0.1',
    });
    const unknown = await until('that of nobody is there', async () =>
      (await events(root)).find(({ action, code, userId }) => action === 'signIn' && code !== null && userId === null),
    );
    expect(unknown.changes).toEqual([]);
    await signIn(ann.email, 'password of ann');
    expect(await newest('signIn')).toMatchObject({ outcome: 'DONE', userId: ann.id, changes: [] });
    expect((await events(bob)).some(({ action, code }) => action === 'signIn' && code !== null)).toBe(false);
    expect(await newest('signUp')).toMatchObject({
      outcome: 'DONE',
      userId: ann.id,
      objectId: ann.id,
      changes: [],
    });
  });

  test('counts events of the same minute when the minute ends or the process closes', async () => {
    const other = await testApi();
    try {
      const own = await person(other, 'own');
      const cancel = (token: string) =>
        query(other, `mutation { cancelJob(input: { id: "${own.id}" }) { userErrors { code } } }`, { token });
      for (let n = 0; n < 7; n += 1) await cancel(own.token);
      await other.api.close();
      const counts = await other.db.execute<{ count: number }>(
        sql`SELECT count FROM audit_events WHERE action = 'cancelJob' ORDER BY id`,
      );
      expect(counts.map(({ count }) => count)).toEqual([1, 6]);
    } finally {
      await other.close();
    }
  });

  test('is written together with its change or not at all', async () => {
    await api.db.execute(
      sql`ALTER TABLE audit_events ADD CONSTRAINT broken CHECK (action <> 'terminateWorkflow') NOT VALID`,
    );
    const id = await idOf();
    const terminate =
      'mutation ($input: TerminateWorkflowInput!) { terminateWorkflow(input: $input) { userErrors { code } } }';
    expect(codes(await act(terminate, { id }))).toEqual(['INTERNAL_SERVER_ERROR']);
    await api.db.execute(sql`ALTER TABLE audit_events DROP CONSTRAINT broken`);
    expect(
      (await query(api, `{ workflow(id: "${id}") { terminatedAt } }`, { token: ann.token })).data.workflow,
    ).toEqual({
      terminatedAt: null,
    });
    await act(terminate, { id });
    expect(await newest('terminateWorkflow')).toMatchObject({ outcome: 'DONE', objectId: id });
  });

  test('is never updated, and is removed after its retention time', async () => {
    await expect(api.db.execute(sql`UPDATE audit_events SET action = 'nothing'`)).rejects.toMatchObject({
      cause: { message: 'Audit events are never updated.' },
    });
    const old = `01800000-0000-7000-8000-00000000000${1}`; // made in 2022
    await api.db.execute(
      sql`INSERT INTO audit_events (id, at, action, outcome) VALUES (${old}, '2022-05-01', 'old', 'DONE')`,
    );
    const before = await api.db.execute(sql`SELECT id FROM audit_events`);
    expect(await removeOldAuditEvents(api.db, { days: 365, limit: 100 })).toBe(1);
    const after = await api.db.execute(sql`SELECT id FROM audit_events`);
    expect(after).toHaveLength(before.length - 1);
  });

  test('keeps a bounded part of the input, and does not name the signed-in user in a sign-in', async () => {
    const name = (n: number) => `X-${n}-${'n'.repeat(190)}`;
    const headers = Array.from({ length: 100 }, (_, n) => ({ name: name(n), value: 'v' }));
    await create({ heartbeat: { endpoint: 'https://example.com/', headers } });
    const { changes } = await newest('createWorkflow');
    expect(JSON.stringify(changes).length).toBeLessThan(8_000);
    expect(changes.at(-1)).toMatchObject({ field: '...', value: expect.stringMatching(/^\d+ more$/) });
    const input = { email: bob.email, password: 'not the one of bob' };
    await act('mutation ($input: SignInInput!) { signIn(input: $input) { userErrors { code } } }', input);
    const failed = await until('bob sees it', async () =>
      (await events(bob)).find(({ action, code }) => action === 'signIn' && code !== null),
    );
    expect(failed).toMatchObject({ userId: bob.id, actorId: null, tokenName: null });
  });

  test('pages backwards in time', async () => {
    const page = async (after?: string) =>
      (
        await query(
          api,
          'query ($after: String) { auditEvents(first: 2, after: $after) { nodes { id } pageInfo { endCursor hasNextPage } } }',
          {
            token: root.token,
            variables: { after },
          },
        )
      ).data.auditEvents;
    const first = await page();
    const second = await page(first.pageInfo.endCursor);
    const ids = [...first.nodes, ...second.nodes].map(({ id }: { id: string }) => id);
    expect(ids).toEqual(ids.toSorted().toReversed());
    expect(new Set(ids).size).toBe(4);
  });

  test('counts 200 kinds of refusals of one account separately, and still counts those of others', async () => {
    const many = Array.from({ length: 300 }, (_, n) => n);
    const refusals = createRefusals(api.db, pino({ level: 'silent' }));
    const note = (who: Person, n: number) =>
      refusals.note({
        action: 'flood',
        outcome: 'REFUSED',
        code: 'NOT_FOUND',
        userId: who.id,
        actorId: who.id,
        address: `2001:db8:0:${n}::/64`,
      });
    for (const n of many) note(ann, n);
    note(bob, 1);
    await refusals.close();
    const rows = async (who: Person) =>
      api.db.execute<{ address: string | null; count: number }>(
        sql`SELECT address, count FROM audit_events WHERE action = 'flood' AND actor_id = ${who.id}`,
      );
    const all = await rows(ann);
    expect(all.filter(({ address }) => address !== null)).toHaveLength(200);
    expect(
      all
        .filter(({ address }) => address === null)
        .map(({ count }) => count)
        .toSorted(),
    ).toEqual([1, 99]);
    expect(await rows(bob)).toMatchObject([{ address: '2001:db8:0:1::/64', count: 1 }]);
  });
});
