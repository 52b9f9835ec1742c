import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { alertChannels, alertDeliveries, alertDue, workflows } from '../../db/schema.ts';
import { openTarget } from '../../domain/alerts/config.ts';
import { newId } from '../../domain/ids.ts';
import { deliveriesOf, queueDeliveries, storyOf } from '../alerting/support.ts';
import { testSealer } from '../support/workers.ts';
import { CHANNEL, call, channelRow, codeOf, createChannel, disable, WEBHOOK } from './alert-support.ts';
import { codes, createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

let api: TestApi;
let ann: Person;
let bob: Person;
beforeAll(async () => {
  api = await testApi({ emailReady: true });
});
beforeEach(async () => {
  ann = await person(api, 'ann');
  bob = await person(api, 'bob');
});
afterAll(() => api.close());

const EMAIL = { email: { address: 'ops@example.com' } };
const update = (input: object, who = ann) => call(api, who, 'updateAlertChannel', input, `alertChannel { ${CHANNEL} }`);
const confirm = (input: object, who = ann) =>
  call(api, who, 'confirmAlertChannel', input, `alertChannel { ${CHANNEL} }`);
const remove = (id: string, who = ann) => call(api, who, 'deleteAlertChannel', { id }, 'deletedAlertChannelId');

describe('an alert channel', () => {
  test('has defaults, and shows its signing secret once and its URL never', async () => {
    const { alertChannel, secret, userErrors } = await createChannel(api, ann);
    expect(userErrors).toEqual([]);
    expect(alertChannel).toMatchObject({ kind: 'WEBHOOK', target: 'hooks.example.com/…4711', state: 'ACTIVE' });
    expect(alertChannel).toMatchObject({ isDefault: true, includeLog: true, disabledReason: null });
    expect(alertChannel.events).toEqual([
      'WORKFLOW_FAILING',
      'WORKFLOW_RECOVERED',
      'WORKFLOW_TERMINATED',
      'WORKFLOW_BUILD_FAILED',
      'CHANNEL_DISABLED',
      'PLATFORM_OUTAGE',
      'PLATFORM_RECOVERED',
    ]);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const row = await channelRow(api.db, alertChannel.id);
    expect(openTarget(testSealer, row)).toEqual({ kind: 'WEBHOOK', url: WEBHOOK.webhook.url, secrets: [secret] });
    expect(JSON.stringify(row)).not.toMatch(/whsec_|alerts\/4711/);
    const { data } = await query(api, `{ viewer { alertChannels { ${CHANNEL} } } }`, ann);
    expect(data.viewer.alertChannels).toEqual([alertChannel]);
    expect((await query(api, '{ viewer { alertChannels { id } } }', bob)).data.viewer.alertChannels).toEqual([]);
  });

  test.each([
    ['slack', 'SLACK', { url: 'https://hooks.slack.com/services/T0/B0/abcdefgh' }, 'hooks.slack.com/…efgh'],
    ['discord', 'DISCORD', { url: 'https://discord.com/api/webhooks/1/abcdefgh' }, 'discord.com/…efgh'],
    ['ntfy', 'NTFY', { url: 'https://ntfy.sh', topic: 'a-long-topic-4711', token: 'tk_1' }, 'ntfy.sh/…4711'],
  ])('of %s has no signing secret', async (field, kind, target, shown) => {
    const { alertChannel, secret } = await createChannel(api, ann, { target: { [field]: target } });
    expect(alertChannel).toMatchObject({ kind, target: shown, state: 'ACTIVE' });
    expect(secret).toBeNull();
    expect(openTarget(testSealer, await channelRow(api.db, alertChannel.id))).toMatchObject({ kind });
  });

  test.each([
    [{ name: '' }, ['name']],
    [{ name: 'x'.repeat(101) }, ['name']],
    [{ name: 'one\r\nBcc: two' }, ['name']],
    [{ name: 'one\u2028two' }, ['name']],
    [{ events: [] }, ['events']],
    [{ events: ['JOB_FAILED', 'WORKFLOW_FAILING', 'JOB_FAILED'] }, ['events', '2']],
    [{ target: { webhook: { url: 'http://example.com/' } } }, ['target', 'webhook', 'url']],
    [{ target: { webhook: { url: 'https://a:b@example.com/' } } }, ['target', 'webhook', 'url']],
    [{ target: { slack: { url: 'file:///etc/passwd' } } }, ['target', 'slack', 'url']],
    [{ target: { webhook: { url: 'https://outlook.office.com/webhook/1' } } }, ['target', 'webhook', 'url']],
    [{ target: { email: { address: 'a@example.com,b@example.com' } } }, ['target', 'email', 'address']],
  ])('cannot have %j', async (input, path) => {
    const { alertChannel, userErrors } = await createChannel(api, ann, input);
    expect(alertChannel).toBeNull();
    expect(userErrors).toMatchObject([{ code: 'INVALID', path }]);
  });

  test('is one of at most 20, however many are requested at once', async () => {
    const made = await Promise.all(Array.from({ length: 24 }, () => createChannel(api, ann)));
    const refused = made.filter(({ alertChannel }) => alertChannel === null);
    expect(refused).toHaveLength(4);
    for (const { userErrors } of refused) expect(userErrors).toMatchObject([{ code: 'LIMIT_EXCEEDED', path: null }]);
    await remove(made.find(({ alertChannel }) => alertChannel)?.alertChannel.id);
    expect((await createChannel(api, ann)).userErrors).toEqual([]);
  });

  test('changes in the given fields alone', async () => {
    const { alertChannel, secret } = await createChannel(api, ann);
    const { id } = alertChannel;
    const events = ['JOB_FAILED'];
    expect((await update({ id, events, isDefault: false })).alertChannel).toEqual({
      ...alertChannel,
      events,
      isDefault: false,
    });
    expect((await update({ id, name: 'two', includeLog: false })).alertChannel).toMatchObject({
      ...{ name: 'two', includeLog: false, events, isDefault: false },
    });
    await api.db.update(alertChannels).set({ failureCount: 7, retryAt: new Date() }).where(eq(alertChannels.id, id));
    await update({ id, target: WEBHOOK });
    expect(await channelRow(api.db, id)).toMatchObject({ failureCount: 7 });
    const target = { webhook: { url: 'https://other.example/abcdefghijkl' } };
    expect((await update({ id, target })).alertChannel).toMatchObject({
      target: 'other.example/…ijkl',
      state: 'ACTIVE',
    });
    const row = await channelRow(api.db, id);
    expect(row).toMatchObject({ failureCount: 0, retryAt: null });
    expect(openTarget(testSealer, row)).toMatchObject({ url: target.webhook.url, secrets: [secret] });
    expect((await update({ id, target: EMAIL })).userErrors).toMatchObject([{ code: 'INVALID', path: ['target'] }]);
    expect((await update({ id, name: 'x' }, bob)).userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
  });

  test('signs with its secret before for a day after a rotation', async () => {
    const { alertChannel, secret } = await createChannel(api, ann);
    const rotate = (id: string) => call(api, ann, 'rotateAlertChannelSecret', { id }, 'secret alertChannel { id }');
    const rotated = await rotate(alertChannel.id);
    expect(rotated.secret).toMatch(/^whsec_/);
    const row = await channelRow(api.db, alertChannel.id);
    expect(openTarget(testSealer, row)).toMatchObject({ secrets: [rotated.secret, secret] });
    const later = new Date(Date.now() + 24 * 3_600_000 + 1_000);
    expect(openTarget(testSealer, row, later)).toMatchObject({ secrets: [rotated.secret] });
    const slack = await createChannel(api, ann, { target: { slack: { url: 'https://hooks.slack.com/services/1' } } });
    expect((await rotate(slack.alertChannel.id)).userErrors).toMatchObject([{ code: 'INVALID', path: ['id'] }]);
  });

  test('is NOT_READY for e-mail where the operator has set none', async () => {
    const bare = await testApi();
    try {
      const { userErrors } = await createChannel(bare, await person(bare), { target: EMAIL });
      expect(userErrors).toMatchObject([{ code: 'NOT_READY', path: ['target', 'email'] }]);
      expect(userErrors[0].message).toContain('SMTP_URL');
    } finally {
      await bare.close();
    }
  });

  test('leaves no secret in the audit', async () => {
    const { alertChannel, secret } = await createChannel(api, ann, { isDefault: false });
    await call(api, ann, 'rotateAlertChannelSecret', { id: alertChannel.id }, 'secret');
    const document = '{ auditEvents { nodes { action objectId changes { field value } } } }';
    const { nodes } = (await query(api, document, ann)).data.auditEvents;
    expect(nodes.slice(0, 2)).toMatchObject([
      { action: 'rotateAlertChannelSecret', objectId: alertChannel.id },
      { action: 'createAlertChannel', objectId: alertChannel.id },
    ]);
    expect(JSON.stringify(nodes)).not.toMatch(/whsec_|hooks\.example/);
    expect(JSON.stringify(nodes)).not.toContain(secret);
    expect(nodes[1].changes).toContainEqual({ field: 'isDefault', value: 'false' });
  });
});

describe('an e-mail channel', () => {
  test('gets a code first, and is ACTIVE once that is given', async () => {
    const { alertChannel } = await createChannel(api, ann, { target: EMAIL });
    const { id } = alertChannel;
    expect(alertChannel).toMatchObject({ state: 'UNCONFIRMED', target: 'ops@example.com', confirmationTriesLeft: 5 });
    expect(await storyOf(api.db, id)).toEqual(['CONFIRMATION PENDING']);
    expect(await api.db.select().from(alertDue).where(eq(alertDue.channelId, id))).toHaveLength(1);
    const code = await codeOf(api.db, id);
    expect(code).toMatch(/^\d{8}$/);
    expect(JSON.stringify(await channelRow(api.db, id))).not.toContain(code);
    expect((await confirm({ id, code }, bob)).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    const confirmed = await confirm({ id, code: ` ${code.slice(0, 4)} ${code.slice(4)} ` });
    expect(confirmed.alertChannel).toMatchObject({ state: 'ACTIVE', confirmationTriesLeft: null });
    expect((await confirm({ id, code })).alertChannel).toMatchObject({ state: 'ACTIVE' });
    expect((await confirm({ id })).userErrors).toMatchObject([{ code: 'CONFLICT' }]);
  });

  test('takes five wrong codes, however many are sent at once, and then no right one', async () => {
    const { alertChannel } = await createChannel(api, ann, { target: EMAIL });
    const { id } = alertChannel;
    const right = await codeOf(api.db, id);
    const wrong = right === '00000000' ? '00000001' : '00000000';
    expect((await confirm({ id, code: 'abc' })).userErrors).toMatchObject([{ code: 'INVALID', path: ['code'] }]);
    const first = await confirm({ id, code: wrong });
    expect(first.userErrors).toMatchObject([{ code: 'INVALID', path: ['code'] }]);
    expect(first.userErrors[0].message).toContain('4 tries left');
    const tries = await Promise.all(Array.from({ length: 8 }, () => confirm({ id, code: wrong })));
    const answered = tries.map(({ userErrors }) => userErrors[0].code).toSorted();
    expect(answered).toEqual([...Array(4).fill('CONFLICT'), ...Array(4).fill('INVALID')]);
    const { userErrors } = await confirm({ id, code: right });
    expect(userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    expect(userErrors[0].message).toContain('ask for another');
    expect((await confirm({ id })).alertChannel).toMatchObject({ state: 'UNCONFIRMED', confirmationTriesLeft: 5 });
    expect(await storyOf(api.db, id)).toEqual(['CONFIRMATION FAILED', 'CONFIRMATION PENDING']);
    expect((await confirm({ id, code: await codeOf(api.db, id) })).alertChannel.state).toBe('ACTIVE');
  });

  test('takes no code after a day', async () => {
    const { id } = (await createChannel(api, ann, { target: EMAIL })).alertChannel;
    const code = await codeOf(api.db, id);
    await api.db.execute(sql`
      UPDATE alert_channels SET confirmation = jsonb_set(confirmation, '{expiresAt}', to_jsonb(now() - interval '1 second')) WHERE id = ${id}`);
    expect((await confirm({ id, code })).userErrors).toMatchObject([{ code: 'CONFLICT' }]);
  });

  test('must be confirmed again when its address changes, and what waits for it is not sent', async () => {
    const { id } = (await createChannel(api, ann, { target: EMAIL })).alertChannel;
    await confirm({ id, code: await codeOf(api.db, id) });
    const [pending] = await queueDeliveries(api.db, { channelId: id, userId: ann.id });
    expect((await update({ id, target: EMAIL })).alertChannel.state).toBe('ACTIVE');
    const { alertChannel } = await update({ id, target: { email: { address: 'two@example.com' } } });
    expect(alertChannel).toMatchObject({ state: 'UNCONFIRMED', target: 'two@example.com' });
    const rows = await deliveriesOf(api.db, id);
    expect(rows.find((row) => row.id === pending)).toMatchObject({
      status: 'FAILED',
      lastError: 'The address of the channel was changed.',
    });
    expect(rows.filter(({ status }) => status === 'PENDING').map(({ event }) => event)).toEqual(['CONFIRMATION']);
  });

  test('gets at most ten codes a day for all channels of its owner', async () => {
    const { id } = (await createChannel(api, ann, { target: EMAIL })).alertChannel;
    for (let n = 1; n < 10; n++) await confirm({ id });
    const document = (name: string, input: string) => `mutation { ${name}(input: ${input}) { userErrors { code } } }`;
    const create = document('createAlertChannel', '{ name: "x", target: { email: { address: "x@example.com" } } }');
    for (const one of [document('confirmAlertChannel', `{ id: "${id}" }`), create]) {
      const answer = await query(api, one, ann);
      expect(codes(answer)).toEqual(['RATE_LIMITED']);
      expect(answer.errors?.[0]?.extensions.retryAfterSeconds).toBeGreaterThan(80_000);
    }
    await api.db.execute(
      sql`UPDATE alert_deliveries SET created_at = created_at - interval '1 day' WHERE channel_id = ${id}`,
    );
    expect((await query(api, create, ann)).data.createAlertChannel.userErrors).toEqual([]);
  });
});

describe('a deleted alert channel', () => {
  test('keeps its deliveries and no secret, and what waits for it is not sent', async () => {
    const { id } = (await createChannel(api, ann)).alertChannel;
    const [deliveryId] = await queueDeliveries(api.db, { channelId: id, userId: ann.id });
    expect((await remove(id, bob)).userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    expect(await remove(id)).toEqual({ deletedAlertChannelId: id, userErrors: [] });
    const fields = '... on AlertDelivery { status error channelName channel { id } event deliveredAt }';
    const document = `{ node(id: "${deliveryId}") { ${fields} } channel: node(id: "${id}") { id } viewer { alertChannels { id } } }`;
    const { data } = await query(api, document, ann);
    expect(data).toEqual({
      node: {
        ...{ status: 'FAILED', error: 'The channel was deleted.', channelName: 'ops', channel: null },
        ...{ event: 'JOB_FAILED', deliveredAt: null },
      },
      channel: null,
      viewer: { alertChannels: [] },
    });
    expect((await channelRow(api.db, id)).config.sealed).toEqual({});
    expect(await api.db.select().from(alertDue).where(eq(alertDue.channelId, id))).toEqual([]);
    expect((await remove(id)).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    expect((await update({ id, name: 'x' })).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
  });

  test('is chosen by no workflow, and one that has chosen no other uses the default ones', async () => {
    const [one, two] = await Promise.all([createChannel(api, ann), createChannel(api, ann)]);
    const [first, second] = [one.alertChannel.id, two.alertChannel.id];
    const alone = await createWorkflow(api, ann, { alertChannels: [first] });
    const both = await createWorkflow(api, ann, { alertChannels: [second, first] });
    const none = await createWorkflow(api, ann, { alertChannels: [] });
    await remove(first);
    const chosen = async (id: string) =>
      (await query(api, `{ workflow(id: "${id}") { alertChannels { id } } }`, ann)).data.workflow.alertChannels;
    expect(await chosen(alone.workflow.id)).toBeNull();
    expect(await chosen(both.workflow.id)).toEqual([{ id: second }]);
    expect(await chosen(none.workflow.id)).toEqual([]);
  });
});

describe('the choice of a workflow', () => {
  test('is its own channels, none, or the default ones', async () => {
    const { id } = (await createChannel(api, ann)).alertChannel;
    const fields = 'id alertAfterFailures alertChannels { id }';
    const { workflow } = await createWorkflow(api, ann, {}, fields);
    expect(workflow).toMatchObject({ alertAfterFailures: 1, alertChannels: null });
    const change = async (input: object) =>
      (await call(api, ann, 'updateWorkflow', { id: workflow.id, ...input }, `workflow { ${fields} }`)).workflow;
    expect(await change({ alertChannels: [id.toUpperCase()], alertAfterFailures: 3 })).toMatchObject({
      alertAfterFailures: 3,
      alertChannels: [{ id }],
    });
    expect(await change({ name: 'b' })).toMatchObject({ alertAfterFailures: 3, alertChannels: [{ id }] });
    expect(await change({ alertChannels: [] })).toMatchObject({ alertChannels: [] });
    expect(await change({ alertChannels: null })).toMatchObject({ alertChannels: null });
    const rows = await api.db.select().from(workflows).where(eq(workflows.id, workflow.id));
    expect(rows).toMatchObject([{ hasOwnAlertChannels: false }]);
  });

  test('refuses too many, unknown, repeated and foreign channels, and changes nothing', async () => {
    const own = (await createChannel(api, ann)).alertChannel.id;
    const foreign = (await createChannel(api, bob)).alertChannel.id;
    const refused = async (alertChannels: string[]) =>
      (await createWorkflow(api, ann, { alertChannels })).userErrors.map(({ code, path }) => [code, ...path]);
    expect(await refused(Array.from({ length: 11 }, () => newId()))).toEqual([['LIMIT_EXCEEDED', 'alertChannels']]);
    expect(await refused([own, foreign, newId()])).toEqual([
      ['NOT_FOUND', 'alertChannels', '1'],
      ['NOT_FOUND', 'alertChannels', '2'],
    ]);
    expect(await refused([own, 'x'])).toEqual([['NOT_FOUND', 'alertChannels', '1']]);
    expect(await refused([own, own.toUpperCase()])).toEqual([['INVALID', 'alertChannels', '1']]);
    for (const alertAfterFailures of [0, 1_001]) {
      const { userErrors } = await createWorkflow(api, ann, { alertAfterFailures });
      expect(userErrors).toMatchObject([{ code: 'INVALID', path: ['alertAfterFailures'] }]);
    }
    expect(await api.db.select().from(workflows).where(eq(workflows.userId, ann.id))).toEqual([]);
  });
});

describe('deliveries', () => {
  test('are listed newest first by pages, by status, and with their count', async () => {
    const { id } = (await createChannel(api, ann)).alertChannel;
    const ids = (await queueDeliveries(api.db, { channelId: id, userId: ann.id, count: 5 })).toReversed();
    await api.db
      .update(alertDeliveries)
      .set({ status: 'FAILED' })
      .where(eq(alertDeliveries.id, ids[1] ?? ''));
    const page = async (args: string) => {
      const document = `{ node(id: "${id}") { ... on AlertChannel { deliveries${args} { totalCount nodes { id } pageInfo { hasNextPage endCursor } } } } }`;
      return (await query(api, document, ann)).data.node.deliveries;
    };
    const first = await page('(first: 2)');
    expect(first).toMatchObject({ totalCount: 5, nodes: ids.slice(0, 2).map((one) => ({ id: one })) });
    const rest = await page(`(first: 3, after: "${first.pageInfo.endCursor}")`);
    expect(rest).toMatchObject({ nodes: ids.slice(2).map((one) => ({ id: one })), pageInfo: { hasNextPage: false } });
    expect(await page('(status: FAILED)')).toMatchObject({ totalCount: 1, nodes: [{ id: ids[1] }] });
  });
});

test('disabled channels keep their reason until they are enabled', async () => {
  const { id } = (await createChannel(api, ann)).alertChannel;
  await disable(api.db, id);
  const { alertChannel } = await update({ id, target: { webhook: { url: 'https://other.example/' } } });
  expect(alertChannel).toMatchObject({ state: 'DISABLED', disabledReason: 'It is gone.' });
});
