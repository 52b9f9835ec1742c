import fc from 'fast-check';
import { type GraphQLArgument, parse, validate } from 'graphql';
import { beforeAll, describe, expect, test } from 'vitest';
import { planOf } from '../../api/graphql/field-plan.ts';
import { schema } from '../../api/schema/schema.ts';
import { SUMMARY_FIELDS } from '../../api/schema/summary.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { notifications } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { insertJob } from '../support/jobs.ts';
import { numberedChunk } from '../support/lines.ts';
import { type Dice, diceOf, randomDocument } from '../support/random-document.ts';
import { createWorkflow, type Person, query, type TestApi, withAnnAndBob } from './support.ts';

/*
 * A document has the same answer on each way that there is: by its plan or by the usual executor,
 * past the engine's requests and responses or through them.
 */

const DIRECT = 'application/json';
const BY_ENGINE = 'application/graphql+json';

/** A field that is left out: a document with a directive has no plan. */
const UNPLANNED = ' unplanned: __typename @skip(if: true) }';

/** Headers that differ from answer to answer. */
const OWN = new Set(['date', 'content-length']);

/** They differ from moment to moment, or read other machines. */
const UNSTEADY = new Set([
  'System.now',
  'Query.system',
  'Query.schedulePreview',
  'ApiToken.lastUsedAt',
  'Session.lastUsedAt',
]);

describe('any document', () => {
  let api: TestApi;
  let ann: Person;
  const ids: string[] = [newId(), 'no id'];
  const cursors: string[] = ['no cursor'];
  withAnnAndBob((made) => {
    ({ api, ann } = made);
    ids.push(made.bob.id, ann.id);
  });
  beforeAll(async () => {
    for (let n = 0; n < 4; n++) {
      const payload =
        n % 2 ? { heartbeat: {} } : { container: { image: 'alpine:3', volumes: [{ name: `v${n}`, path: '/d' }] } };
      const { workflow } = await createWorkflow(api, ann, { payload, name: `w${n}` }, 'id build { id }');
      const of = { workflowId: workflow.id };
      const ended = await insertJob(api.db, ann.id, {
        ...of,
        status: 'COMPLETED',
        completedAt: new Date(),
        logLineCount: 3,
      });
      await insertChunks(api.db, [await numberedChunk(ended, 1, 3)]);
      const notice = { id: newId(), userId: ann.id, workflowName: 'a', kind: 'JOB_FAILED' as const };
      await api.db.insert(notifications).values({ ...notice, ...of, jobId: ended });
      ids.push(workflow.id, ended, notice.id, ...(workflow.build ? [workflow.build.id] : []));
    }
    const { data } = await query(api, '{ jobs(first: 2) { pageInfo { endCursor } } }', { token: ann.token });
    cursors.push(data.jobs.pageInfo.endCursor);
  });

  test('shows the same of summaries of rows as of whole rows', async () => {
    const { id } = (await createWorkflow(api, ann, { name: 'summary' })).workflow;
    const states = [
      { status: 'FAILED', completedAt: new Date(), exitCode: 3, failureReason: 'EXIT_CODE', failureMessage: 'no' },
      { status: 'RUNNING', attempt: 2, logLineCount: 1 },
      { status: 'COMPLETED', completedAt: new Date(), trigger: 'MANUAL', logLineCount: 2 },
    ] as const;
    for (const state of states) {
      const job = await insertJob(api.db, ann.id, { workflowId: id, ...state });
      await insertChunks(api.db, [await numberedChunk(job, 1, 2)]);
    }
    const selected = (type: string) => [...(SUMMARY_FIELDS[type] ?? [])];
    const parts: Record<string, string> = {
      workflow: `workflow { ${selected('Workflow').join(' ')} }`,
      logs: 'logs(last: 1) { nodes { text } }',
    };
    const job = selected('Job').map((name) => parts[name] ?? name);
    expect(job.length).toBeGreaterThan(10);
    for (const list of [`jobs(filter: { workflowId: "${id}" })`, `workflow(id: "${id}") { jobs`]) {
      const text = `{ ${list} { nodes { ${job.join(' ')} } }${list.endsWith('jobs') ? ' }' : ''} }`;
      const document = parse(text);
      expect(planOf({ schema, document })?.summaries.has('Job')).toBe(true);
      const summaries = await answer(DIRECT, { query: text });
      expect(summaries.text).not.toContain('errors');
      expect(summaries.text).toContain('EXIT_CODE');
      expect(await answer(DIRECT, { query: text.replace(/ }$/, UNPLANNED) })).toEqual(summaries);
      const more = text.replace('nodes {', 'nodes { createdAt');
      expect(planOf({ schema, document: parse(more) })?.summaries.has('Job')).toBe(false);
    }
  });

  async function answer(type: string, sent: object) {
    const headers = { 'content-type': type, authorization: `Bearer ${ann.token}` };
    const response = await fetch(api.url, { method: 'POST', headers, body: JSON.stringify(sent) });
    const shown = [...response.headers].filter(([name]) => !OWN.has(name)).toSorted();
    const text = (await response.text()).replaceAll(DIFFERING, '');
    return { status: response.status, headers: shown, text };
  }

  function given({ name }: GraphQLArgument, dice: Dice): string | undefined {
    const some = (from: string[]) => JSON.stringify(from[dice.roll(from.length)]);
    if (name === 'id') return some(ids);
    if (name === 'ids') return `[${some(ids)}, ${some(ids)}]`;
    if (name === 'first' || name === 'last') return String(dice.roll(4));
    return name === 'after' || name === 'before' ? some(cursors) : undefined;
  }

  test('has one answer, whichever way it goes', async () => {
    const allows = (on: string, field: string) => !UNSTEADY.has(`${on}.${field}`);
    const counts = { planned: 0, whole: 0 };
    const property = fc.asyncProperty(fc.integer(), async (seed) => {
      const document = randomDocument(schema, diceOf(seed), { depth: 3, allows, given });
      const parsed = parse(document.query);
      const isValid = validate(schema, parsed).length === 0;
      const other = isValid ? document.query.replace(/ }$/m, UNPLANNED) : document.query;
      const direct = await answer(DIRECT, document);
      expect(await answer(BY_ENGINE, document), document.query).toEqual(direct);
      const usual = await answer(DIRECT, { ...document, query: other });
      const [one, two] = compared(usual.text, direct.text);
      expect({ ...usual, text: one }, document.query).toEqual({ ...direct, text: two });
      if (isValid && planOf({ schema, document: parsed, operationName: document.operationName })) counts.planned += 1;
      if (direct.text.startsWith('{"data"')) counts.whole += 1;
    });
    await fc.assert(property, { numRuns: RUNS, endOnFailure: true });
    expect(counts.planned).toBeGreaterThan(RUNS / 3);
    expect(counts.whole).toBeGreaterThan(RUNS / 3);
  });
});

const RUNS = 100;

interface Answer {
  data?: unknown;
  errors?: { path?: (string | number)[] }[];
}

/**
 * The two answers without what may differ. The errors are in no order. Where an error has made an
 * object null, further errors within that object may be left out: the executor does not wait for
 * them.
 */
function compared(...texts: [string, string]): [unknown, unknown] {
  const [one, two]: [Answer, Answer] = [JSON.parse(texts[0]), JSON.parse(texts[1])];
  return [without(one, two), without(two, one)];
}

/** The answer without errors that the other one may leave out, and does. */
function without({ data, errors }: Answer, other: Answer): unknown {
  const others = new Set(other.errors?.map((error) => JSON.stringify(error)));
  const needed = errors?.filter((error) => {
    const lost = lostObject(data, error.path);
    const isExplained = other.errors?.some(({ path }) => lost && startsWith(path, lost));
    return others.has(JSON.stringify(error)) || !isExplained;
  });
  return { data: JSON.stringify(data), errors: needed?.map((error) => JSON.stringify(error)).toSorted() };
}

/** The path of the object around the field that is null, if there is one. */
function lostObject(data: unknown, path: (string | number)[] = []): (string | number)[] | undefined {
  let value: unknown = data;
  for (const [depth, key] of path.entries()) {
    if (value === null) return path.slice(0, depth);
    value = typeof value === 'object' && value ? Reflect.get(value, key) : undefined;
  }
  return undefined;
}

function startsWith(path: (string | number)[] = [], prefix: (string | number)[]): boolean {
  return prefix.every((key, at) => path[at] === key);
}

/** The ids of failures, and costs: a field that is left out has one. */
const DIFFERING = /"requestId":"[^"]*"|costs \d+ values/g;
