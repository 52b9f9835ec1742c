import { eq } from 'drizzle-orm';
import {
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
  getNamedType,
  getNullableType,
  isAbstractType,
  isCompositeType,
  isListType,
  isObjectType,
  isRequiredArgument,
} from 'graphql';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { schema } from '../../api/schema/schema.ts';
import { startApi } from '../../api/server.ts';
import { connect, type Db } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import {
  alertDeliveries,
  incidents,
  notifications,
  workers,
  workflowAlertChannels,
  workflows,
} from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import { channel, queueDeliveries } from '../alerting/support.ts';
import { testDatabase } from '../support/database.ts';
import { insertJob } from '../support/jobs.ts';
import { numberedChunk } from '../support/lines.ts';
import { countStatements, type StatementCounter } from '../support/statement-counter.ts';
import { testSealer } from '../support/workers.ts';
import { createWorkflow, type Person, person, query } from './support.ts';

/*
 * The documents come from the schema: one for each way of fields from the root through lists and
 * objects, with all values of the object at its end. A new field is on a way by itself.
 */

const FEW = 2;
const MANY = 20;
const DEPTH_MAX = 3;
/** With those that begin and end the snapshot of an answer, and the lookup of the token. */
const STATEMENTS_MAX = 20;
/** So few that there cannot be one for each of half of MANY objects. */
const STATEMENTS_OF_ONE = 8;
/** Large rows are read in sets of 20 (PAYLOADS_PER_READ_MAX). */
const GROWTH_MAX = 2;

type Field = GraphQLField<unknown, unknown>;

/** A field of an object, and the type to which it leads: for a page, that of its items. */
interface Step {
  on: GraphQLObjectType;
  field: Field;
  to: GraphQLObjectType;
}

/** By the name of their type. */
type Ids = { [type: string]: string[] };

/** All ways from `on` that lead to no type twice. */
function waysFrom(on: GraphQLObjectType, way: Step[] = []): Step[][] {
  if (way.length === DEPTH_MAX) return [];
  return Object.values(on.getFields()).flatMap((field) =>
    objectsOf(itemOf(getNamedType(field.type)))
      .filter((to) => !way.some((step) => step.to === to))
      .flatMap((to) => [[...way, { on, field, to }], ...waysFrom(to, [...way, { on, field, to }])]),
  );
}

function itemOf(type: GraphQLNamedType): GraphQLNamedType {
  const items = isPage(type) ? type.getFields().nodes : undefined;
  return items === undefined ? type : getNamedType(items.type);
}

function isPage(type: GraphQLNamedType): type is GraphQLObjectType {
  return isObjectType(type) && type.getFields().pageInfo !== undefined;
}

function objectsOf(type: GraphQLNamedType): GraphQLObjectType[] {
  if (isAbstractType(type)) return [...schema.getPossibleTypes(type)];
  return isObjectType(type) ? [type] : [];
}

function valuesOf(type: GraphQLObjectType): string {
  const values = Object.values(type.getFields()).filter(({ type: of }) => !isCompositeType(getNamedType(of)));
  return ['__typename', ...values.map(({ name }) => name)].join(' ');
}

/** The first list has `count` items, and those in it have FEW. */
function documentOf(way: Step[], ids: Ids, count: number): string {
  let size = count;
  const fieldOf = ([step, ...rest]: Step[]): string => {
    if (step === undefined) return '';
    const { field, to } = step;
    const given = field.args.flatMap((arg) => {
      if (arg.name === 'ids') return [`ids: ${JSON.stringify((ids[to.name] ?? []).slice(0, size))}`];
      if (arg.name === 'first') return [`first: ${size}`];
      if (isRequiredArgument(arg)) return [`${arg.name}: ${JSON.stringify(ids[to.name]?.[0] ?? newId())}`];
      return [];
    });
    if (given.some((text) => !text.startsWith('id:'))) size = FEW;
    const args = given.length === 0 ? '' : `(${given.join()})`;
    const within = `... on ${to.name} { ${rest.length === 0 ? valuesOf(to) : fieldOf(rest)} }`;
    const page = getNamedType(field.type);
    if (!isPage(page)) return `${field.name}${args} { ${within} }`;
    // The limit of costs allows one value of each of many pages, and none in the lists of lists.
    const values = way.length > 1 ? 'totalCount' : valuesOf(page);
    const hasValues = rest.length === 0 && way.length <= 2 && page.getFields().totalCount !== undefined;
    return `${field.name}${args} { ${hasValues ? values : ''} nodes { ${within} } }`;
  };
  return `{ ${fieldOf(way)} }`;
}

describe('the statements of an answer', () => {
  let counter: StatementCounter;
  let api: { url: string };
  let ann: Person;
  let ids: Ids;
  const closing: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    const database = await testDatabase();
    counter = await countStatements(database.url);
    const log = pino({ level: 'silent' });
    const counted = connect(counter.url, { max: 4, application: 'chronoverse-test' });
    const bus = createMemoryBus({ log });
    const cache = createMemoryCache();
    const started = await startApi({
      db: counted.db,
      bus,
      cache,
      log,
      sealer: testSealer,
      settings: { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 60, signUp: 'open' },
    });
    api = started;
    closing.push(
      () => database.close(),
      () => counter.close(),
      () => counted.close(),
      () => bus.close(),
      () => cache.close(),
      () => started.close(),
    );
    ann = await person(api);
    ids = await seed(database.db, api, ann);
  });
  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
  });

  /** The number of statements. Undefined if a list of so many is above the limit of costs. */
  async function ask(way: Step[], count: number): Promise<number | undefined> {
    const document = documentOf(way, ids, count);
    await counter.quiet();
    const before = counter.count();
    const { data, errors } = await query(api, document, { token: ann.token });
    if (errors?.[0]?.message.startsWith('The operation costs')) return undefined;
    expect(errors, document).toBeUndefined();
    const [step] = way;
    if (step && isPage(getNamedType(step.field.type)))
      expect(data[step.field.name].nodes, document).toHaveLength(count);
    await counter.quiet(); // the end of its snapshot is one of its statements
    return counter.count() - before;
  }

  test('are as few for a list of many objects as for a list of few, for all fields of the schema', async () => {
    const ways = waysFrom(schema.getQueryType() ?? expect.fail('The schema has no queries.')).filter(hasList);
    expect(ways.map((way) => way.map(({ field }) => field.name).join('.'))).toContain('workflows.jobs.logs');
    const tooMany: string[] = [];
    for (const way of ways) {
      const many = (await ask(way, MANY)) ?? (await ask(way, MANY / 2)) ?? expect.fail(documentOf(way, ids, MANY / 2));
      if (many <= STATEMENTS_OF_ONE) continue;
      const few = (await ask(way, FEW)) ?? 0;
      if (many > STATEMENTS_MAX || many > few + GROWTH_MAX)
        tooMany.push(`${many} of many, ${few} of few: ${documentOf(way, ids, MANY)}`);
    }
    expect(tooMany).toEqual([]);
  });

  test('are three and the lookup of the token for jobs that have ended, with their workflows and logs', async () => {
    const document = `{ jobs(first: ${MANY / 2}, filter: { status: [COMPLETED] }) {
      nodes { status workflow { name } logs(last: 1) { nodes { text } } } } }`;
    await counter.quiet();
    const before = counter.count();
    const { data } = await query(api, document, { token: ann.token });
    expect(data.jobs.nodes).toHaveLength(MANY / 2);
    expect(data.jobs.nodes[0].logs.nodes).toEqual([{ text: expect.any(String) }]);
    await counter.quiet();
    expect(counter.count() - before).toBe(4);
  });
});

/** Whether objects of a list lead to the last field of the way. */
function hasList(way: Step[]): boolean {
  return way
    .slice(0, -1)
    .some(({ field }) => isListType(getNullableType(field.type)) || isPage(getNamedType(field.type)));
}

/** MANY of everything that a list can have, all of Ann. */
async function seed(db: Db, api: { url: string }, ann: Person): Promise<Ids> {
  const made = { Workflow: [] as string[], Build: [] as string[], Job: [] as string[], Notification: [] as string[] };
  const alerting = { AlertChannel: [] as string[], AlertDelivery: [] as string[], Incident: [] as string[] };
  for (let n = 0; n < MANY; n++) {
    const payload = { container: { image: 'alpine:3', volumes: [{ name: `volume-${n}`, path: '/data' }] } };
    const { workflow } = await createWorkflow(api, ann, { payload }, 'id build { id }');
    const of = { workflowId: workflow.id };
    const ended = await insertJob(db, ann.id, { ...of, status: 'COMPLETED', completedAt: new Date(), logLineCount: 3 });
    const running = await insertJob(db, ann.id, of);
    await insertJob(db, ann.id, { ...of, status: 'QUEUED', attempt: 0, leaseToken: null, startedAt: null });
    const logs = [ended, running, workflow.build.id].map((id: string) => numberedChunk(id, 1, 3));
    await insertChunks(db, await Promise.all(logs));
    const notice = { id: newId(), userId: ann.id, workflowName: 'a', kind: 'JOB_FAILED' as const };
    await db.insert(notifications).values({ ...notice, ...of, jobId: ended });
    await db.insert(workers).values({ owner: `worker ${n}`, name: 'workflow', version: '1', host: 'here' });
    made.Workflow.push(workflow.id);
    made.Build.push(workflow.build.id);
    made.Job.push(n % 2 ? ended : running);
    made.Notification.push(notice.id);
    const [channelId, incident] = [await channel(db, ann.id), newId()];
    await db.insert(incidents).values({ ...of, id: incident, userId: ann.id, jobId: ended, failures: 1 });
    await db.update(workflows).set({ hasOwnAlertChannels: true }).where(eq(workflows.id, workflow.id));
    await db.insert(workflowAlertChannels).values({ ...of, channelId });
    const queued = await queueDeliveries(db, { channelId, userId: ann.id, count: MANY });
    await db
      .update(alertDeliveries)
      .set({ ...of, jobId: ended, incidentId: incident })
      .where(eq(alertDeliveries.channelId, channelId));
    alerting.AlertChannel.push(channelId);
    alerting.AlertDelivery.push(queued[0] ?? '');
    alerting.Incident.push(incident);
  }
  return { ...made, ...alerting, User: [ann.id] };
}
