import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { alertChannels, payloads, pings } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { alertChannelPlace, openTarget, rotateSecret, sealTarget } from '../../domain/alerts/config.ts';
import { newId } from '../../domain/ids.ts';
import { USER_LIMITS } from '../../domain/limits.ts';
import { mapContainer } from '../../domain/payload/map-secrets.ts';
import type { GivenPayload, Payload } from '../../domain/payload/payload.ts';
import { pingTokenPlace } from '../../domain/payload/secret.ts';
import { openingOf, sealPayload } from '../../domain/payload/secrets.ts';
import { createSealer } from '../../platform/sealer.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { cleanUp, startProcess } from '../support/processes.ts';

const OLD = Buffer.alloc(32, 1);
const PRESENT = Buffer.alloc(32, 2);
const STRANGE = Buffer.alloc(32, 3);
const SECRET = 'open-sesame-4711';
const WORKFLOWS = 450; // more than two sets

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
afterEach(cleanUp);
afterAll(() => database.close());

async function create(key: Buffer): Promise<string> {
  const id = newId();
  const given: GivenPayload = {
    kind: 'CONTAINER',
    image: 'a',
    env: { KEY: { secret: true, value: SECRET }, OPEN: 'open' },
    registry_auth: { username: 'ann', password: { secret: true, value: SECRET } },
  };
  const { value: payload } = sealPayload(createSealer(key), { workflowId: id, given });
  if (payload === undefined) throw new Error('It was refused.');
  const workflow = {
    id,
    userId: ann,
    name: 'a',
    payload,
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  };
  await createWorkflow(database.db, workflow, { ...USER_LIMITS, QUEUED_BUILDS_PER_USER: 2 * WORKFLOWS });
  return id;
}

async function payloadOf(workflowId: string): Promise<Payload> {
  const [row] = await database.db.select().from(payloads).where(eq(payloads.workflowId, workflowId));
  if (row === undefined) throw new Error('There is no payload.');
  return row.payload;
}

function opened(workflowId: string, payload: Payload, key: Buffer): string[] {
  if (payload.kind !== 'CONTAINER' || payload.registry_auth === undefined) throw new Error('Not what was stored.');
  const opening = openingOf(createSealer(key), workflowId);
  const { env = {}, registry_auth: auth } = mapContainer(payload, opening.open);
  return [env.KEY ?? '', env.OPEN ?? '', auth?.password ?? ''];
}

async function rotate(keys: Record<string, string>) {
  const running = startProcess(['rotate-secrets'], { DATABASE_URL: database.url, ...keys });
  const { code } = await running.exit();
  return { code, output: running.output(), counts: running.log.at(-1) };
}

describe('chronoverse rotate-secrets', () => {
  test('encrypts every secret under the present key, once; then the old key is no longer needed', async () => {
    const ids = await Promise.all(Array.from({ length: WORKFLOWS }, (_, n) => create(n % 3 === 0 ? PRESENT : OLD)));
    const [fresh = '', old = ''] = ids;
    const before = await payloadOf(fresh);
    const keys = { SECRET_KEY: PRESENT.toString('hex'), SECRET_KEYS_OLD: OLD.toString('base64') };
    const first = await rotate(keys);
    expect(first).toMatchObject({ code: 0, counts: { rotated: 2 * (WORKFLOWS - WORKFLOWS / 3), unreadable: 0 } });
    for (const id of ids) expect(opened(id, await payloadOf(id), PRESENT)).toEqual([SECRET, 'open', SECRET]);
    expect(await payloadOf(fresh)).toEqual(before);
    expect(() => opened(old, before, OLD)).toThrow();
    const written = await database.db.execute(sql`SELECT workflow_id, xmin::text FROM payloads ORDER BY workflow_id`);
    expect(await rotate({ SECRET_KEY: keys.SECRET_KEY })).toMatchObject({ code: 0, counts: { rotated: 0 } });
    const still = await database.db.execute(sql`SELECT workflow_id, xmin::text FROM payloads ORDER BY workflow_id`);
    expect([...still]).toEqual([...written]); // unchanged rows are not written
    expect(first.output).not.toContain(SECRET);
    for (const key of [OLD, PRESENT]) expect(first.output).not.toContain(key.toString('hex').slice(0, 20));
  });

  test('encrypts the tokens of ping URLs anew', async () => {
    const workflowId = newId();
    const place = pingTokenPlace(workflowId);
    await createWorkflow(database.db, {
      ...{ id: workflowId, userId: ann, name: 'ping', payload: { kind: 'HEARTBEAT', push: {} } },
      ...{ schedule: { everyMinutes: 60 }, maxConsecutiveJobFailuresAllowed: 1 },
      pingToken: { hash: Buffer.alloc(32), sealed: createSealer(OLD).seal(SECRET, place) },
    });
    const keys = { SECRET_KEY: PRESENT.toString('hex'), SECRET_KEYS_OLD: OLD.toString('base64') };
    expect(await rotate(keys)).toMatchObject({ code: 0, counts: { rotated: 1, unreadable: 0 } });
    const [row] = await database.db.select().from(pings).where(eq(pings.workflowId, workflowId));
    expect(createSealer(PRESENT).open(row?.token ?? '', place)).toBe(SECRET);
    expect(await rotate(keys)).toMatchObject({ code: 0, counts: { rotated: 0 } });
  });

  test('encrypts the secrets and the codes of alert channels anew', async () => {
    const { db } = database;
    const ofKey = (key: Buffer, id: string) => {
      const sealer = createSealer(key);
      const target = { kind: 'WEBHOOK', url: `https://hooks.example/${SECRET}`, secrets: ['whsec_eA=='] } as const;
      const config = rotateSecret(sealer, { id, config: sealTarget(sealer, id, target, 'shown') }, `whsec_${SECRET}`);
      const code = sealer.seal('01234567', alertChannelPlace(id, 'code'));
      return { config, confirmation: { code, expiresAt: new Date().toISOString(), triesLeft: 5 } };
    };
    const ids = Array.from({ length: 250 }, () => newId()); // more than a set
    await db.insert(alertChannels).values(
      ids.map((id) => ({
        ...{ id, userId: ann, name: 'ops', kind: 'WEBHOOK' as const, state: 'ACTIVE' as const },
        ...{ events: [], isDefault: true, includeLog: true },
        ...ofKey(OLD, id),
      })),
    );
    const keys = { SECRET_KEY: PRESENT.toString('hex'), SECRET_KEYS_OLD: OLD.toString('base64') };
    expect(await rotate(keys)).toMatchObject({ code: 0, counts: { rotated: ids.length * 4, unreadable: 0 } });
    const sealer = createSealer(PRESENT);
    for (const row of await db.select().from(alertChannels)) {
      const opened = openTarget(sealer, row);
      expect(opened).toMatchObject({
        url: `https://hooks.example/${SECRET}`,
        secrets: [`whsec_${SECRET}`, 'whsec_eA=='],
      });
      expect(sealer.open(row.confirmation?.code ?? '', alertChannelPlace(row.id, 'code'))).toBe('01234567');
    }
    expect(await rotate(keys)).toMatchObject({ code: 0, counts: { rotated: 0 } });
  });

  test('leaves secrets without a known key unchanged, names their workflows, and ends with 1', async () => {
    const id = await create(STRANGE);
    const before = await payloadOf(id);
    const { code, output, counts } = await rotate({ SECRET_KEY: PRESENT.toString('hex') });
    expect({ code, counts }).toMatchObject({ code: 1, counts: { unreadable: 2 } });
    expect(output).toContain(id);
    expect(await payloadOf(id)).toEqual(before);
  });

  test('refuses to begin without a key and with a wrong old key, which it does not show', async () => {
    expect(await rotate({})).toMatchObject({ code: 2, output: expect.stringContaining('SECRET_KEY is missing') });
    const wrong = await rotate({ SECRET_KEY: PRESENT.toString('hex'), SECRET_KEYS_OLD: 'my-old-secret' });
    expect(wrong).toMatchObject({ code: 2, output: expect.stringContaining('SECRET_KEYS_OLD is set, but it must be') });
    expect(wrong.output).not.toContain('my-old-secret');
  });
});

describe('a process whose keys do not fit the stored secrets', () => {
  const env = (keys: Record<string, string>) => ({ DATABASE_URL: own.url, PORT: '0', ...keys });
  const start = (keys: Record<string, string>) => startProcess(['up'], env(keys));
  const hex = (key: Buffer) => key.toString('hex');
  let own: TestDatabase;
  beforeAll(async () => {
    own = await testDatabase();
  });
  afterAll(() => own.close());

  test('is refused at its start with a sentence, until it has the key or the key is given up', async () => {
    const first = start({ SECRET_KEY: hex(OLD) });
    await first.ready();
    await first.kill('SIGTERM');

    const other = start({ SECRET_KEY: hex(PRESENT) });
    expect(await other.exit()).toEqual({ code: 2, signal: null });
    expect(other.output()).toContain('The secrets in this database are encrypted under the key ');
    expect(other.output()).toContain('SECRET_KEYS_OLD');
    expect(other.output()).not.toContain(hex(OLD));

    const both = start({ SECRET_KEY: hex(PRESENT), SECRET_KEYS_OLD: hex(OLD) });
    await both.ready();
    await both.kill('SIGTERM');
    for (const key of [OLD, PRESENT]) expect(await start({ SECRET_KEY: hex(key) }).exit()).toMatchObject({ code: 2 });

    const rotated = startProcess(['rotate-secrets'], env({ SECRET_KEY: hex(PRESENT), SECRET_KEYS_OLD: hex(OLD) }));
    expect(await rotated.exit()).toMatchObject({ code: 0 });
    // Forgotten after the rotation.
    expect(await start({ SECRET_KEY: hex(OLD) }).exit()).toMatchObject({ code: 2 });
    const alone = start({ SECRET_KEY: hex(PRESENT) });
    await alone.ready();
    await alone.kill('SIGTERM');
  });

  test('is refused with the secrets of a version that recorded no key, and starts once the lost key is given up', async () => {
    const lost = await testDatabase();
    try {
      const user = await testUser(lost.db, 'bob');
      const id = newId();
      const given: GivenPayload = { kind: 'CONTAINER', image: 'a', env: { KEY: { secret: true, value: SECRET } } };
      const { value: payload } = sealPayload(createSealer(STRANGE), { workflowId: id, given });
      if (payload === undefined) throw new Error('It was refused.');
      await createWorkflow(lost.db, {
        id,
        userId: user,
        name: 'a',
        payload,
        schedule: { everyMinutes: 60 },
        maxConsecutiveJobFailuresAllowed: 1,
      });
      const keys = { DATABASE_URL: lost.url, PORT: '0', SECRET_KEY: hex(PRESENT) };
      expect(await startProcess(['up'], keys).exit()).toMatchObject({ code: 2 });
      expect(await startProcess(['rotate-secrets'], keys).exit()).toMatchObject({ code: 1 });
      expect(await startProcess(['rotate-secrets', '--lost-keys'], keys).exit()).toMatchObject({ code: 0 });
      const server = startProcess(['up'], keys);
      await server.ready();
      await server.kill('SIGTERM');
    } finally {
      await lost.close();
    }
  });
});
