import { sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { notify } from '../../db/notifications.ts';
import { notifications } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from '../api/support.ts';
import { heartbeat } from '../scheduling/support.ts';
import { until } from '../support/time.ts';
import { quiet, testSealer } from '../support/workers.ts';

const LIST = `query ($first: Int, $after: String) { notifications(first: $first, after: $after) {
  nodes { id } pageInfo { hasNextPage endCursor } } }`;
const OLD = 2_500; // takes several steps
const YOUNG = 3;

let api: TestApi;
let ann: Person;
let workflowId: string;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
  workflowId = (await heartbeat(api.db, ann.id)).id;
});
afterAll(() => api.close());

/** Adds notifications from `daysAgo` days ago, every other one read. */
async function fill(count: number, daysAgo: number): Promise<void> {
  const prefix = v7({ msecs: Date.now() - daysAgo * DAY_MS }).slice(0, 24);
  await api.db.execute(sql`
    INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, read_at, created_at)
    SELECT (${prefix}::text || lpad(n::text, 12, '0'))::uuid, ${ann.id}, 'WORKFLOW_TERMINATED', ${workflowId}, 'a', CASE WHEN n % 2 = 0 THEN now() END,
      now() - make_interval(days => ${daysAgo}) FROM generate_series(1, ${count}::integer) n`);
}

const list = async (variables: object) => (await query(api, LIST, { token: ann.token, variables })).data.notifications;

test('notifications are removed at the age that the setting says, read or not; pages and subscriptions continue', async () => {
  await fill(OLD, 8);
  await fill(YOUNG, 6);
  const newest = await list({ first: YOUNG - 1 });
  // Its cursor belongs to a notification that is removed.
  const old = await list({ first: YOUNG + 5 });
  const client = socketOf(api, ann.token);
  const added = taker(
    client.iterate<{ notificationAdded: { id: string } }>({ query: 'subscription { notificationAdded { id } }' }),
  );
  const first = added.take();

  const { db, bus, cache } = api;
  const parts = { db, bus, cache, log: quiet, owner: 'test', sealer: testSealer };
  const worker = await startScheduling({ ...parts, notificationRetentionDays: 7 });
  await until('the old ones are gone', async () => (await db.$count(notifications)) === YOUNG);
  await worker.close();

  const rest = await list({ first: 10, after: newest.pageInfo.endCursor });
  expect(rest).toMatchObject({ nodes: [{ id: expect.any(String) }], pageInfo: { hasNextPage: false } });
  expect(await list({ first: 10, after: old.pageInfo.endCursor })).toMatchObject({
    nodes: [],
    pageInfo: { hasNextPage: false },
  });
  let notified = 0;
  const id = await until('the subscriber gets a new one', async () => {
    const [made] = await notify(db, [{ kind: 'JOB_FAILED', workflowId, jobId: newId() }]);
    await cache.publish(userChannel(ann.id), encodeChanged({ notifications: [made?.id ?? ''] }));
    notified += 1;
    return Promise.race([first, new Promise<undefined>((resolve) => setTimeout(resolve, 200))]);
  });
  expect(id.data?.notificationAdded.id).toEqual(expect.any(String));
  expect((await list({ first: 100 })).nodes).toHaveLength(YOUNG + notified);
  await client.dispose();
});
