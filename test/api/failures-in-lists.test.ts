import { setImmediate as turn } from 'node:timers/promises';
import { buildSchema, execute, type GraphQLField, isObjectType, parse } from 'graphql';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../../api/context.ts';
import { changeValues } from '../../api/schema/resolver.ts';
import { insertJob } from '../support/jobs.ts';
import { codes, createWorkflow, type Person, query, type TestApi, withAnnAndBob } from './support.ts';

/*
 * An executor that meets a throw in an item of a list drops the promises of the items before it. If
 * one of these is rejected, no code handles it, and Node ends the process. So a caller whose query
 * fails in several items could end the api for all.
 */

const unhandled: unknown[] = [];
const note = (reason: unknown) => unhandled.push(reason);
beforeAll(() => void process.on('unhandledRejection', note));
afterAll(() => void process.off('unhandledRejection', note));
beforeEach(() => {
  unhandled.length = 0;
});

describe('failures in several items of a list', () => {
  let api: TestApi;
  let ann: Person;
  withAnnAndBob((made) => {
    ({ api, ann } = made);
  });

  test.each([
    ['by its plan', ''],
    ['by the usual executor', ' unplanned: __typename @skip(if: true)'],
  ])('are one refusal where a log is open and the log before it has ended: %s', async (_, unplanned) => {
    const { workflow } = await createWorkflow(api, ann, {});
    const of = { workflowId: workflow.id };
    for (let n = 0; n < 3; n++) {
      await insertJob(api.db, ann.id, of); // the list begins with the newest one, which has ended
      await insertJob(api.db, ann.id, { ...of, status: 'COMPLETED', completedAt: new Date() });
    }
    const list = `jobs(filter: { workflowId: "${workflow.id}" })`;
    for (const cursor of ['after', 'before'])
      for (const parts of ['', ' totalCount']) {
        const document = `{ ${list} {${parts} nodes { logs(${cursor}: "no cursor") { nodes { text } } id } }${unplanned} }`;
        expect(codes(await query(api, document, { token: ann.token }))).toEqual(['BAD_REQUEST']);
      }
    await turn();
    expect(unhandled).toEqual([]);
  });

  test('are handled where a value is refused at once, and those before it later', async () => {
    const schema = buildSchema('type Query { items: [Item!]! } type Item { late: String! text: String! }');
    const item = schema.getType('Item');
    if (!isObjectType(item)) throw new Error('Item is an object.');
    const field: GraphQLField<unknown, Context> | undefined = item.getFields().text;
    if (!field) throw new Error('Item has a text.');
    changeValues(field, (text) => {
      if (text === 'long') throw new Error('refused at once');
      return text;
    });
    const late = async () => {
      await turn();
      throw new Error('refused later');
    };
    for (const fields of ['text late', 'late text']) {
      const rootValue = {
        items: [
          { text: 'a', late },
          { text: 'long', late },
        ],
      };
      const { errors, data } = await execute({ schema, document: parse(`{ items { ${fields} } }`), rootValue });
      expect(data).toBeNull();
      expect(errors?.[0]?.message).toMatch(/^refused/);
      await turn();
      await turn();
    }
    expect(unhandled).toEqual([]);
  });
});
