import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { claimChannels, nextMessage } from '../../db/alerts/queue.ts';
import { settleMessage } from '../../db/alerts/settle.ts';
import type { LeaseKey } from '../../db/lease.ts';
import { alertChannels, alertDeliveries, alertDue, incidents, notifications } from '../../db/schema.ts';
import type { SendOutcome } from '../../domain/alerts/alert.ts';
import { FAILURES_MAX } from '../../domain/alerts/retry.ts';
import type { AlertEvent } from '../../domain/alerts/states.ts';
import { newId } from '../../domain/ids.ts';
import { heartbeat } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { channel, deliveriesOf, letQueuesPass, queueDeliveries, storyOf } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  await database.db.execute(
    sql`TRUNCATE workflows, notifications, alert_channels, alert_deliveries, alert_due, incidents CASCADE`,
  );
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

const delivered: SendOutcome = { outcome: 'DELIVERED', status: 200 };
const failed = (verdict: 'LATER' | 'BUSY' | 'REJECTED' | 'DEAD', retryAfterSeconds?: number): SendOutcome => ({
  outcome: 'FAILED',
  status: 500,
  error: 'It answered 500.',
  retryAfterSeconds,
  verdict,
});

const claim = (owner = 'test') => claimChannels(database.db, { owner, limit: 100 });
const rowOf = async (id: string) => (await database.db.select().from(alertChannels).where(eq(alertChannels.id, id)))[0];

/** Claims the only channel that may send. */
async function claimOne(): Promise<LeaseKey> {
  const [lease, ...more] = await claim();
  if (lease === undefined || more.length > 0) throw new Error('Not one channel was claimed.');
  return lease;
}

/** What the channel sends until nothing may be sent, each with this outcome. */
async function drain(lease: LeaseKey, outcome: SendOutcome = delivered) {
  const sent: { ids: string[]; digestId: string | undefined; count: number; event: string }[] = [];
  for (;;) {
    const message = await nextMessage(database.db, lease);
    if (typeof message === 'string') return sent;
    sent.push({ ids: message.deliveryIds, digestId: message.digestId, count: message.count, event: message.event });
    await settleMessage(database.db, lease, message, outcome);
  }
}

const slack = { target: { kind: 'SLACK', url: 'http://127.0.0.1:1/' } } as const;

describe('the queue of a channel', () => {
  test('P13: sends first what came first, one at a time, each under its own id', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    const ids = await queueDeliveries(db, { channelId: id, userId: ann, count: 4 });
    const lease = await claimOne();
    expect(await claim('another')).toEqual([]);
    expect((await drain(lease)).map((message) => message.ids)).toEqual(ids.map((one) => [one]));
    expect(await storyOf(db, id)).toEqual(ids.map(() => 'JOB_FAILED DELIVERED'));
    expect(await db.select().from(alertDue)).toEqual([]);
    expect((await rowOf(id))?.leaseToken).toBeNull();
  });

  test('goes to another worker when its lease has ended, under the same ids, and the first one can change nothing', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    const [first] = await queueDeliveries(db, { channelId: id, userId: ann });
    const lease = await claimOne();
    const message = await nextMessage(db, lease);
    if (typeof message === 'string') throw new Error(message);
    expect(await claim()).toEqual([]);
    await letQueuesPass(db, 31);
    const second = await claimOne();
    expect(await settleMessage(db, lease, message, failed('DEAD'))).toBeUndefined();
    expect(await nextMessage(db, lease)).toBe('LOST');
    expect((await drain(second)).map(({ ids }) => ids)).toEqual([[first]]);
    expect(await storyOf(db, id)).toEqual(['JOB_FAILED DELIVERED']);
  });

  test('that fails waits longer each time, delays nobody else, and gives up after 24 hours', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await queueDeliveries(db, { channelId: id, userId: ann });
    const waits: number[] = [];
    for (;;) {
      const [lease] = await claim();
      if (lease === undefined) break;
      await drain(lease, failed('LATER'));
      const [row] = await db.execute<{ seconds: number | null }>(sql`
        SELECT extract(epoch FROM retry_at - now())::float8 AS seconds FROM alert_channels WHERE id = ${id}`);
      if ((await storyOf(db, id))[0] !== 'JOB_FAILED PENDING') break;
      waits.push(row?.seconds ?? Number.NaN);
      expect(await claim()).toEqual([]);
      await letQueuesPass(db, (row?.seconds ?? 0) + 1);
    }
    const expected = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800];
    expect(waits.length).toBeGreaterThanOrEqual(expected.length - 1);
    for (const [n, seconds] of expected.entries()) {
      // the last attempt comes before the end
      expect(waits[n]).toBeGreaterThan(seconds * (n < 8 ? 0.79 : 0.6));
      expect(waits[n]).toBeLessThan(seconds * 1.21);
    }
    const total = waits.reduce((sum, seconds) => sum + seconds, 0);
    expect(total).toBeGreaterThan(22.5 * 3_600);
    expect(total).toBeLessThan(24 * 3_600);
    const [row] = await deliveriesOf(db, id);
    expect(row).toMatchObject({
      status: 'EXPIRED',
      attempt: waits.length + 1,
      lastError: 'It answered 500.',
      lastStatus: 500,
    });
    expect(await db.select().from(alertDue)).toEqual([]);
    // What comes now is tried: the channel is not dead.
    await queueDeliveries(db, { channelId: id, userId: ann });
    await letQueuesPass(db, 60);
    await drain(await claimOne());
    expect((await storyOf(db, id)).at(-1)).toBe('JOB_FAILED DELIVERED');
    expect(await rowOf(id)).toMatchObject({ failureCount: 0, firstFailedAt: null, retryAt: null });
  });

  test('that fails is tried at once when something new comes, but not within half a minute', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await queueDeliveries(db, { channelId: id, userId: ann });
    await drain(await claimOne(), failed('LATER'));
    await letQueuesPass(db, 2 * 3_600);
    await drain(await claimOne(), failed('LATER')); // the next wait is hours
    await letQueuesPass(db, 10);
    await queueDeliveries(db, { channelId: id, userId: ann });
    expect(await claim()).toEqual([]);
    await letQueuesPass(db, 25);
    expect(await drain(await claimOne())).toHaveLength(2);
  });

  test('that is tried by many new deliveries waits no longer than by the plan of its failures', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    for (let n = 0; n < 8; n += 1) {
      await queueDeliveries(db, { channelId: id, userId: ann });
      await drain(await claimOne(), failed('LATER'));
      await letQueuesPass(db, 31);
    }
    await queueDeliveries(db, { channelId: id, userId: ann });
    await drain(await claimOne(), failed('LATER'));
    const [row] = await db.execute<{ seconds: number }>(sql`
      SELECT extract(epoch FROM retry_at - now())::float8 AS seconds FROM alert_channels WHERE id = ${id}`);
    expect(row?.seconds).toBeLessThan(600 * 1.21); // it has failed for four minutes
  });

  test('obeys Retry-After up to 15 minutes, and counts a 429 towards nothing', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await queueDeliveries(db, { channelId: id, userId: ann });
    await drain(await claimOne(), failed('BUSY', 120));
    await queueDeliveries(db, { channelId: id, userId: ann });
    await letQueuesPass(db, 110);
    expect(await claim()).toEqual([]);
    await letQueuesPass(db, 11);
    await drain(await claimOne(), failed('BUSY', 86_400));
    expect(await rowOf(id)).toMatchObject({ failureCount: 0, firstFailedAt: null });
    expect((await deliveriesOf(db, id)).map(({ attempt }) => attempt)).toEqual([0, 0]);
    await letQueuesPass(db, 880);
    expect(await claim()).toEqual([]);
    await letQueuesPass(db, 21);
    expect(await drain(await claimOne())).toHaveLength(2);
  });

  test('a message that is refused for good makes way for the next one', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await queueDeliveries(db, { channelId: id, userId: ann, count: 2 });
    const lease = await claimOne();
    expect(await drain(lease, failed('REJECTED'))).toHaveLength(2);
    expect(await storyOf(db, id)).toEqual(['JOB_FAILED FAILED', 'JOB_FAILED FAILED']);
    expect((await rowOf(id))?.state).toBe('ACTIVE');
  });

  test('a test goes before everything, waits for nothing, and leaves the channel as it is when it fails', async () => {
    const { db } = database;
    const id = await channel(db, ann, slack);
    await queueDeliveries(db, { channelId: id, userId: ann });
    await letQueuesPass(db, 11);
    await drain(await claimOne(), failed('LATER'));
    const before = await rowOf(id);
    const testId = newId();
    await db
      .insert(alertDeliveries)
      .values({ id: testId, channelId: id, userId: ann, event: 'TEST', status: 'PENDING' });
    await db.insert(alertDue).values({ deliveryId: testId, channelId: id, isUrgent: true });
    expect((await drain(await claimOne(), failed('DEAD'))).map(({ event }) => event)).toEqual(['TEST']);
    expect(await rowOf(id)).toEqual(before);
    expect((await storyOf(db, id)).sort()).toEqual(['JOB_FAILED PENDING', 'TEST FAILED']);
  });

  test('a test that is delivered lets what waits go on at once', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await queueDeliveries(db, { channelId: id, userId: ann });
    await drain(await claimOne(), failed('LATER'));
    const testId = newId();
    await db
      .insert(alertDeliveries)
      .values({ id: testId, channelId: id, userId: ann, event: 'TEST', status: 'PENDING' });
    await db.insert(alertDue).values({ deliveryId: testId, channelId: id, isUrgent: true });
    expect((await drain(await claimOne())).map(({ event }) => event)).toEqual(['TEST', 'JOB_FAILED']);
  });
});

describe('an incident that ends before its beginning was delivered', () => {
  async function story(id: string, events: AlertEvent[]): Promise<string> {
    const { db } = database;
    const workflow = await heartbeat(db, ann);
    const incidentId = newId();
    await db.insert(incidents).values({
      ...{ id: incidentId, workflowId: workflow.id, userId: ann, jobId: newId(), failures: 1 },
      ...{ resolvedAt: new Date(), resolution: 'RECOVERED' },
    });
    for (const event of events) {
      const [delivery] = await queueDeliveries(db, { channelId: id, userId: ann, event });
      await db
        .update(alertDeliveries)
        .set({ incidentId })
        .where(eq(alertDeliveries.id, delivery ?? ''));
    }
    return incidentId;
  }

  test('is one message, in the place of the first', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await story(id, ['WORKFLOW_FAILING', 'JOB_FAILED', 'WORKFLOW_RECOVERED']);
    const sent = await drain(await claimOne());
    expect(sent.map(({ event }) => event)).toEqual(['WORKFLOW_RECOVERED', 'JOB_FAILED']);
    expect(await storyOf(db, id)).toEqual([
      'WORKFLOW_FAILING MERGED',
      'JOB_FAILED DELIVERED',
      'WORKFLOW_RECOVERED DELIVERED',
    ]);
  });

  test('is one message where the channel wants no recoveries', async () => {
    const id = await channel(database.db, ann);
    await story(id, ['WORKFLOW_FAILING']);
    expect((await drain(await claimOne())).map(({ event }) => event)).toEqual(['WORKFLOW_FAILING']);
  });

  test('is one line of a digest', async () => {
    const { db } = database;
    const id = await channel(db, ann, slack);
    for (let n = 0; n < 4; n += 1) await story(id, ['WORKFLOW_FAILING', 'WORKFLOW_RECOVERED']);
    await letQueuesPass(db, 11);
    const [sent, ...more] = await drain(await claimOne());
    expect(more).toEqual([]);
    expect(sent?.count).toBe(4);
    expect(new Set(await storyOf(db, id))).toEqual(
      new Set(['WORKFLOW_FAILING MERGED', 'WORKFLOW_RECOVERED DELIVERED']),
    );
  });
});

describe('a flood', () => {
  test('is never gathered for a webhook', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    await queueDeliveries(db, { channelId: id, userId: ann, count: 12 });
    expect(await drain(await claimOne())).toHaveLength(12);
  });

  test.each([1, 5])('is none with %i messages: after 10 s each is sent alone', async (count) => {
    const { db } = database;
    const id = await channel(db, ann, slack);
    await queueDeliveries(db, { channelId: id, userId: ann, count });
    await letQueuesPass(db, 9);
    expect(await claim()).toEqual([]);
    await letQueuesPass(db, 2);
    const sent = await drain(await claimOne());
    expect(sent.map((one) => [one.count, one.digestId])).toEqual(Array.from({ length: count }, () => [1, undefined]));
  });

  test('becomes one digest that names 20 and counts the rest, and at most one a minute', async () => {
    const { db } = database;
    const id = await channel(db, ann, slack);
    await queueDeliveries(db, { channelId: id, userId: ann, count: 1_000 });
    await letQueuesPass(db, 11);
    const [first, ...more] = await drain(await claimOne());
    expect(more).toEqual([]);
    expect(first).toMatchObject({ count: 1_000 });
    expect(first?.ids).toHaveLength(20);
    expect(new Set(await storyOf(db, id))).toEqual(new Set(['JOB_FAILED DELIVERED']));
    await queueDeliveries(db, { channelId: id, userId: ann, count: 6 });
    await letQueuesPass(db, 11);
    const lease = await claimOne();
    expect(await nextMessage(db, lease)).toBe('NONE');
    await letQueuesPass(db, 40);
    expect(await claim()).toEqual([]);
    await letQueuesPass(db, 10);
    expect(await drain(await claimOne())).toMatchObject([{ count: 6 }]);
  });

  test('keeps its digest, and the id of it, until it is delivered', async () => {
    const { db } = database;
    const id = await channel(db, ann, slack);
    await queueDeliveries(db, { channelId: id, userId: ann, count: 7 });
    await letQueuesPass(db, 11);
    const [first] = await drain(await claimOne(), failed('LATER'));
    await queueDeliveries(db, { channelId: id, userId: ann, count: 3 });
    await letQueuesPass(db, 31);
    const [again, ...rest] = await drain(await claimOne());
    expect(again).toEqual(first);
    expect(rest.map(({ count }) => count)).toEqual([1, 1, 1]);
  });
});

describe('a channel that takes nothing', () => {
  test('is disabled at once when the other side says that it is gone, and its owner hears of it elsewhere', async () => {
    const { db } = database;
    const id = await channel(db, ann);
    const other = await channel(db, ann, slack);
    const deaf = await channel(db, ann, { events: ['WORKFLOW_FAILING'] });
    await queueDeliveries(db, { channelId: id, userId: ann, count: 3 });
    const lease = await claimOne();
    const message = await nextMessage(db, lease);
    if (typeof message === 'string') throw new Error(message);
    const effects = await settleMessage(db, lease, message, failed('DEAD'));
    expect(await nextMessage(db, lease)).toBe('NONE');
    expect(await rowOf(id)).toMatchObject({ state: 'DISABLED', disabledReason: 'It answered 500.' });
    expect((await deliveriesOf(db, id)).map(({ status, lastError }) => [status, lastError])).toEqual([
      ['FAILED', 'It answered 500.'],
      ['FAILED', 'The channel was disabled.'],
      ['FAILED', 'The channel was disabled.'],
    ]);
    expect(await storyOf(db, other)).toEqual(['CHANNEL_DISABLED PENDING']);
    expect(await storyOf(db, deaf)).toEqual([]);
    const rows = await db.select().from(notifications).where(eq(notifications.userId, ann));
    expect(rows.map(({ kind, workflowId }) => [kind, workflowId])).toEqual([['CHANNEL_DISABLED', null]]);
    expect(rows[0]?.detail).toContain('ops was disabled: It answered 500.');
    expect(effects?.changed).toEqual([{ userId: ann, notifications: rows.map((row) => row.id) }]);
  });

  test(`is disabled after 5 days without success and ${FAILURES_MAX} failures, not before`, async () => {
    const { db } = database;
    const id = await channel(db, ann);
    const fail = async (secondsLater: number) => {
      await letQueuesPass(db, secondsLater);
      await queueDeliveries(db, { channelId: id, userId: ann });
      await drain(await claimOne(), failed('LATER'));
    };
    for (let n = 1; n < FAILURES_MAX; n += 1) await fail(86_400);
    expect((await rowOf(id))?.state).toBe('ACTIVE'); // 19 failures within 19 days
    await fail(86_400);
    expect((await rowOf(id))?.state).toBe('DISABLED');

    const quick = await channel(db, ann);
    await queueDeliveries(db, { channelId: quick, userId: ann });
    for (let n = 0; n < FAILURES_MAX + 5; n += 1) {
      await db.update(alertChannels).set({ retryAt: null }).where(eq(alertChannels.id, quick));
      const lease = await claimOne();
      await drain(lease, failed('LATER'));
    }
    expect((await rowOf(quick))?.state).toBe('ACTIVE'); // many failures within a moment
  });

  test('is disabled after three refusals in a row if it is e-mail, and a success between them begins anew', async () => {
    const { db } = database;
    const id = await channel(db, ann, { target: { kind: 'EMAIL', address: 'a@example.com' } });
    const send = async (outcome: SendOutcome) => {
      await queueDeliveries(db, { channelId: id, userId: ann });
      await letQueuesPass(db, 11);
      await drain(await claimOne(), outcome);
    };
    for (const outcome of [failed('REJECTED'), failed('REJECTED'), delivered, failed('REJECTED'), failed('REJECTED')])
      await send(outcome);
    expect((await rowOf(id))?.state).toBe('ACTIVE');
    await send(failed('REJECTED'));
    expect((await rowOf(id))?.state).toBe('DISABLED');
  });
});
