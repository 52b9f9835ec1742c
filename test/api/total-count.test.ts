import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codes, createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

describe('the number of items in a list', () => {
  let api: TestApi;
  let ann: Person;
  let one: string;
  let other: string;
  beforeAll(async () => {
    api = await testApi();
    await person(api, 'root'); // the administrator
    ann = await person(api);
    one = (await createWorkflow(api, ann, { name: 'one' })).workflow.id;
    other = (await createWorkflow(api, ann, { name: 'other' })).workflow.id;
    const bob = await person(api, 'bob');
    const foreign = (await createWorkflow(api, bob, { name: 'one' })).workflow.id;
    await insertJobs(bob, foreign, 7);
    await insertJobs(ann, one, 9_990);
    await insertJobs(ann, other, 10);
    await api.db.execute(sql`INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, read_at)
      SELECT gen_random_uuid(), ${ann.id}, 'WORKFLOW_RECOVERED', ${one}, 'one', CASE WHEN n % 2 = 0 THEN now() END
      FROM generate_series(1, 30) n`);
  });
  afterAll(() => api.close());

  async function insertJobs(who: Person, workflowId: string, count: number): Promise<void> {
    await api.db.execute(sql`
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, started_at, completed_at, failure_reason)
      SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, ${workflowId}, ${who.id}, 'HEARTBEAT', 'MANUAL',
        status, 1, now(), now(), now(), CASE status WHEN 'FAILED' THEN 'EXIT_CODE' END
      FROM generate_series(1, ${count}) n, LATERAL (SELECT CASE WHEN n % 5 = 0 THEN 'FAILED' ELSE 'COMPLETED' END AS status) s`);
  }

  const ask = async (document: string) => {
    const { data, errors } = await query(api, document, { token: ann.token });
    expect(errors).toBeUndefined();
    return data;
  };

  test('counts the whole list that the filter selects, not the page', async () => {
    const data = await ask(`{
      workflows(first: 1) { totalCount hasMore nodes { id } }
      named: workflows(filter: { nameContains: "OTH" }) { totalCount }
      failed: jobs(first: 1, filter: { status: [FAILED] }) { totalCount pageInfo { hasNextPage } }
      ofOne: jobs(filter: { workflowId: "${other}" }) { totalCount }
      ofBoth: jobs(filter: { workflowIds: ["${one}", "${other}"], status: [FAILED] }) { totalCount }
      workflow(id: "${other}") { jobs(last: 1) { totalCount } failed: jobs(filter: { status: [FAILED] }) { totalCount } }
      notifications(first: 3) { totalCount } unread: notifications(unreadOnly: true) { totalCount }
      volumes { totalCount }
      auditEvents { totalCount }
      viewer { unreadNotificationCount workflows { totalCount } jobs(filter: { status: [FAILED] }) { totalCount } }
    }`);
    expect(data).toEqual({
      workflows: { totalCount: 2, hasMore: false, nodes: [{ id: other }] },
      named: { totalCount: 1 },
      failed: { totalCount: 2_000, pageInfo: { hasNextPage: true } },
      ofOne: { totalCount: 10 },
      ofBoth: { totalCount: 2_000 },
      workflow: { jobs: { totalCount: 10 }, failed: { totalCount: 2 } },
      notifications: { totalCount: 30 },
      unread: { totalCount: 15 },
      volumes: { totalCount: 0 },
      auditEvents: { totalCount: 3 },
      viewer: { unreadNotificationCount: 15, workflows: { totalCount: 2 }, jobs: { totalCount: 2_000 } },
    });
  });

  test('is exact up to 10,000, and null beyond it', async () => {
    const document = `{ jobs { totalCount hasMore } some: jobs(filter: { workflowIds: ["${one}", "${other}"] }) { totalCount hasMore }
      workflow(id: "${other}") { jobs { totalCount hasMore } } viewer { unreadNotificationCount } }`;
    const exact = { totalCount: 10_000, hasMore: false };
    expect(await ask(document)).toMatchObject({ jobs: exact, some: exact });
    await insertJobs(ann, one, 1);
    await insertJobs(ann, other, 9_991);
    await api.db.execute(sql`INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name)
      SELECT gen_random_uuid(), ${ann.id}, 'WORKFLOW_RECOVERED', ${one}, 'one' FROM generate_series(1, 10000)`);
    const more = { totalCount: null, hasMore: true };
    expect(await ask(document)).toEqual({
      jobs: more,
      some: more,
      workflow: { jobs: more },
      viewer: { unreadNotificationCount: null },
    });
  });

  test('costs as much as a search, once for a page of any size', async () => {
    const counts = (count: number) =>
      `{ ${Array.from({ length: count }, (_, n) => `a${n}: workflows(first: 100) { totalCount }`).join(' ')} }`;
    expect(codes(await query(api, counts(23), { token: ann.token }))).toEqual([]); // 2,101 each
    expect(codes(await query(api, counts(24), { token: ann.token }))).toEqual(['BAD_REQUEST']);
    const hidden = `query { ...a } fragment a on Query { workflows(first: 100) { ...b ... { hasMore } } } fragment b on WorkflowConnection { totalCount }`;
    expect(codes(await query(api, hidden, { token: ann.token }))).toEqual([]);
    const nested = `{ workflows(first: 24) { nodes { jobs(first: 1) { totalCount } } } }`;
    expect(codes(await query(api, nested, { token: ann.token }))).toEqual([]);
    const tooNested = nested.replace('24', '25');
    expect(codes(await query(api, tooNested, { token: ann.token }))).toEqual(['BAD_REQUEST']);
  });
});
