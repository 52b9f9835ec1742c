import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobs, schedules, workflows } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { codes, createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

interface Page {
  nodes: { id: string; name: string }[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string; endCursor: string };
}

describe('the order of a list', () => {
  let api: TestApi;
  let ann: Person;
  const ids = new Map<string, string>();
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    for (const name of ['delta', 'Alpha', 'charlie', 'alpha', 'Bravo', 'Älg']) {
      const { workflow } = await createWorkflow(api, ann, { name, interval: 5 });
      ids.set(name, workflow.id);
    }
    await createWorkflow(api, await person(api, 'bob'), { name: 'aaa of another account' });
  });
  afterAll(() => api.close());

  const ask = (args: string, list = 'workflows', fields = 'id name') =>
    query(
      api,
      `{ ${list}(${args}) { nodes { ${fields} } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`,
      {
        token: ann.token,
      },
    );
  const page = async (args: string): Promise<Page> => (await ask(args)).data.workflows;
  const names = ({ nodes }: Page) => nodes.map(({ name }) => name);

  /** All names, page by page from the start, and then from the end. */
  async function bothWays(orderBy: string): Promise<string[]> {
    const forwards: string[] = [];
    for (let after = ''; ; ) {
      const shown = await page(`first: 2, orderBy: ${orderBy}${after}`);
      forwards.push(...names(shown));
      if (!shown.pageInfo.hasNextPage) break;
      after = `, after: "${shown.pageInfo.endCursor}"`;
    }
    const backwards: string[] = [];
    for (let before = ''; ; ) {
      const shown = await page(`last: 4, orderBy: ${orderBy}${before}`);
      backwards.unshift(...names(shown));
      if (!shown.pageInfo.hasPreviousPage) break;
      before = `, before: "${shown.pageInfo.startCursor}"`;
    }
    expect(backwards).toEqual(forwards);
    return forwards;
  }

  test('of workflows is that of their names, whatever their case, in both directions', async () => {
    const sorted = ['Alpha', 'alpha', 'Bravo', 'charlie', 'delta', 'Älg'];
    expect(await bothWays('{ field: NAME, direction: ASC }')).toEqual(sorted);
    expect(await bothWays('{ field: NAME, direction: DESC }')).toEqual(sorted.toReversed());
    const made = [...ids.keys()];
    expect(await bothWays('{ field: CREATED_AT, direction: ASC }')).toEqual(made);
    expect(await bothWays('{ field: CREATED_AT, direction: DESC }')).toEqual(made.toReversed());
  });

  test('of workflows is that of their changes, to the microsecond', async () => {
    const order = ['charlie', 'delta', 'alpha', 'Älg', 'Bravo', 'Alpha'];
    for (const [n, name] of order.entries())
      await api.db.execute(
        `UPDATE workflows SET updated_at = '2026-01-01T00:00:00.123450Z'::timestamptz + ${Math.floor(n / 2)} * interval '1 microsecond' WHERE id = '${ids.get(name)}'`,
      );
    const within = ['delta', 'charlie', 'alpha', 'Älg', 'Alpha', 'Bravo']; // equal ones by age
    expect(await bothWays('{ field: UPDATED_AT, direction: ASC }')).toEqual(within);
    expect(await bothWays('{ field: UPDATED_AT, direction: DESC }')).toEqual(within.toReversed());
  });

  test('of workflows is that of their next slots, and those that do not run come last', async () => {
    const order = ['Bravo', 'alpha', 'Älg', 'delta'];
    for (const [n, name] of order.entries())
      await api.db
        .update(schedules)
        .set({ nextRunAt: new Date(Date.UTC(2100, 0, 1 + n)) })
        .where(eq(schedules.workflowId, ids.get(name) ?? ''));
    const end = { terminatedAt: new Date(), terminationReason: 'REQUESTED' as const };
    for (const name of ['Alpha', 'charlie'])
      await api.db
        .update(workflows)
        .set(end)
        .where(eq(workflows.id, ids.get(name) ?? ''));
    expect(await bothWays('{ field: NEXT_RUN_AT, direction: ASC }')).toEqual([...order, 'Alpha', 'charlie']);
  });

  test('of jobs can begin with the oldest, in the whole account and below a workflow', async () => {
    const workflowId = ids.get('delta') ?? '';
    const made = Array.from({ length: 5 }, newId);
    await api.db.insert(jobs).values(
      made.map((id, n) => ({
        ...{ id, workflowId, userId: ann.id, generation: 1, kind: 'HEARTBEAT' as const, trigger: 'AUTOMATIC' as const },
        ...{ status: 'COMPLETED' as const, scheduledAt: new Date(n), startedAt: new Date(n), completedAt: new Date(n) },
      })),
    );
    const order = 'orderBy: { field: CREATED_AT, direction: ASC }';
    const idsOf = (list: Page) => list.nodes.map(({ id }) => id);
    const first = (await ask(`first: 3, ${order}`, 'jobs', 'id')).data.jobs;
    expect(idsOf(first)).toEqual(made.slice(0, 3));
    const rest = (await ask(`first: 3, ${order}, after: "${first.pageInfo.endCursor}"`, 'jobs', 'id')).data.jobs;
    expect([idsOf(rest), rest.pageInfo.hasNextPage]).toEqual([made.slice(3), false]);
    const of = `{ workflow(id: "${workflowId}") { jobs(last: 2, ${order}) { nodes { id } } } }`;
    expect(idsOf((await query(api, of, { token: ann.token })).data.workflow.jobs)).toEqual(made.slice(3));
  });

  test('is part of a cursor, which is refused in any other list', async () => {
    const orders = [
      '{ field: NAME, direction: ASC }',
      '{ field: NAME, direction: DESC }',
      '{ field: UPDATED_AT, direction: ASC }',
      undefined,
    ];
    const withOrder = (order: string | undefined) => (order === undefined ? 'first: 1' : `first: 1, orderBy: ${order}`);
    for (const given of orders) {
      const cursor = (await page(withOrder(given))).pageInfo.endCursor;
      for (const used of orders) {
        const answer = await ask(`${withOrder(used)}, after: "${cursor}"`);
        expect([given, used, codes(answer)]).toEqual([given, used, given === used ? [] : ['BAD_REQUEST']]);
        if (given !== used) expect(answer.errors?.[0]?.message).toContain('`orderBy`');
      }
    }
  });

  test('refuses a cursor that nobody gave', async () => {
    const forge = (name: string, position: unknown) =>
      `${name}.${Buffer.from(JSON.stringify(position)).toString('base64url')}`;
    const id = newId();
    const forged = [
      forge('NAME_ASC', [id, null]),
      forge('NAME_ASC', [id, 'a\0b']),
      forge('NAME_ASC', [id, '\ud800']),
      forge('NAME_ASC', [id, 'a'.repeat(2_001)]),
      forge('NAME_ASC', ['no id', 'a']),
      forge('NAME_ASC', { id }),
      'NAME_ASC.',
      'NAME_ASC',
      '.',
      '',
    ];
    for (const cursor of forged)
      expect([cursor, codes(await ask(`orderBy: { field: NAME, direction: ASC }, after: "${cursor}"`))]).toEqual([
        cursor,
        ['BAD_REQUEST'],
      ]);
    for (const key of ['9223372036854775808', '-9223372036854775809', '1.5', 'x', ''])
      expect([
        key,
        codes(
          await ask(
            `orderBy: { field: UPDATED_AT, direction: DESC }, before: "${forge('UPDATED_AT_DESC', [id, key])}"`,
          ),
        ),
      ]).toEqual([key, ['BAD_REQUEST']]);
  });

  test('leaves no line in the log', () => {
    expect(api.logged).toEqual([]);
  });
});
