import { sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApi } from '../../api/server.ts';
import { removeOldAuditEvents } from '../../db/accounts/audit.ts';
import { LimitExceeded } from '../../db/accounts/user-limits.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { removeOldJobs } from '../../db/jobs/retention.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { removeOldNotifications } from '../../db/notifications.ts';
import { auditEvents, jobs, logChunks, notifications } from '../../db/schema.ts';
import { purgeDeleted } from '../../db/workflows/purge.ts';
import { createWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { NO_ID } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { parseSettings, type Settings } from '../../platform/settings/parse.ts';
import type { Setting } from '../../platform/settings/setting.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';
import { createLogRetention } from '../../workers/scheduling/log-retention.ts';
import { createCapacity } from '../../workers/shared/capacity.ts';
import { person, query, socketOf, taker } from '../api/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { memoryParts } from '../support/workers.ts';
import { AT_THE_ENGINE } from './ends-at-the-engine.ts';

interface Range {
  min: number;
  max: number;
}

/** The numeric settings with the ends of their ranges. */
const RANGES: [string, Range][] = Object.entries<Setting<unknown>>(SETTINGS).flatMap(([name, { schema }]) => {
  const { min, max } = schema.meta() ?? {};
  return typeof min === 'number' && typeof max === 'number' ? [[name, { min, max }]] : [];
});

/** Uses the settings where the tested one matters. `end` is its value, one end of its range. */
type Place = (settings: Settings, end: number) => Promise<void>;

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

const PLACES: Record<string, Place> = {
  PORT: (settings) => withApi(settings, async (url) => expect((await fetch(url)).status).toBeLessThan(500)),
  CONNECTIONS_MAX: watches,
  CONNECTIONS_PER_ADDRESS_MAX: watches,
  CONNECTIONS_PER_USER_MAX: watches,
  ANONYMOUS_MAX: watches,
  ANONYMOUS_PER_ADDRESS_MAX: watches,
  WEBSOCKETS_MAX: watches,
  WEBSOCKETS_PER_ADDRESS_MAX: watches,
  WEBSOCKETS_PER_USER_MAX: watches,
  STREAMS_MAX: watches,
  STREAMS_PER_ADDRESS_MAX: watches,
  STREAMS_PER_USER_MAX: watches,
  async DELETED_RETENTION_DAYS({ deletedRetentionDays: days }, end) {
    const [young, old] = [await heartbeat(), await heartbeat()];
    const deleted = (id: string, ago: number) =>
      database.db.execute(sql`
        UPDATE workflows SET terminated_at = now(), termination_reason = 'DELETED', deleted_at = now() - make_interval(days => ${ago})
        WHERE id = ${id}`);
    await deleted(young, Math.max(0, end - 1));
    await deleted(old, end + 1);
    expect(await purgeDeleted(database.db, { days, limit: 10 })).toBe(end === 0 ? 2 : 1);
  },
  async LOG_RETENTION_DAYS({ logRetentionDays: days }, end) {
    const retention = createLogRetention({ db: database.db, days });
    const lines = await endedJob({ daysAgo: 2 });
    const shorter = await endedJob({ daysAgo: 2, logRetentionDays: 1 });
    await retention.pass(new AbortController().signal);
    expect([await hasLines(lines), await hasLines(shorter)]).toEqual([end > 2, false]);
  },
  async JOB_RETENTION_DAYS({ jobRetentionDays: days }, end) {
    const id = await endedJob({ daysAgo: 2 });
    await removeOldJobs(database.db, { days, after: NO_ID, limit: 100, chunks: 100 });
    expect(await database.db.$count(jobs, sql`id = ${id}`)).toBe(end > 2 ? 1 : 0);
  },
  async AUDIT_RETENTION_DAYS({ auditRetentionDays: days }, end) {
    const id = v7({ msecs: Date.now() - 2 * DAY_MS });
    await database.db.insert(auditEvents).values({ id, action: 'test', outcome: 'DONE', userId: ann });
    await removeOldAuditEvents(database.db, { days, limit: 100 });
    expect(await database.db.$count(auditEvents, sql`id = ${id}`)).toBe(end > 2 ? 1 : 0);
  },
  async NOTIFICATION_RETENTION_DAYS({ notificationRetentionDays: days }, end) {
    const id = v7({ msecs: Date.now() - 2 * DAY_MS });
    const workflowId = await heartbeat();
    const kind = 'WORKFLOW_TERMINATED';
    await database.db.insert(notifications).values({ id, userId: ann, kind, workflowId, workflowName: 'a' });
    await removeOldNotifications(database.db, { days, limit: 100 });
    expect(await database.db.$count(notifications, sql`id = ${id}`)).toBe(end > 2 ? 1 : 0);
  },
  API_TOKEN_DAYS_MAX: (settings, end) =>
    withApi(settings, async (url) => {
      const { token } = await person({ url });
      const create =
        'mutation { createApiToken(input: { name: "a" }) { apiToken { expiresAt } userErrors { message } } }';
      const { data } = await query({ url }, create, { token });
      const { expiresAt } = data.createApiToken.apiToken;
      if (end === 0) expect(expiresAt).toBeNull();
      else expect(Math.round((Date.parse(expiresAt) - Date.now()) / DAY_MS)).toBe(end);
    }),
  MUTATIONS_PER_USER_PER_HOUR: (settings, end) =>
    withApi(settings, async (url) => {
      const { token } = await person({ url });
      const set = 'mutation { updateNotificationPreference(input: { preference: ALL }) { userErrors { message } } }';
      const answers = [await query({ url }, set, { token }), await query({ url }, set, { token })];
      const codes = answers.map(({ errors }) => errors?.[0]?.extensions.code);
      expect(codes).toEqual([undefined, end === 1 ? 'RATE_LIMITED' : undefined]);
    }),
  async RUNNING_HEARTBEATS_PER_USER({ runningPerUser: { heartbeats } }, end) {
    const slots = createCapacity({ size: 4_000, perUserMax: heartbeats, onRelease: () => undefined });
    expect([slots.take(ann), slots.take(ann)]).toEqual([true, end > 1]);
  },
  WORKFLOWS_PER_USER: ({ userLimits }, end) => fitsOnce(end, () => create(HEARTBEAT, userLimits)),
  VOLUMES_PER_USER: ({ userLimits }, end) => {
    let count = 0;
    return fitsOnce(end, () => create(container([`volume-${++count}`]), userLimits));
  },
  QUEUED_BUILDS_PER_USER: ({ userLimits }, end) => fitsOnce(end, () => create(container(), userLimits)),
  async PAYLOAD_BYTES_PER_USER({ userLimits }, end) {
    if (end === 1) await expect(create(HEARTBEAT, userLimits)).rejects.toThrow(LimitExceeded);
    else await create(HEARTBEAT, userLimits);
  },
  async GENERATIONS_PER_WORKFLOW({ userLimits }) {
    const id = await create(HEARTBEAT, userLimits);
    const payload: Payload = { kind: 'HEARTBEAT', timeout_seconds: 7 };
    expect(await updateWorkflow(database.db, { userId: ann, id, payload }, userLimits)).toMatchObject({
      workflow: { generation: 2 },
    });
  },
  async QUEUED_HEARTBEATS_PER_USER({ userLimits }, end) {
    const id = await heartbeat();
    await fitsOnce(end, () => runWorkflow(database.db, { userId: ann, id }, userLimits));
  },
  async QUEUED_CONTAINERS_PER_USER({ userLimits }, end) {
    const id = await create(container());
    await database.db.execute(sql`
      INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at)
      VALUES (${id}, ${ann}, 'CONTAINER', 'READY', 1, 1, now())`);
    await fitsOnce(end, () => runWorkflow(database.db, { userId: ann, id }, userLimits));
  },
};

test('each numeric setting is tested at both ends of its range, here or at the engine', () => {
  const places = [...Object.keys(PLACES), ...AT_THE_ENGINE];
  expect(RANGES.map(([name]) => name).sort()).toEqual(places.sort());
});

describe.each(RANGES.filter(([name]) => name in PLACES))('%s', (name, range) => {
  test.each([range.min, range.max])('works at %d', async (end) => {
    ann = await testUser(database.db, 'ann');
    await PLACES[name]?.(parseSettings({ [name]: String(end) }).settings, end);
  });
});

const HEARTBEAT: Payload = { kind: 'HEARTBEAT' };
function container(names: string[] = []): Payload {
  return { kind: 'CONTAINER', image: 'a', volumes: names.map((name) => ({ name, path: '/a' })) };
}

async function create(payload: Payload, limits?: Settings['userLimits'], logRetentionDays?: number): Promise<string> {
  const rest = {
    schedule: { everyMinutes: 1 },
    maxConsecutiveJobFailuresAllowed: 1,
    logRetentionDays: logRetentionDays ?? null,
  };
  const { workflow } = await createWorkflow(database.db, { userId: ann, name: 'a', payload, ...rest }, limits);
  return workflow.id;
}

const heartbeat = () => create(HEARTBEAT);

/** Adds twice: one fits if the limit is 1, and both fit if it is the maximum. */
async function fitsOnce(end: number, add: () => Promise<unknown>): Promise<void> {
  await add();
  if (end === 1) await expect(add()).rejects.toThrow(LimitExceeded);
  else await add();
}

async function endedJob({ daysAgo, logRetentionDays }: { daysAgo: number; logRetentionDays?: number }) {
  const at = new Date(Date.now() - daysAgo * DAY_MS);
  const id = v7({ msecs: at.getTime() - 1_000 });
  await database.db.insert(jobs).values({
    id,
    workflowId: await create(HEARTBEAT, undefined, logRetentionDays),
    userId: ann,
    kind: 'HEARTBEAT',
    trigger: 'MANUAL',
    status: 'COMPLETED',
    generation: 1,
    attempt: 1,
    scheduledAt: at,
    startedAt: at,
    completedAt: at,
    logLineCount: 1,
  });
  const lines = Buffer.from('o2026-01-01T00:00:00.000000000Z a\n');
  await insertChunks(database.db, [{ sourceId: id, attempt: 1, firstNumber: 1, lastNumber: 1, lines }]);
  return id;
}

const hasLines = async (id: string) => (await database.db.$count(logChunks, sql`source_id = ${id}`)) > 0;

async function withApi(settings: Settings, use: (url: string) => Promise<void>): Promise<void> {
  const parts = memoryParts(database.db);
  const { port, host, connectionBounds: bounds, userLimits, apiTokenDaysMax, mutationsPerUserPerHour } = settings;
  const api = await startApi({
    ...parts,
    settings: {
      port: port === 4_000 ? 0 : port,
      host,
      bounds,
      userLimits,
      apiTokenDaysMax,
      mutationsPerUserPerHour,
      maxJobSeconds: settings.maxJobSeconds,
      signUp: 'open',
      databaseEmbedded: true,
    },
  });
  try {
    await use(api.url);
  } finally {
    await api.close();
    await parts.bus.close();
    await parts.cache.close();
  }
}

/** One subscriber on one connection receives its first value. */
async function watches(settings: Settings): Promise<void> {
  let token = '';
  let workflowId = '';
  await withApi(parseSettings({}).settings, async (url) => {
    const { id, token: own } = await person({ url });
    [ann, token] = [id, own];
    workflowId = await heartbeat();
  });
  await withApi(settings, async (url) => {
    const socket = socketOf({ url }, token);
    const values = taker(
      socket.iterate({
        query: 'subscription ($id: ID!) { workflowUpdated(workflowId: $id) { id } }',
        variables: { id: workflowId },
      }),
    );
    expect((await values.take()).data).toMatchObject({ workflowUpdated: { id: workflowId } });
    await socket.dispose();
  });
}
