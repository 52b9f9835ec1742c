import { sql } from 'drizzle-orm';
import {
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  GraphQLNonNull,
  type GraphQLOutputType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isObjectType,
  isUnionType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { schema } from '../../api/schema/schema.ts';
import { alertChannels, alertDeliveries, incidents, notifications } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { type Person, person, query, socketOf, type TestApi, testApi } from './support.ts';

const OPERATIONS = [
  { operation: 'query', typeName: 'Query' },
  { operation: 'mutation', typeName: 'Mutation' },
  { operation: 'subscription', typeName: 'Subscription' },
] as const;

/** A place in the schema that takes an id, with a document that passes `$id` there. */
interface Place {
  path: string;
  operation: (typeof OPERATIONS)[number]['operation'];
  document: string;
}

/** Values for the other required arguments. `$own` is a workflow of the caller. */
const VALUES: Record<string, string> = {
  'String!': '"x"',
  'Int!': '1',
  'WorkflowPayloadInput!': '{ heartbeat: {} }',
  'ScheduleInput!': '{ manual: true }',
  'ID!': '$own',
  'DateTime!': '"2020-01-01T00:00:00Z"',
};
/** Fields without which an input is refused for another reason. */
const ALSO: Record<string, string> = { CreateWorkflowInput: 'schedule: { manual: true }' };
const PROFOUND = 1;

/** All scalars of a field and of the objects within it. */
function selection(type: GraphQLOutputType, depth = PROFOUND): string {
  const named = getNamedType(type);
  if (isInterfaceType(named)) return '{ __typename id }';
  if (isUnionType(named))
    return `{ __typename ${named
      .getTypes()
      .map((type) => `... on ${type.name} { __typename }`)
      .join(' ')} }`;
  if (!isObjectType(named)) return '';
  const fields = Object.values(named.getFields()).filter(({ args }) => args.every((arg) => !isRequired(arg.type)));
  const inner = fields.flatMap((field) => {
    return isLeafType(getNamedType(field.type))
      ? field.name
      : depth > 0
        ? `${field.name} ${selection(field.type, depth - 1)}`
        : [];
  });
  return inner.length > 0 ? `{ ${inner.join(' ')} }` : '{ __typename }';
}

function isRequired(type: GraphQLInputType): boolean {
  return type instanceof GraphQLNonNull;
}

/** The values of this type that contain an id, with the path to the id. */
function givenIds(type: GraphQLInputType, path: string): { path: string; text: string }[] {
  const nullable = getNullableType(type);
  if (isListType(nullable)) return givenIds(nullable.ofType, path).map((one) => ({ ...one, text: `[${one.text}]` }));
  if (nullable.toString() === 'ID') return [{ path, text: '$id' }];
  if (!isInputObjectType(nullable)) return [];
  const fields: GraphQLInputField[] = Object.values(nullable.getFields());
  return fields.flatMap((field) =>
    givenIds(field.type, `${path}.${field.name}`).map(({ path: at, text }) => {
      const others = fields.filter((other) => other !== field && isRequired(other.type));
      const rest = others.map((other) => `${other.name}: ${VALUES[String(other.type)] ?? 'UNKNOWN'}`);
      const also = ALSO[nullable.name] ?? [];
      return { path: at, text: `{ ${[`${field.name}: ${text}`, ...rest].concat(also).join(', ')} }` };
    }),
  );
}

/**
 * Every argument of a root field, and every input field below one, that takes an id. Cursors count
 * too, because they are made of ids.
 */
function places(): Place[] {
  return OPERATIONS.flatMap(({ operation, typeName }) => {
    const root = schema.getType(typeName);
    if (!isObjectType(root)) return [];
    return Object.values(root.getFields()).flatMap((field: GraphQLField<unknown, unknown>) =>
      field.args.flatMap((argument) => {
        const others = field.args.filter((other) => other !== argument && isRequired(other.type));
        const rest = others.map((other) => `, ${other.name}: ${VALUES[String(other.type)] ?? 'UNKNOWN'}`).join('');
        return givenIds(argument.type, `${typeName}.${field.name}.${argument.name}`).map(({ path, text }) => ({
          path,
          operation,
          document: `${operation} ($id: ID!${text.includes('$own') ? ', $own: ID!' : ''}) { ${field.name}(${argument.name}: ${text}${rest}) ${selection(field.type)} }`,
        }));
      }),
    );
  });
}

/** The fields below the root that take an id. */
function innerFields(): string[] {
  return Object.values(schema.getTypeMap()).flatMap((type) =>
    isObjectType(type) && !OPERATIONS.some(({ typeName }) => typeName === type.name) && !type.name.startsWith('__')
      ? Object.values(type.getFields()).flatMap((field) =>
          field.args.some((argument) => givenIds(argument.type, '').length > 0) ? `${type.name}.${field.name}` : [],
        )
      : [],
  );
}

describe("another account's id", () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  let ofAnn: Record<string, string>;
  let innerPlaces: Place[];
  const ownWorkflows = new Map<Person, string>();
  beforeAll(async () => {
    api = await testApi();
    await person(api, 'root'); // the administrator
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
    const own = await created(bob, { heartbeat: {} });
    ownWorkflows.set(bob, own).set(ann, await created(ann, { heartbeat: {} }));
    innerPlaces = ['workflowId: $id', 'workflowIds: [$id]'].flatMap((filter) => {
      const jobs = `{ jobs(filter: { ${filter} }) { totalCount nodes { id } } }`;
      return [`workflow(id: "${own}") ${jobs}`, `viewer ${jobs}`].map((field) => ({
        path: `${field} ${filter}`,
        operation: 'query',
        document: `query ($id: ID!) { ${field} }`,
      }));
    });
    ofAnn = await everythingOf(ann);
  });
  afterAll(() => api.close());

  async function created(who: Person, payload: object): Promise<string> {
    const document =
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } userErrors { message } } }';
    const input = { name: 'x', payload, interval: 60, maxConsecutiveJobFailuresAllowed: 3 };
    return (await query(api, document, { token: who.token, variables: { input } })).data.createWorkflow.workflow.id;
  }

  /** An object of each type that has an id. */
  async function everythingOf(who: Person): Promise<Record<string, string>> {
    const workflow = await created(who, { heartbeat: {} });
    const container = await created(who, { container: { image: 'alpine:3' } });
    const own = async (document: string) => (await query(api, document, { token: who.token })).data;
    const { runWorkflow } = await own(`mutation { runWorkflow(input: { id: "${workflow}" }) { job { id } } }`);
    const { createApiToken } = await own('mutation { createApiToken(input: { name: "x" }) { apiToken { id } } }');
    const asked = await own(`{ viewer { sessions { id } } auditEvents { nodes { id } }
      workflow(id: "${container}") { build { id } } }`);
    const notification = newId();
    await api.db.insert(notifications).values({
      id: notification,
      userId: who.id,
      workflowId: workflow,
      workflowName: 'x',
      jobId: runWorkflow.job.id,
      kind: 'JOB_FAILED',
    });
    const channel = newId();
    // UNCONFIRMED, so that a test of it has an answer at once.
    await api.db.insert(alertChannels).values({
      ...{ id: channel, userId: who.id, name: 'x', kind: 'EMAIL', state: 'UNCONFIRMED' },
      ...{ config: { shown: 'x@example.com', sealed: {} }, events: [], isDefault: false, includeLog: false },
    });
    const [delivery, incident] = [newId(), newId()];
    await api.db.insert(alertDeliveries).values({
      ...{ id: delivery, channelId: channel, userId: who.id, event: 'JOB_FAILED', status: 'FAILED' },
      ...{ workflowId: workflow, workflowName: 'x', jobId: runWorkflow.job.id },
    });
    await api.db
      .insert(incidents)
      .values({ id: incident, workflowId: workflow, userId: who.id, jobId: runWorkflow.job.id, failures: 1 });
    return {
      AlertChannel: channel,
      AlertDelivery: delivery,
      Incident: incident,
      User: who.id,
      Workflow: workflow,
      Job: runWorkflow.job.id,
      Build: asked.workflow.build.id,
      Notification: notification,
      ApiToken: createApiToken.apiToken.id,
      Session: asked.viewer.sessions[0].id,
      AuditEvent: asked.auditEvents.nodes[0].id,
    };
  }

  /** The first answer as text, without the requested id. */
  async function answerTo({ operation, document }: Place, id: string, who: Person): Promise<string> {
    const { token } = who;
    const answer =
      operation === 'subscription'
        ? await firstOf(document, id, token)
        : await query(api, document, { token, variables: { id, own: ownWorkflows.get(who) } });
    return JSON.stringify(answer).replaceAll(id, 'ID');
  }

  async function firstOf(document: string, id: string, token: string): Promise<unknown> {
    const client = socketOf(api, token);
    const answer = await new Promise((resolve) => {
      client.subscribe(
        { query: document, variables: { id } },
        { next: resolve, error: resolve, complete: () => resolve('COMPLETE') },
      );
    });
    await client.dispose();
    return answer;
  }

  test('exists for each type that is a node', () => {
    const node = schema.getType('Node');
    const types = isInterfaceType(node) ? schema.getPossibleTypes(node).map(({ name }) => name) : [];
    expect(Object.keys(ofAnn).toSorted()).toEqual(types.toSorted());
  });

  test('is tried in every field that takes an id', () => {
    expect(innerFields()).toEqual(['User.jobs', 'Workflow.jobs']);
    expect(places().length).toBeGreaterThan(15);
    for (const { document } of places()) expect(document).not.toContain('UNKNOWN');
  });

  test.each(places().map((place) => [place.path, place] as const))('counts as unknown in %s', async (_, place) => {
    const unknown = await answerTo(place, newId(), bob);
    for (const [type, id] of Object.entries(ofAnn)) {
      expect([type, await answerTo(place, id, bob)]).toEqual([type, unknown]);
      expect([type, await answerTo(place, id.toUpperCase(), bob)]).toEqual([type, unknown]);
    }
  });

  test("counts as unknown below an object of one's own", async () => {
    for (const place of innerPlaces) {
      const unknown = await answerTo(place, newId(), bob);
      for (const id of Object.values(ofAnn)) expect(await answerTo(place, id, bob)).toBe(unknown);
    }
  });

  test('counts as unknown in downloads', async () => {
    const ask = async (id: string) => {
      const response = await fetch(new URL(`/logs/${id}`, api.url), {
        headers: { authorization: `Bearer ${bob.token}` },
      });
      return [response.status, (await response.text()).replaceAll(id, 'ID')];
    };
    const unknown = await ask(newId());
    expect(unknown[0]).toBe(404);
    for (const id of Object.values(ofAnn)) expect(await ask(id)).toEqual(unknown);
  });

  test('changes nothing for its owner, who gets a different answer', async () => {
    const [row] = await api.db.execute(sql`SELECT
      (SELECT terminated_at FROM workflows WHERE id = ${ofAnn.Workflow ?? ''}) AS terminated,
      (SELECT completed_at FROM jobs WHERE id = ${ofAnn.Job ?? ''}) AS completed,
      (SELECT read_at FROM notifications WHERE id = ${ofAnn.Notification ?? ''}) AS read,
      (SELECT count(*)::integer FROM tokens WHERE user_id = ${ann.id}) AS tokens`);
    expect(row).toEqual({ terminated: null, completed: null, read: null, tokens: 2 });
    // Subscriptions to logs would wait for a line.
    const answered = places().filter(({ path }) => !path.includes('Logs'));
    for (const place of answered.toSorted((one, other) => Number(isEnd(one)) - Number(isEnd(other)))) {
      const unknown = await answerTo(place, newId(), ann);
      const answers = [];
      for (const id of Object.values(ofAnn)) answers.push(await answerTo(place, id, ann));
      expect([place.path, answers.every((answer) => answer === unknown)]).toEqual([place.path, false]);
    }
  });
});

/** Whether the operation ends the owner's session, or what others need. */
function isEnd({ path }: Place): boolean {
  return path.includes('revokeSession') || path.includes('deleteAlertChannel');
}
