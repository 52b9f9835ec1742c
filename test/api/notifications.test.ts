import { sql } from 'drizzle-orm';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createChanges } from '../../api/live/changes.ts';
import { followNotifications } from '../../api/live/notifications.ts';
import { notify } from '../../db/notifications.ts';
import { notifications, workflows } from '../../db/schema.ts';
import { encodeChanged, userChannel } from '../../domain/hints.ts';
import { firstIdAt, newId } from '../../domain/ids.ts';
import { heartbeat } from '../scheduling/support.ts';
import { until } from '../support/time.ts';
import { codes, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const LIST =
  'query ($first: Int, $after: String, $unreadOnly: Boolean) { notifications(first: $first, after: $after, unreadOnly: $unreadOnly) { nodes { id kind title message readAt createdAt workflow { id name } job { id } } pageInfo { hasNextPage hasPreviousPage endCursor } } }';
const MARK =
  'mutation ($ids: [ID!]!) { markNotificationsRead(input: { ids: $ids }) { notifications { id readAt } userErrors { code path } } }';
const ADDED = 'subscription { notificationAdded { id kind title workflow { id } } }';

interface Update {
  notificationAdded: { id: string; kind: string; title: string; workflow: { id: string } | null };
}

let api: TestApi;
let ann: Person;
let bob: Person;
let workflowId: string;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
  bob = await person(api, 'bob');
  workflowId = (await heartbeat(api.db, ann.id)).id;
});
afterAll(() => api.close());

/** Makes events of Ann's workflow. Returns the ids of her notifications, newest last. */
async function happen(count = 1, { hinted = true } = {}): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const [written] = await notify(api.db, [{ kind: 'JOB_FAILED', workflowId, jobId: newId(), detail: `number ${n}` }]);
    ids.push(written?.id ?? '');
    await api.db.execute(sql`SELECT pg_sleep(0.002)`); // ids of one millisecond come in any order
  }
  if (hinted) await api.cache.publish(userChannel(ann.id), encodeChanged({ notifications: ids }));
  return ids;
}
const list = async (variables: object = {}, { token } = ann) =>
  (await query(api, LIST, { token, variables })).data.notifications;
const ids = (page: { nodes: { id: string }[] }) => page.nodes.map(({ id }) => id);

describe('the list of notifications', () => {
  test('comes newest first, in pages, with the object that each is about', async () => {
    await api.db.delete(notifications);
    const made = (await happen(5)).reverse();
    const first = await list({ first: 2 });
    const second = await list({ first: 2, after: first.pageInfo.endCursor });
    const third = await list({ first: 2, after: second.pageInfo.endCursor });
    expect([...ids(first), ...ids(second), ...ids(third)]).toEqual(made);
    expect([first, second, third].map(({ pageInfo }) => pageInfo.hasNextPage)).toEqual([true, true, false]);
    expect(first.nodes[0]).toMatchObject({
      kind: 'JOB_FAILED',
      title: 'A job of test has failed',
      message: 'number 4',
      readAt: null,
      workflow: { id: workflowId, name: 'test' },
      job: null, // there is none with this id
    });
  });

  test('of unread ones loses those that are marked, permanently', async () => {
    await api.db.delete(notifications);
    const [a = '', b = '', c = ''] = await happen(3);
    const marked = (await query(api, MARK, { token: ann.token, variables: { ids: [b, a, b] } })).data
      .markNotificationsRead;
    expect(marked.userErrors).toEqual([]);
    expect(marked.notifications.map(({ id }: { id: string }) => id)).toEqual([b, a, b]);
    expect(ids(await list({ unreadOnly: true }))).toEqual([c]);
    expect(ids(await list())).toEqual([c, b, a]);
    const again = (await query(api, MARK, { token: ann.token, variables: { ids: [a] } })).data.markNotificationsRead;
    expect(again.notifications[0].readAt).toBe(marked.notifications[1].readAt);
  });

  test('P6: an id that is unknown, malformed or Ann’s is NOT_FOUND to Bob, and marks nothing', async () => {
    await api.db.delete(notifications);
    const [mine = ''] = await happen();
    const bobs = await heartbeat(api.db, bob.id);
    const [his] = await notify(api.db, [{ kind: 'JOB_FAILED', workflowId: bobs.id, jobId: newId() }]);
    for (const bad of [mine, newId(), 'malformed']) {
      const answer = await query(api, MARK, { token: bob.token, variables: { ids: [bad, his?.id] } });
      expect(answer.data.markNotificationsRead).toEqual({
        notifications: null,
        userErrors: [{ code: 'NOT_FOUND', path: ['ids', '0'] }],
      });
    }
    expect(ids(await list({ unreadOnly: true }, bob))).toEqual([his?.id]);
    expect(ids(await list({ unreadOnly: true }))).toEqual([mine]);
    const node = 'query ($id: ID!) { node(id: $id) { __typename id } }';
    expect((await query(api, node, { token: bob.token, variables: { id: mine } })).data.node).toBeNull();
    expect((await query(api, node, { token: ann.token, variables: { id: mine } })).data.node).toEqual({
      __typename: 'Notification',
      id: mine,
    });
  });

  test('is read from its end too', async () => {
    await api.db.delete(notifications);
    const made = await happen(5); // oldest first
    const PAGE = `query ($last: Int, $before: String, $unreadOnly: Boolean) { notifications(last: $last, before: $before, unreadOnly: $unreadOnly) {
      nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor } } }`;
    const back = async (variables: object) =>
      (await query(api, PAGE, { token: ann.token, variables })).data.notifications;
    const end = await back({ last: 2 });
    expect([ids(end), end.pageInfo.hasPreviousPage, end.pageInfo.hasNextPage]).toEqual([
      [made[1], made[0]],
      true,
      false,
    ]);
    const middle = await back({ last: 2, before: end.pageInfo.startCursor });
    expect([ids(middle), middle.pageInfo.hasPreviousPage]).toEqual([[made[3], made[2]], true]);
    await query(api, MARK, { token: ann.token, variables: { ids: [made[4]] } });
    const start = await back({ last: 2, before: middle.pageInfo.startCursor, unreadOnly: true });
    expect([ids(start), start.pageInfo.hasPreviousPage]).toEqual([[], false]);
  });

  test('is marked as read up to a notification, so that no later one is lost', async () => {
    const MARK_ALL = `mutation ($input: MarkAllNotificationsReadInput!) { markAllNotificationsRead(input: $input) {
      markedCount user { unreadNotificationCount } userErrors { code path } } }`;
    const markAll = async (input: object, { token } = ann) =>
      (await query(api, MARK_ALL, { token, variables: { input } })).data.markAllNotificationsRead;
    await api.db.delete(notifications);
    const [a, b, c] = await happen(3);
    for (const upToId of [newId(), 'malformed'])
      expect(await markAll({ upToId })).toMatchObject({ userErrors: [{ code: 'NOT_FOUND', path: ['upToId'] }] });
    expect(await markAll({ upToId: b }, bob)).toMatchObject({ userErrors: [{ code: 'NOT_FOUND' }] });
    await query(api, MARK, { token: ann.token, variables: { ids: [a] } });
    const marked = await markAll({ upToId: b?.toUpperCase() });
    expect(marked).toEqual({ markedCount: 1, user: { unreadNotificationCount: 1 }, userErrors: [] });
    expect(ids(await list({ unreadOnly: true }))).toEqual([c]);
    const bobs = await heartbeat(api.db, bob.id);
    const [his] = await notify(api.db, [{ kind: 'JOB_FAILED', workflowId: bobs.id, jobId: newId() }]);
    expect(await markAll({})).toMatchObject({ markedCount: 1, userErrors: [] });
    expect([ids(await list({ unreadOnly: true })), ids(await list({ unreadOnly: true }, bob))]).toEqual([
      [],
      [his?.id],
    ]);
    expect(await markAll({})).toMatchObject({ markedCount: 0, userErrors: [] });
    // More than one transaction marks.
    await api.db.execute(sql`INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name)
      SELECT gen_random_uuid(), ${ann.id}, 'WORKFLOW_RECOVERED', ${workflowId}, 'x' FROM generate_series(1, 12000)`);
    await api.db.execute(
      sql`UPDATE notifications SET id = (lpad(to_hex(1700000000000), 12, '0') || right(id::text, 22))::uuid WHERE user_id = ${ann.id} AND read_at IS NULL`,
    );
    expect(await markAll({})).toMatchObject({ markedCount: 12_000, user: { unreadNotificationCount: 0 } });
    const done = await api.db.execute(
      sql`SELECT FROM audit_events WHERE action = 'markAllNotificationsRead' AND outcome = 'DONE'`,
    );
    expect(done.length).toBe(4);
    await api.db.delete(notifications);
  });

  test('refuses a page of 0, an invalid cursor, too many ids and a request without a token', async () => {
    for (const variables of [{ first: 0 }, { first: 101 }, { after: 'x' }]) {
      expect(codes(await query(api, LIST, { token: ann.token, variables }))).toEqual(['BAD_REQUEST']);
    }
    const many = Array.from({ length: 1_001 }, newId);
    const { data } = await query(api, MARK, { token: ann.token, variables: { ids: many } });
    expect(data.markNotificationsRead.userErrors).toEqual([{ code: 'INVALID', path: ['ids'] }]);
    for (const document of [LIST, 'mutation { markNotificationsRead(input: { ids: [] }) { userErrors { code } } }'])
      expect(codes(await query(api, document))).toEqual(['UNAUTHENTICATED']);
  });

  test('keeps the notifications of a workflow that no longer exists', async () => {
    await api.db.delete(notifications);
    const gone = await heartbeat(api.db, ann.id);
    await notify(api.db, [{ kind: 'WORKFLOW_RECOVERED', workflowId: gone.id, detail: '2' }]);
    await api.db.delete(workflows).where(sql`id = ${gone.id}`);
    expect((await list()).nodes).toMatchObject([{ title: 'test works again', workflow: null, job: null }]);
  });
});

test('the preference is ALERTS until it is changed, for each user separately', async () => {
  const preference = async ({ token }: Person) =>
    (await query(api, '{ viewer { notificationPreference } }', { token })).data.viewer.notificationPreference;
  expect(await preference(ann)).toBe('ALERTS');
  const change =
    'mutation { updateNotificationPreference(input: { preference: NONE }) { user { id notificationPreference } userErrors { code } } }';
  const { data } = await query(api, change, { token: ann.token });
  expect(data.updateNotificationPreference).toEqual({
    user: { id: ann.id, notificationPreference: 'NONE' },
    userErrors: [],
  });
  expect([await preference(ann), await preference(bob)]).toEqual(['NONE', 'ALERTS']);
  await query(api, change.replace('NONE', 'ALERTS'), { token: ann.token });
});

describe('notifications that are followed', () => {
  /** A stream of Ann's that has delivered its first value. */
  async function followed(client: ReturnType<typeof socketOf>) {
    const stream = taker(client.iterate<Update>({ query: ADDED }));
    const first = stream.take();
    const before: string[] = [];
    let got: string | undefined;
    while (got === undefined) {
      before.push(...(await happen()));
      got = await Promise.race([
        first.then(({ data }) => data?.notificationAdded.id),
        new Promise<undefined>((resolve) => setTimeout(resolve, 100)),
      ]);
    }
    const take = async () => (await stream.take()).data?.notificationAdded.id;
    for (let seen = got; seen !== before.at(-1); ) seen = (await take()) ?? '';
    return { take, stop: stream.stop };
  }

  test('are only the new ones, each once, with and without hints', async () => {
    await happen(3);
    const client = socketOf(api, ann.token);
    const stream = await followed(client);
    const hinted = await happen(3);
    const unhinted = await happen(3, { hinted: false });
    const seen: unknown[] = [];
    while (seen.length < 6) seen.push(await stream.take());
    expect(seen.sort()).toEqual([...hinted, ...unhinted].sort());
    // The same hint again.
    await api.cache.publish(userChannel(ann.id), encodeChanged({ notifications: hinted }));
    const [next] = await happen();
    expect(await stream.take()).toBe(next);
    await stream.stop();
    await client.dispose();
  });

  test('arrive completely for a client that pauses reading', async () => {
    const client = socketOf(api, ann.token);
    const stream = await followed(client);
    const made: string[] = [];
    for (let n = 0; n < 8; n++) {
      const events = Array.from({ length: 100 }, () => ({ kind: 'JOB_FAILED', workflowId, jobId: newId() }) as const);
      const written = (await notify(api.db, events)).map(({ id }) => id);
      await api.cache.publish(userChannel(ann.id), encodeChanged({ notifications: written }));
      made.push(...written);
    }
    const seen: unknown[] = [];
    while (seen.length < made.length) seen.push(await stream.take());
    expect(new Set(seen)).toEqual(new Set(made));
    await stream.stop();
    await client.dispose();
  });

  test('are forgotten page by page behind `after`, so that a failed look goes on from the last page', async () => {
    const begin = Date.now() - 3_600_000;
    const old = Array.from({ length: 250 }, (_, n) => firstIdAt(new Date(begin + n)));
    const event = { userId: ann.id, kind: 'JOB_FAILED', workflowId, workflowName: 'a' } as const;
    await api.db.insert(notifications).values(old.map((id) => ({ id, jobId: newId(), ...event })));
    const log = pino({ level: 'silent' });
    const changes = createChanges({ db: api.db, cache: api.cache, log });
    const reads = vi.spyOn(changes.notifications, 'readAfter');
    const stream = taker(followNotifications({ db: api.db, changes, log }, ann.id, firstIdAt(new Date(begin - 1))));
    const seen = [(await stream.take()).id];
    reads.mockRejectedValueOnce(new Error('away'));
    for (let n = 1; n < 100; n += 1) seen.push((await stream.take()).id);
    const next = stream.take(); // when the re-check has come
    seen.push((await next).id);
    while (seen.length < old.length) seen.push((await stream.take()).id);
    expect(seen).toEqual(old);
    expect(reads.mock.calls.map(([, after]) => after).slice(1, 3)).toEqual([old[99], old[99]]);
    await stream.stop();
    changes.close();
  });

  test('P6: are never sent to Bob, even if a hint on his channel names them', async () => {
    const client = socketOf(api, bob.token);
    const stream = taker(client.iterate<Update>({ query: ADDED }));
    const first = stream.take();
    const bobs = await heartbeat(api.db, bob.id);
    const his: (string | undefined)[] = [];
    let got: Awaited<typeof first> | undefined;
    while (got === undefined) {
      const foreign = await happen();
      const [written] = await notify(api.db, [{ kind: 'JOB_FAILED', workflowId: bobs.id, jobId: newId() }]);
      his.push(written?.id);
      const named = [...foreign, written?.id ?? ''];
      await api.cache.publish(userChannel(bob.id), encodeChanged({ notifications: named }));
      got = await Promise.race([first, new Promise<undefined>((resolve) => setTimeout(resolve, 100))]);
    }
    expect(his).toContain(got.data?.notificationAdded.id);
    expect(got.data?.notificationAdded.workflow?.id).toBe(bobs.id);
    await stream.stop();
    await client.dispose();
  });

  test('leave no line in the log', () => {
    expect(api.logged).toEqual([]);
  });

  test('survive an outage of the database without a loss', async () => {
    const client = socketOf(api, ann.token);
    const stream = await followed(client);
    await api.db.execute(sql`ALTER TABLE notifications RENAME TO away`);
    await api.cache.publish(userChannel(ann.id), encodeChanged({ notifications: [newId()] }));
    await until('a read has failed', async () => api.logged.some((line) => line.includes('could not be read')));
    await api.db.execute(sql`ALTER TABLE away RENAME TO notifications`);
    const [made] = await happen(1, { hinted: false });
    expect(await stream.take()).toBe(made);
    await stream.stop();
    await client.dispose();
  });
});
