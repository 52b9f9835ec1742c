import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { alertFacts } from '../../db/alerts/facts.ts';
import { beginEngineOutages, beginOutage, endLeftOutages, endOutage } from '../../db/alerts/outages.ts';
import { claimChannels, nextMessage } from '../../db/alerts/queue.ts';
import { removeOldOutages } from '../../db/alerts/retention.ts';
import { settleMessage } from '../../db/alerts/settle.ts';
import { alertChannels, outages, users } from '../../db/schema.ts';
import { contentOf } from '../../domain/alerts/content.ts';
import { type AlertEvent, DEFAULT_ALERT_EVENTS } from '../../domain/alerts/states.ts';
import { ENGINE_AWAY_SECONDS } from '../../domain/limits.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { alert } from './messages.ts';
import { channel, deliveriesOf, letQueuesPass, storyOf } from './support.ts';

let database: TestDatabase;
/** Administrators, and a user who is none. */
let [ann, bob, eve] = ['', '', ''];
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  await database.db.execute(sql`TRUNCATE users, workers, outages, alert_channels, alert_deliveries, alert_due CASCADE`);
  [ann, bob, eve] = await Promise.all([administrator('ann'), administrator('bob'), testUser(database.db, 'eve')]);
});
afterAll(() => database.close());

async function administrator(name: string): Promise<string> {
  const id = await testUser(database.db, name);
  await database.db.update(users).set({ administrator: true }).where(eq(users.id, id));
  return id;
}

const events = [...DEFAULT_ALERT_EVENTS];
const network = { kind: 'NETWORK', place: 'machine' } as const;
const begin = (detail = 'This machine reaches no host.') =>
  beginOutage(database.db, { ...network, host: 'machine', detail });
const end = () => endOutage(database.db, network);
const all = () => database.db.select().from(outages).orderBy(outages.id);

describe('an outage', () => {
  test('is alerted once, over the default channels of enabled administrators that want it, and so is its end', async () => {
    const { db } = database;
    const ops = await channel(db, ann, { events });
    const bobs = await channel(db, bob, { events });
    const others = [
      await channel(db, ann, { events, isDefault: false }),
      await channel(db, ann, { events: ['WORKFLOW_FAILING'] }),
      await channel(db, ann, { events, state: 'DISABLED', disabledReason: 'It answered 410.' }),
      await channel(db, ann, { events, deletedAt: new Date() }),
      await channel(db, eve, { events }),
    ];
    expect([await begin(), await begin('Again.')]).toEqual([true, false]);
    await db.update(users).set({ disabledAt: new Date() }).where(eq(users.id, bob));
    expect([await end(), await end()]).toEqual([true, false]);
    const [outage, ...more] = await all();
    expect(more).toEqual([]);
    expect(outage).toMatchObject({ host: 'machine', detail: 'This machine reaches no host.', resolution: 'RECOVERED' });
    expect(await storyOf(db, ops)).toEqual(['PLATFORM_OUTAGE PENDING', 'PLATFORM_RECOVERED PENDING']);
    expect((await deliveriesOf(db, ops)).map(({ incidentId }) => incidentId)).toEqual([outage?.id, outage?.id]);
    expect(await storyOf(db, bobs)).toEqual(['PLATFORM_OUTAGE PENDING']);
    for (const one of others) expect(await deliveriesOf(db, one)).toEqual([]);
    // The next one is another one.
    expect(await begin()).toBe(true);
    expect(await all()).toHaveLength(2);
  });

  test('that many workers see begin and end at the same time is one', async () => {
    const { db } = database;
    const ops = await channel(db, ann, { events });
    const ofMany = (change: () => Promise<boolean>) => Promise.all(Array.from({ length: 5 }, change));
    expect((await ofMany(() => begin())).filter((isNew) => isNew)).toHaveLength(1);
    expect((await ofMany(end)).filter((isNew) => isNew)).toHaveLength(1);
    expect(await storyOf(db, ops)).toEqual(['PLATFORM_OUTAGE PENDING', 'PLATFORM_RECOVERED PENDING']);
  });

  test('that has not committed yet holds up another begin of it, which then changes nothing', async () => {
    const { db } = database;
    const ops = await channel(db, ann, { events });
    let second: Promise<boolean> | undefined;
    await db.transaction(async (tx) => {
      await tx.insert(outages).values({ id: ann, ...network, host: 'machine', detail: 'No host.' });
      second = begin();
      await expect
        .poll(async () =>
          db.execute(sql`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%beginOutage%'`),
        )
        .toHaveLength(1);
    });
    expect(await second).toBe(false);
    expect(await storyOf(db, ops)).toEqual([]);
  });

  test('began and ended when it did, although the database was away', async () => {
    const { db } = database;
    await beginOutage(db, { ...network, host: 'machine', detail: 'No host.', secondsAgo: 600 });
    await endOutage(db, { ...network, secondsAgo: 60 });
    const [outage] = await all();
    expect((outage?.endedAt?.getTime() ?? 0) - (outage?.beganAt.getTime() ?? 0)).toBeCloseTo(540_000, -4);
  });

  test('ends for a channel that heard of it even if it is no default any more, and for one that wants ends alone', async () => {
    const { db } = database;
    const heard = await channel(db, ann, { events });
    const unheard = await channel(db, ann, { events, isDefault: false });
    const ends: AlertEvent[] = ['PLATFORM_RECOVERED'];
    const endsAlone = await channel(db, ann, { events: ends });
    await begin();
    await db.update(alertChannels).set({ isDefault: sql`NOT is_default` }).where(sql`id IN (${heard}, ${unheard})`);
    await end();
    expect(await storyOf(db, heard)).toEqual(['PLATFORM_OUTAGE PENDING', 'PLATFORM_RECOVERED PENDING']);
    expect(await storyOf(db, unheard)).toEqual([]);
    expect(await storyOf(db, endsAlone)).toEqual(['PLATFORM_RECOVERED PENDING']);
  });

  test('that ends before its alert is sent gives one message, alone and in a digest', async () => {
    const { db } = database;
    const ops = await channel(db, ann, { events });
    await begin();
    await end();
    const [lease] = await claimChannels(db, { owner: 'test', limit: 1 });
    if (lease === undefined) throw new Error('No channel was claimed.');
    const message = await nextMessage(db, lease);
    if (typeof message === 'string') throw new Error(message);
    const [facts] = await alertFacts(db, message.deliveryIds);
    expect(facts).toMatchObject({
      ...{ event: 'PLATFORM_RECOVERED', isWholeIncident: true, workflow: undefined, incident: undefined },
      outage: { kind: 'NETWORK', host: 'machine', resolution: 'RECOVERED' },
    });
    await settleMessage(db, lease, message, { outcome: 'DELIVERED', status: 200 });
    expect(await storyOf(db, ops)).toEqual(['PLATFORM_OUTAGE MERGED', 'PLATFORM_RECOVERED DELIVERED']);

    const chat = await channel(db, ann, { events, target: { kind: 'SLACK', url: 'http://127.0.0.1:1/' } });
    for (let n = 0; n < 3; n += 1) {
      await begin();
      await end();
    }
    await letQueuesPass(db, 11);
    const leases = await claimChannels(db, { owner: 'test', limit: 2 });
    const ofChat = leases.find(({ id }) => id === chat);
    expect(ofChat && (await nextMessage(db, ofChat))).toMatchObject({ count: 3 });
    expect((await storyOf(db, chat)).filter((one) => one === 'PLATFORM_OUTAGE MERGED')).toHaveLength(3);
  });

  test('is removed some days after its end, never before', async () => {
    const { db } = database;
    await begin();
    await end();
    await begin();
    await db.execute(
      sql`UPDATE outages SET began_at = began_at - interval '9 days', ended_at = ended_at - interval '8 days'`,
    );
    expect(await removeOldOutages(db, { days: 9, limit: 10 })).toBe(0);
    expect(await removeOldOutages(db, { days: 7, limit: 10 })).toBe(1);
    expect((await all()).map(({ endedAt }) => endedAt)).toEqual([null]);
  });
});

describe('the outage of a Docker engine', () => {
  /** The worker of an engine that answered so long ago. `null`: it has never answered. */
  async function worker(owner: string, answeredAgo: number | null, { seenAgo = 0, stoppedAgo = -1 } = {}) {
    await database.db.execute(sql`
      INSERT INTO workers (owner, name, version, host, engine_id, engine_seen_at, seen_at, stopped_at)
      VALUES (${owner}, 'workflow', '1', 'machine', ${answeredAgo === null ? null : 'engine'}, now() - make_interval(secs => ${answeredAgo}),
        now() - make_interval(secs => ${seenAgo}), CASE WHEN ${stoppedAgo} >= 0 THEN now() - make_interval(secs => ${stoppedAgo}) END)
      ON CONFLICT (owner, name) DO UPDATE SET engine_seen_at = excluded.engine_seen_at, seen_at = excluded.seen_at,
        stopped_at = excluded.stopped_at`);
  }
  const look = async () => [await endLeftOutages(database.db), await beginEngineOutages(database.db)];
  const away = ENGINE_AWAY_SECONDS + 10;

  test('begins when no live worker has reached it for long, and ends when one does', async () => {
    const { db } = database;
    const ops = await channel(db, ann, { events });
    await worker('a', ENGINE_AWAY_SECONDS - 10);
    expect(await look()).toEqual([0, 0]);
    await worker('a', away);
    await worker('b', 5); // reaches it
    expect(await look()).toEqual([0, 0]);
    await worker('b', away);
    const looks = await Promise.all([look(), look(), look()]);
    expect(looks.map(([, begun]) => begun).toSorted()).toEqual([0, 0, 1]);
    expect(await look()).toEqual([0, 0]);
    const [outage] = await all();
    expect(outage).toMatchObject({ kind: 'ENGINE', place: 'engine', host: 'machine', endedAt: null });
    expect(Date.now() - (outage?.beganAt.getTime() ?? 0)).toBeGreaterThan(ENGINE_AWAY_SECONDS * 1_000);
    await worker('b', 1);
    expect(await look()).toEqual([1, 0]);
    expect((await all())[0]?.resolution).toBe('RECOVERED');
    expect(await storyOf(db, ops)).toEqual(['PLATFORM_OUTAGE PENDING', 'PLATFORM_RECOVERED PENDING']);
  });

  test('does not begin when its worker has stopped or is lost', async () => {
    await worker('a', away, { stoppedAgo: 5 });
    await worker('b', away, { seenAgo: 100 });
    expect(await look()).toEqual([0, 0]);
  });

  test('ends when all its workers were stopped, unless one on the same machine still waits for an engine', async () => {
    await worker('a', away);
    expect(await look()).toEqual([0, 1]);
    await worker('a', away, { stoppedAgo: 5 });
    expect(await look()).toEqual([0, 0]); // it may be started again
    await worker('a', away, { stoppedAgo: 100 });
    await worker('new', null);
    expect(await look()).toEqual([0, 0]);
    await worker('new', null, { stoppedAgo: 1 });
    expect(await look()).toEqual([1, 0]);
    expect((await all())[0]?.resolution).toBe('GONE');
  });

  test('ends like that of a network when no worker of its place is known after a day', async () => {
    const { db } = database;
    await worker('a', away);
    await look();
    await begin();
    await db.execute(sql`DELETE FROM workers`);
    expect(await look()).toEqual([0, 0]);
    await db.execute(sql`UPDATE outages SET began_at = began_at - interval '1 day'`);
    await db.execute(sql`INSERT INTO workers (owner, name, version, host) VALUES ('x', 'execution', '1', 'machine')`);
    expect(await look()).toEqual([1, 0]);
    await db.execute(sql`DELETE FROM workers`);
    expect(await look()).toEqual([1, 0]);
  });
});

describe('the message about an outage', () => {
  const at = new Date('2026-11-30T10:00:00Z');
  const later = (seconds: number) => new Date(at.getTime() + seconds * 1_000);
  const outage = { id: 'o1', kind: 'NETWORK', host: 'web-1', place: 'web-1', beganAt: at } as const;
  const engine = { ...outage, kind: 'ENGINE', place: 'E1' } as const;
  const ended = { endedAt: later(200), resolution: 'RECOVERED' } as const;
  const open = { endedAt: undefined, resolution: undefined };
  const without = {
    workflow: undefined,
    incident: undefined,
    nextRunAt: undefined,
    logLines: undefined,
    at: later(200),
  };
  const say = (changes: Parameters<typeof alert>[0]) =>
    contentOf({ kind: 'ALERT', alert: alert({ ...without, reason: undefined, ...changes }) }, later(201));

  test('says which machine or engine, why and since when', () => {
    const reason = 'This machine reaches no host.';
    const began = say({ event: 'PLATFORM_OUTAGE', outage: { ...outage, ...open }, reason });
    expect(began).toMatchObject({ title: 'The network of web-1 does not work', mood: 'BAD' });
    expect(began.sentences).toEqual([reason, 'Heartbeats that fail by this count against no workflow.']);
    expect(began.facts).toContainEqual({ name: 'Since', value: at.toISOString() });
    const { title, facts } = say({ event: 'PLATFORM_OUTAGE', outage: { ...engine, ...open } });
    expect(title).toBe('The Docker engine of web-1 does not answer');
    expect(facts).toContainEqual({ name: 'Engine', value: 'E1' });
  });

  test('says at the end how long it was, or that nobody looks any more', () => {
    const end = say({ event: 'PLATFORM_RECOVERED', outage: { ...engine, ...ended } });
    expect(end).toMatchObject({ title: 'The Docker engine of web-1 answers again', mood: 'GOOD' });
    expect(end.sentences).toEqual(['It did not answer for 3 min 20 s.']);
    const whole = say({ event: 'PLATFORM_RECOVERED', outage: { ...outage, ...ended }, isWholeIncident: true });
    expect(whole.title).toBe('The network of web-1 did not work and works again');
    expect(whole.sentences).toEqual([
      'It did not work from 2026-11-30T10:00:00.000Z to 2026-11-30T10:03:20.000Z, for 3 min 20 s.',
    ]);
    const gone = say({ event: 'PLATFORM_RECOVERED', outage: { ...engine, ...ended, resolution: 'GONE' } });
    expect(gone.title).toBe('The Docker engine of web-1 is used no more');
    expect(gone.sentences[1]).toContain('nobody knows whether it works');
  });
});
