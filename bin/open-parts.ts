import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Db } from '../db/client.ts';
import { refusalOf } from '../db/connection-check.ts';
import { getInstallation } from '../db/installation.ts';
import { checkVersion, DatabaseNewer, migrate } from '../db/migrate/migrate.ts';
import type { Bus } from '../platform/bus/bus.ts';
import { isKafkaOutage, kafkaOutageBegins } from '../platform/bus/kafka-outage.ts';
import type { Cache } from '../platform/cache/cache.ts';
import { type DataDir, openDataDir } from '../platform/data-dir.ts';
import type { Docker } from '../platform/docker/docker.ts';
import { isEngineError } from '../platform/docker/errors.ts';
import { processName } from '../platform/process-identity.ts';
import { createSealer, type KeyedSealer } from '../platform/sealer.ts';
import { isSecretKey, parseSecretKey } from '../platform/secret-key.ts';
import type { Parts } from '../workers/shared/parts.ts';
import { ENGINE_IS_AWAY, ENGINE_IS_BACK } from '../workers/workflow/engine/outage.ts';
import type { CommandContext } from './context.ts';
import { openApiDatabase, openDatabase, startDatabase } from './database.ts';
import { progress } from './progress.ts';
import { requireSecretKeys } from './secret-keys.ts';
import { PartUnreachable, StartupError } from './startup-error.ts';

/** The parts of the api and the workers. */
export interface OpenParts extends Parts {
  /** A connection of its own, outside the pool. */
  lone: Db;
  /** Opens the pool of the api, which most workers do not need. */
  apiDatabase: () => Db;
  /** Opens the engine on first use, because most processes talk to no engine. */
  docker: () => Promise<Docker>;
  /** Labels the containers of this installation on an engine that others may use too. */
  installation: string;
  dataDir: DataDir | undefined;
}

export interface PartsOptions {
  /** Whether this process migrates the database, or refuses one at another version. */
  migrates: boolean;
  connectionsMax: number;
  /** Whether the data folder is needed even if no database is embedded. */
  keepsFiles?: boolean;
}

const SECRET_KEY_BYTES = 32;

/**
 * Opens each part as the settings choose it, independently of the others, and adds it to
 * `context.shutdown`.
 */
export async function openParts(context: CommandContext, options: PartsOptions): Promise<OpenParts> {
  const { settings, log } = context;
  const embedsDatabase = settings.databaseUrl === undefined;
  const dataDir = embedsDatabase || options.keepsFiles ? await openFolder(context) : undefined;
  const sealer = await openSealer(context, dataDir);
  const owner = await processName();
  const url = await startDatabase(context, dataDir);
  const { db, lone } = await openDatabase(context, url, options.connectionsMax);
  if (options.migrates) await migrateNow(context, url);
  await requireVersion(db);
  const installation = await getInstallation(db);
  await requireSecretKeys(db, sealer);
  const bus = await openBus(context);
  const cache = await openCache(context);
  let opened: Promise<Docker> | undefined;
  const docker = () => {
    opened ??= openDocker(context);
    return opened;
  };
  const apiDatabase = () => openApiDatabase(context, url);
  return { db, lone, apiDatabase, bus, cache, log, owner, docker, installation, sealer, dataDir };
}

export async function openFolder({ settings, shutdown }: CommandContext): Promise<DataDir> {
  const dataDir = await openDataDir(settings.dataDir);
  shutdown.add('data folder', 'data folder', dataDir.release);
  return dataDir;
}

export async function migrateNow({ log, settings }: CommandContext, url: string): Promise<void> {
  const done = progress(log, 'migrations');
  const report = (message: string) => log.info({ event: 'part', part: 'migrations' }, `migrations: ${message}`);
  const applied = await migrate(url, { tls: settings.databaseTls, report }).catch((error: unknown) => {
    throw error instanceof DatabaseNewer ? new StartupError(error.message) : explained(error);
  });
  done(applied.length === 0 ? 'the database is at the right version' : `applied ${applied.join(', ')}`);
}

/** An error of the database as a sentence, where one helps more than its stack. */
function explained(error: unknown): unknown {
  const problem = refusalOf(error);
  if (problem === undefined) return error;
  const sentence = `The database did not do what this program needs: ${problem.message}. ${problem.advice}`;
  return problem.passes ? new PartUnreachable(sentence) : new StartupError(sentence);
}

/** Refuses a database that is not at this program's version. */
export async function requireVersion(db: Db): Promise<void> {
  const problem = await checkVersion(db).catch((error: unknown) => {
    throw explained(error);
  });
  if (problem !== undefined) throw new StartupError(problem);
}

/** Seals under the key of the settings, or under the one that the data folder keeps. */
export async function openSealer({ settings }: CommandContext, dataDir: DataDir | undefined): Promise<KeyedSealer> {
  return createSealer(settings.secretKey ?? (await keptSecretKey(dataDir)), settings.oldSecretKeys);
}

async function keptSecretKey(dataDir: DataDir | undefined): Promise<Buffer> {
  if (dataDir === undefined) throw new Error('SECRET_KEY is missing, and there is no data folder to keep one in.');
  const text = await dataDir.keep('secret.key', () => randomBytes(SECRET_KEY_BYTES).toString('hex'));
  if (isSecretKey(text)) return parseSecretKey(text);
  throw new StartupError(
    `${join(dataDir.path, 'secret.key')} holds no key: put back the right one, 32 bytes in hex (64 digits) or base64 (44 characters).`,
  );
}

async function openBus({ settings, log, outages, shutdown }: CommandContext): Promise<Bus> {
  const done = progress(log, 'bus');
  if (settings.kafkaBrokers === undefined) {
    const { createMemoryBus } = await import('../platform/bus/memory.ts');
    const bus = createMemoryBus({ log });
    shutdown.add('bus', 'bus', bus.close);
    done('in process');
    return bus;
  }
  const { createKafkaBus } = await import('../platform/bus/kafka.ts');
  const { kafkaBrokers: brokers, kafkaTls: tls, kafkaSasl: sasl, kafkaTopicPrefix: topicPrefix } = settings;
  let bus: Bus | undefined;
  outages.watch({
    log,
    isOutage: isKafkaOutage,
    isUp: async () => bus?.isUp() ?? false,
    begins: kafkaOutageBegins,
    ends: 'Kafka can be used again.',
    signal: shutdown.signal,
  });
  bus = await createKafkaBus({ brokers, tls, sasl, topicPrefix, log, clientId: `chronoverse-${process.pid}` });
  shutdown.add('bus', 'bus', bus.close);
  done(`Kafka at ${brokers.join(', ')}`);
  return bus;
}

async function openCache({ settings, log, shutdown }: CommandContext): Promise<Cache> {
  const done = progress(log, 'cache');
  if (settings.redisUrl === undefined) {
    const { createMemoryCache } = await import('../platform/cache/memory.ts');
    const cache = createMemoryCache();
    shutdown.add('cache', 'cache', cache.close);
    done('in process');
    return cache;
  }
  const { createRedisCache } = await import('../platform/cache/redis.ts');
  const cache = await createRedisCache({
    url: settings.redisUrl,
    tls: settings.redisTls,
    prefix: settings.redisPrefix,
    log,
  });
  shutdown.add('cache', 'cache', cache.close);
  done(`Redis at ${new URL(settings.redisUrl).host}`);
  return cache;
}

/**
 * The engine that DOCKER_HOST names, or the one at a usual socket. Neither the engine nor the
 * socket need exist yet.
 */
async function openDocker({ settings, log, outages, shutdown }: CommandContext): Promise<Docker> {
  const done = progress(log, 'docker');
  const { createDocker } = await import('../platform/docker/docker.ts');
  const docker = createDocker({ host: settings.dockerHost, tls: settings.dockerTls, log });
  outages.watch({
    log,
    isOutage: (error) => isEngineError(error) && error.isAway,
    isUp: docker.isUp,
    begins: () => ENGINE_IS_AWAY,
    ends: ENGINE_IS_BACK,
    signal: shutdown.signal,
  });
  if (await docker.isUp()) done(`engine at ${docker.address}`);
  else if (await docker.isThere()) done(`engine that does not answer yet, at ${docker.address}`);
  else
    done(`no engine: DOCKER_HOST is not set and ${docker.address} is not there; until it is, CONTAINER workflows wait`);
  return docker;
}
