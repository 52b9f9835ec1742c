import { Redis, ReplyError } from 'ioredis';
import type { Logger } from 'pino';
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible';
import { tlsAdvice } from '../../domain/network/tls-advice.ts';
import { settledWithin } from '../async/deadline.ts';
import type { TlsMaterial } from '../pem.ts';
import type { Cache } from './cache.ts';
import { createLimits } from './limits.ts';
import { createRedisChannels } from './redis-channels.ts';

/** A cache that takes longer than this is slower than doing without it. */
const COMMAND_MS_MAX = 700;
const CONNECT_MS_MAX = 2_000;
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2_000;
const KEEP_ALIVE_MS = 10_000;

/**
 * The cache on Redis. It also starts without Redis. While Redis is away, commands reject at once
 * (`publish` and `subscribe` do not), and the client keeps trying to connect. The log has one line
 * when an outage begins, and one when it ends.
 */
export async function createRedisCache({
  url,
  tls,
  prefix,
  log,
}: {
  url: string;
  /** For a url that begins with rediss:// */
  tls?: TlsMaterial | undefined;
  prefix: string;
  log: Logger;
}): Promise<Cache> {
  const connect = (connectionName: string) =>
    new Redis(url, {
      connectionName,
      ...(url.startsWith('rediss:') ? { tls: tls ?? {} } : {}),
      enableOfflineQueue: false, // a command that waits for Redis holds up its caller
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      commandTimeout: COMMAND_MS_MAX,
      connectTimeout: CONNECT_MS_MAX,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: (times) => Math.min(RECONNECT_MS_MAX, RECONNECT_MS_MIN * 2 ** Math.min(times, 10)),
    });
  const client = connect('chronoverse');
  const channels = createRedisChannels(connect('chronoverse-hints'), prefix, log);
  const limits = createLimits(
    (options) =>
      new RateLimiterRedis({
        ...options,
        keyPrefix: `${prefix}${options.keyPrefix}`,
        storeClient: client,
        rejectIfRedisNotReady: true,
        insuranceLimiter: new RateLimiterMemory(options),
      }),
  );
  const isTls = url.startsWith('rediss:');
  let away = false;
  // A connection may break before its cause is known. Then advice about the cause is worth a second
  // line.
  let isAdvised = false;
  let wasReady = false;
  let isWarned = false;
  let lostHints = 0;
  let closed = false;

  function noteAway(error: unknown): void {
    const advice = tlsAdvice(error, 'REDIS') ?? signInAdvice(error);
    if (closed || (away && (advice === undefined || isAdvised))) return;
    away = true;
    isAdvised = advice !== undefined;
    const unknown = isTls && !wasReady ? ` ${CERTIFICATE_ADVICE}` : '';
    const what = advice === undefined ? `Redis is away.${unknown}` : `Redis cannot be used. ${advice}`;
    log.warn(
      { err: error },
      `${what} Until it is back, templates are built again, limits count per process, and hints are lost.`,
    );
  }

  function noteBack(): void {
    wasReady = true;
    if (!away) return;
    away = false;
    isAdvised = false;
    log.info({ lostHints }, 'Redis is back.');
    lostHints = 0;
  }

  client.on('error', (error) => {
    if (!isNoDatabase(error)) return noteAway(error);
    if (isWarned) return;
    isWarned = true;
    log.warn(
      { err: error },
      'Redis does not have the database at the end of REDIS_URL: its database 0 is used instead.',
    );
  });
  client.on('close', () => noteAway(new Error('The connection to Redis was closed.')));
  client.on('ready', noteBack);

  /** Awaits a command. Even an error from Redis itself shows that Redis is there. */
  async function answer<T>(command: Promise<T>): Promise<T> {
    try {
      const value = await command;
      noteBack();
      return value;
    } catch (error) {
      if (!(error instanceof ReplyError)) noteAway(error);
      throw error;
    }
  }

  await Promise.all([settledWithin(firstAttempt(client), CONNECT_MS_MAX), channels.started(CONNECT_MS_MAX)]);

  return {
    embedded: false,

    async get(key) {
      return (await answer(client.get(prefix + key))) ?? undefined;
    },

    async set(key, value, ttlSeconds) {
      await answer(client.set(prefix + key, value, 'PX', Math.max(1, Math.round(ttlSeconds * 1_000))));
    },

    async delete(key) {
      await answer(client.del(prefix + key));
    },

    async publish(channel, message) {
      try {
        await answer(client.publish(prefix + channel, message));
      } catch (error) {
        lostHints += 1;
        log.debug({ err: error, channel }, 'A hint was not sent.');
      }
    },

    subscribe: channels.subscribe,
    ...limits,

    async isUp() {
      return client.ping().then(
        () => true,
        () => false,
      );
    },

    async close() {
      closed = true;
      channels.close();
      client.disconnect();
    },
  };
}

/** Resolves when the first try to connect has succeeded or failed. */
function firstAttempt(client: Redis): Promise<void> {
  return new Promise((resolve) => {
    client.once('ready', resolve);
    client.once('close', resolve);
  });
}

function isNoDatabase(error: unknown): boolean {
  return error instanceof Error && /DB index|SELECT is not allowed/i.test(error.message);
}

/** A Redis that requires a client certificate may close the connection before it says so. */
const CERTIFICATE_ADVICE =
  'Where it asks for a client certificate, set REDIS_TLS_CERT and REDIS_TLS_KEY to one that its authority has signed.';

function signInAdvice(error: unknown): string | undefined {
  const isRefused = error instanceof Error && /WRONGPASS|NOAUTH|NOPERM/.test(error.message);
  return isRefused ? 'It refuses our user or password: check REDIS_URL.' : undefined;
}
