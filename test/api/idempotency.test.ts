import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sweepIdempotencyKeys } from '../../db/idempotency.ts';
import { databaseClockMs } from '../../db/jobs/anchor.ts';
import { idempotencyKeys } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { type Person, person, query, type TestApi, testApi } from './support.ts';

const ONCE = { name: 'Once', payload: { heartbeat: {} }, maxConsecutiveJobFailuresAllowed: 3 };
const HEARTBEAT = { ...ONCE, interval: 60 };
const FIELDS = {
  createWorkflow: 'workflow { id name generation }',
  updateWorkflow: 'workflow { id name generation }',
  runWorkflow: 'job { id status }',
  deleteWorkflow: 'deletedWorkflowId',
};

describe('a call with an idempotency key', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  let key: string;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
  });
  beforeEach(() => {
    key = newId();
  });
  afterAll(() => api.close());

  async function call(mutation: keyof typeof FIELDS, input: object, { token } = ann) {
    const type = `${mutation[0]?.toUpperCase()}${mutation.slice(1)}Input`;
    const document = `mutation ($input: ${type}!) { ${mutation}(input: $input) { ${FIELDS[mutation]} userErrors { code path } } }`;
    const { data, errors } = await query(api, document, { token, variables: { input } });
    expect(errors).toBeUndefined();
    return data[mutation];
  }
  const conflict = [{ code: 'CONFLICT', path: ['idempotencyKey'] }];

  test('returns the first call’s workflow as it is now, whatever the order of fields and whichever are null', async () => {
    const { workflow } = await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: key });
    await call('updateWorkflow', { id: workflow.id, name: 'Renamed' });
    const again = await call('createWorkflow', {
      idempotencyKey: key,
      maxConsecutiveJobFailuresAllowed: 3,
      interval: 60,
      payload: { heartbeat: { endpoint: null } },
      name: 'Once',
    });
    expect(again).toEqual({ workflow: { id: workflow.id, name: 'Renamed', generation: 1 }, userErrors: [] });
    expect(await call('createWorkflow', { ...HEARTBEAT, name: 'Other', idempotencyKey: key })).toEqual({
      workflow: null,
      userErrors: conflict,
    });
  });

  test('returns the first call’s workflow when the time of its schedule has passed, and leaves no key behind when that is too late', async () => {
    const at = new Date((await databaseClockMs(api.db)) + 1_000).toISOString();
    const input = { ...ONCE, schedule: { at }, idempotencyKey: key };
    const { workflow } = await call('createWorkflow', input);
    const later = { id: workflow.id, schedule: { cron: { expressions: ['@daily'] } } };
    await expect.poll(() => databaseClockMs(api.db)).toBeGreaterThan(Date.parse(at));
    await call('updateWorkflow', later);
    expect(await call('createWorkflow', input)).toEqual({ workflow, userErrors: [] });

    const late = [{ code: 'INVALID', path: ['schedule', 'at'] }];
    const other = newId();
    const refused = { workflow: null, userErrors: late };
    expect(await call('createWorkflow', { ...input, idempotencyKey: other })).toEqual(refused);
    expect(await call('updateWorkflow', { ...later, schedule: { at }, idempotencyKey: other })).toEqual(refused);
    expect(await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: other })).toMatchObject({ userErrors: [] });
  });

  test('makes one object per key, even if many calls arrive at once', async () => {
    const many = <T>(make: () => Promise<T>) => Promise.all(Array.from({ length: 8 }, make));
    const created = await many(() => call('createWorkflow', { ...HEARTBEAT, idempotencyKey: key }));
    const { id } = created[0].workflow;
    expect(new Set(created.map(({ workflow }) => workflow.id))).toEqual(new Set([id]));
    const ran = await many(() => call('runWorkflow', { id, idempotencyKey: key }));
    expect(new Set(ran.map(({ job }) => job.id)).size).toBe(1);
    const payload = { heartbeat: { endpoint: 'http://example.com' } };
    const updated = await many(() => call('updateWorkflow', { id, payload, idempotencyKey: key }));
    expect(updated.map(({ workflow }) => workflow.generation)).toEqual(updated.map(() => 2));
  });

  test('is not repeated if its object has been changed or ended since', async () => {
    const { workflow } = await call('createWorkflow', HEARTBEAT);
    await call('updateWorkflow', { id: workflow.id, name: 'First', idempotencyKey: key });
    const { job } = await call('runWorkflow', { id: workflow.id, idempotencyKey: key });
    await call('updateWorkflow', { id: workflow.id, name: 'Second' });
    await call('deleteWorkflow', { id: workflow.id });
    const again = await call('updateWorkflow', { id: workflow.id, name: 'First', idempotencyKey: key });
    expect(again).toMatchObject({ workflow: { name: 'Second' }, userErrors: [] });
    expect(await call('runWorkflow', { id: workflow.id, idempotencyKey: key })).toEqual({
      job: { id: job.id, status: 'CANCELED' },
      userErrors: [],
    });
    await call('deleteWorkflow', { id: workflow.id, purge: true });
    expect(await call('runWorkflow', { id: workflow.id, idempotencyKey: key })).toEqual({
      job: null,
      userErrors: [{ code: 'NOT_FOUND', path: ['idempotencyKey'] }],
    });
  });

  test('distinguishes null from a missing field only where they mean different things', async () => {
    const { workflow } = await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: key });
    const other = newId();
    expect(await call('createWorkflow', { ...HEARTBEAT, logRetentionDays: null, idempotencyKey: key })).toMatchObject({
      workflow: { id: workflow.id },
      userErrors: [],
    });
    const rename = { id: workflow.id, name: 'Renamed', idempotencyKey: key };
    expect((await call('updateWorkflow', rename)).userErrors).toEqual([]);
    expect((await call('updateWorkflow', { ...rename, interval: null, payload: null })).userErrors).toEqual([]);
    expect(await call('updateWorkflow', { ...rename, logRetentionDays: null })).toEqual({
      workflow: null,
      userErrors: conflict,
    });
    const reset = { ...rename, logRetentionDays: null, idempotencyKey: other };
    expect((await call('updateWorkflow', reset)).userErrors).toEqual([]);
    expect((await call('updateWorkflow', reset)).userErrors).toEqual([]);
    expect((await call('updateWorkflow', { ...rename, idempotencyKey: other })).userErrors).toEqual(conflict);
  });

  test('stores nothing if it was refused: the key can be used again', async () => {
    const { workflow } = await call('createWorkflow', { ...HEARTBEAT, payload: { container: { image: 'alpine:3' } } });
    const run = { id: workflow.id, idempotencyKey: key };
    expect((await call('runWorkflow', run)).userErrors).toEqual([{ code: 'NOT_READY', path: ['id'] }]);
    const update = { id: workflow.id, payload: { heartbeat: {} }, idempotencyKey: key };
    expect((await call('updateWorkflow', update)).userErrors).toEqual([{ code: 'CONFLICT', path: ['payload'] }]);
    expect(await api.db.$count(idempotencyKeys, eq(idempotencyKeys.key, key))).toBe(0);
    expect((await call('updateWorkflow', { ...update, payload: undefined, name: 'Free' })).userErrors).toEqual([]);
  });

  test('is remembered per mutation for a day, and an invalid key is refused', async () => {
    const { workflow } = await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: key });
    expect((await call('runWorkflow', { id: workflow.id, idempotencyKey: key })).userErrors).toEqual([]);
    await api.db.execute(sql`UPDATE idempotency_keys SET created_at = now() - interval '24 hours' WHERE key = ${key}`);
    // The expired key is not yet swept.
    const second = await call('createWorkflow', { ...HEARTBEAT, name: 'Next day', idempotencyKey: key });
    expect(second.workflow.id).not.toBe(workflow.id);
    expect(await sweepIdempotencyKeys(api.db)).toBe(1); // the key of runWorkflow
    expect(await sweepIdempotencyKeys(api.db)).toBe(0);
    expect(await api.db.$count(idempotencyKeys, eq(idempotencyKeys.key, key))).toBe(1);
    for (const wrong of ['', 'x'.repeat(256), 'a\0b']) {
      const invalid = [{ code: 'INVALID', path: ['idempotencyKey'] }];
      expect((await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: wrong })).userErrors).toEqual(invalid);
      expect((await call('updateWorkflow', { id: workflow.id, idempotencyKey: wrong })).userErrors).toEqual(invalid);
      expect((await call('runWorkflow', { id: workflow.id, idempotencyKey: wrong })).userErrors).toEqual(invalid);
    }
    const longest = '\u{1F511}'.repeat(255);
    expect((await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: longest })).userErrors).toEqual([]);
  });

  test('P6: reveals nothing of another user: Bob’s call with the same key is independent', async () => {
    const mine = await call('createWorkflow', { ...HEARTBEAT, idempotencyKey: key });
    const his = await call('createWorkflow', { ...HEARTBEAT, name: 'His', idempotencyKey: key }, bob);
    expect(his).toMatchObject({ workflow: { name: 'His' }, userErrors: [] });
    await call('runWorkflow', { id: mine.workflow.id, idempotencyKey: key });
    expect(await call('runWorkflow', { id: mine.workflow.id, idempotencyKey: key }, bob)).toEqual({
      job: null,
      userErrors: [{ code: 'NOT_FOUND', path: ['id'] }],
    });
  });
});
