import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { eq, sql } from 'drizzle-orm';
import { migrate } from '../../db/migrate/migrate.ts';
import { alertChannels } from '../../db/schema.ts';
import { newSigningSecret, sealTarget } from '../../domain/alerts/config.ts';
import { newId } from '../../domain/ids.ts';
import { createSealer } from '../../platform/sealer.ts';
import { type BenchDatabase, benchDatabase } from './database.ts';
import { type Benchmark, type Finding, percentile, ROUNDS } from './harness.ts';
import { startWorker } from './processes.ts';
import { seedUser, settle } from './seed.ts';

const CHANNELS = 40;
const ALERTS = 200;
const SPACING_MS = 25;
const PENDING = 100_000;
const PENDING_SECONDS = 20;
const FLOOD = 1_000;
const FLOOD_MS = 60_000;
/** The digest of what came last is sent a minute after the first one. */
const FLOOD_REST_MS = 75_000;
const MB = 1_024 * 1_024;

/** Alerts over real HTTP, with one real worker. */
export const alerts: Benchmark = {
  name: 'alerts',
  describe: `${ALERTS} alerts to ${CHANNELS} webhooks, ${FLOOD} to one chat within a minute, and ${PENDING.toLocaleString('en')} that wait`,
  async run(progress) {
    const database = await benchDatabase('alerts');
    const key = Buffer.alloc(32);
    const env = {
      DATABASE_URL: database.url,
      KAFKA_TOPIC_PREFIX: `cvbench${process.pid}.`,
      REDIS_PREFIX: `cvbench${process.pid}.`,
      SECRET_KEY: key.toString('hex'),
      ALERT_ALLOW: 'loopback',
    };
    const receiver = await startReceiver();
    await migrate(database.url);
    const userId = await seedUser(database.db);
    const worker = await startWorker('alerting', env);
    try {
      const add = addChannel(database, userId, createSealer(key));
      const urls = Array.from({ length: CHANNELS }, (_, n) => receiver.url(`quick/${n}`));
      const quick = await Promise.all(urls.map((url) => add('WEBHOOK', url)));
      await settle(database.db);
      const without: number[] = [];
      const withHanging: number[] = [];
      for (let round = 1; round <= ROUNDS; round += 1) {
        without.push(await latency(database, userId, quick, receiver));
        const hanging = await add('WEBHOOK', receiver.url('hanging'));
        await record(database, userId, hanging, 5);
        withHanging.push(await latency(database, userId, quick, receiver));
        await database.db.delete(alertChannels).where(eq(alertChannels.id, hanging));
        await database.db.execute(sql`DELETE FROM alert_due WHERE channel_id = ${hanging}`);
        progress(`round ${round} of ${ROUNDS}`);
      }

      const chat = await add('SLACK', receiver.url('chat'));
      for (let n = 0; n < FLOOD; n += 1) {
        await record(database, userId, chat, 1);
        await delay(FLOOD_MS / FLOOD);
      }
      await delay(FLOOD_REST_MS);
      const messages = receiver.count('/chat');
      const [left] = await database.db.execute<{ count: number }>(sql`
        SELECT count(*)::integer AS count FROM alert_due WHERE channel_id = ${chat}`);
      progress(`${messages} messages for ${FLOOD} alerts`);

      const dead = await add('WEBHOOK', receiver.url('failing'));
      await record(database, userId, dead, PENDING);
      await delay(PENDING_SECONDS * 1_000);
      const findings: Finding[] = [
        {
          what: 'From the commit to the first request, webhooks, p99, with one channel that times out',
          ours: withHanging,
          peer: { name: 'none does', values: without },
          unit: 'ms',
          budget: 'at most 2,000 ms, and 1,000 ms more than without',
        },
        {
          what: `Messages to one chat for ${FLOOD} alerts within a minute`,
          ours: [messages],
          unit: 'messages',
          notes: [`${left?.count} alerts are not reported yet`],
          budget: 'at most 7, and all alerts reported',
        },
        {
          what: `The worker's peak memory with ${PENDING.toLocaleString('en')} alerts that wait`,
          ours: [(await worker.peakBytes()) / MB],
          unit: 'MB',
          budget: 'below 200 MB',
        },
      ];
      return findings;
    } finally {
      await worker.stop();
      await receiver.close();
      await database.close();
    }
  },
};

interface Receiver {
  url(path: string): string;
  /** When each delivery came first, by its id. */
  seen: Map<string, number>;
  count(path: string): number;
  close(): Promise<void>;
}

async function startReceiver(): Promise<Receiver> {
  const seen = new Map<string, number>();
  const counts = new Map<string, number>();
  const answer: RequestListener = (request, response) => {
    const path = request.url ?? '';
    const id = String(request.headers['webhook-id']);
    if (!seen.has(id)) seen.set(id, Date.now());
    counts.set(path, (counts.get(path) ?? 0) + 1);
    request.resume();
    if (path === '/hanging') return;
    response.statusCode = path === '/failing' ? 500 : 200;
    response.end();
  };
  const server: Server = createServer(answer);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: (path) => `http://127.0.0.1:${port}/${path}`,
    seen,
    count: (path) => counts.get(path) ?? 0,
    async close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function addChannel({ db }: BenchDatabase, userId: string, sealer: ReturnType<typeof createSealer>) {
  return async (kind: 'WEBHOOK' | 'SLACK', url: string): Promise<string> => {
    const id = newId();
    const target = kind === 'WEBHOOK' ? { kind, url, secrets: [newSigningSecret()] } : { kind, url };
    await db.insert(alertChannels).values({
      ...{ id, userId, name: 'bench', kind, config: sealTarget(sealer, id, target, 'shown') },
      ...{ events: ['JOB_FAILED'], isDefault: false, includeLog: false, state: 'ACTIVE' },
    });
    return id;
  };
}

/** Records `count` deliveries, as the end of a job does. Returns the ids. */
async function record({ db }: BenchDatabase, userId: string, channelId: string, count: number): Promise<string[]> {
  const rows = await db.execute<{ id: string }>(sql`
    WITH recorded AS (
      INSERT INTO alert_deliveries (id, channel_id, user_id, event, workflow_id, workflow_name, status)
      SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid,
        ${channelId}, ${userId}, 'JOB_FAILED', ${userId}, 'bench', 'PENDING' FROM generate_series(1, ${count}::integer)
      RETURNING id
    ), queued AS (
      INSERT INTO alert_due (delivery_id, channel_id) SELECT id, ${channelId}::uuid FROM recorded
    )
    SELECT id FROM recorded`);
  return rows.map(({ id }) => id);
}

/** The p99 of the time from the commit to the request, in milliseconds. */
async function latency(
  database: BenchDatabase,
  userId: string,
  channels: string[],
  { seen }: Receiver,
): Promise<number> {
  const sent = new Map<string, number>();
  for (let n = 0; n < ALERTS; n += 1) {
    const [id = ''] = await record(database, userId, channels[n % channels.length] ?? '', 1);
    sent.set(id, Date.now());
    await delay(SPACING_MS);
  }
  while ([...sent.keys()].some((id) => !seen.has(id))) await delay(SPACING_MS);
  return percentile(
    [...sent].map(([id, at]) => Math.max(0, (seen.get(id) ?? 0) - at)),
    0.99,
  );
}
