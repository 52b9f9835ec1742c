import type { SignUpMode } from '../../domain/account/account-input.ts';
import {
  type ImagePatterns,
  parseImagePatterns,
  parseRegistryAllow,
  type RegistryPolicy,
} from '../../domain/images/registry-allow.ts';
import type { UserLimits } from '../../domain/limits.ts';
import type { ConnectionBounds } from '../../domain/network/connection-bounds.ts';
import type { HostAndPort } from '../../domain/network/host-port.ts';
import { type NetworkPolicy, parseAllow } from '../../domain/network/networks.ts';
import type { TrustedProxies } from '../../domain/network/trusted-proxies.ts';
import type { ContainerPolicy } from '../../domain/payload/container-policy.ts';
import { FEW_SLIPS, nearest } from '../../domain/suggest.ts';
import type { TlsMaterial } from '../pem.ts';
import type { Setting } from './setting.ts';
import { SETTINGS, type SettingName } from './settings.ts';
import { type KafkaSasl, kafkaSasl, type TlsPart, tlsMaterial, unusedTls } from './tls-settings.ts';

/** The parsed environment. An absent setting means the default that `defaultMeans` describes. */
export interface Settings {
  port: number;
  host: string;
  publicUrl?: string;
  allowedOrigins: string[];
  graphiql: boolean;
  introspection: boolean;
  trustProxy: TrustedProxies;
  signUp: SignUpMode;
  /** How much one api process may have open at once. */
  connectionBounds: ConnectionBounds;
  dataDir: string;
  databaseUrl?: string;
  kafkaBrokers?: string[];
  redisUrl?: string;
  dockerHost?: string;
  databaseTls?: TlsMaterial | undefined;
  /** Undefined if the connections do not use TLS. */
  kafkaTls?: TlsMaterial | undefined;
  kafkaSasl?: KafkaSasl | undefined;
  redisTls?: TlsMaterial | undefined;
  dockerTls?: TlsMaterial | undefined;
  kafkaTopicPrefix: string;
  redisPrefix: string;
  secretKey?: Buffer;
  oldSecretKeys: Buffer[];
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
  logFormat?: 'pretty' | 'json';
  demoImage: string;
  /** Where the demo sends its alerts. The URL is a secret. */
  alertWebhook?: string;
  heartbeatAllow: NetworkPolicy;
  connectivityTargets: HostAndPort[];
  alertAllow: NetworkPolicy;
  /** Where e-mail is sent, with the login. */
  smtpUrl?: string;
  mailFrom?: string;
  registryAllow: RegistryPolicy;
  localImages: ImagePatterns;
  imageRetentionDays: number;
  deletedRetentionDays: number;
  logRetentionDays: number;
  jobRetentionDays: number;
  auditRetentionDays: number;
  notificationRetentionDays: number;
  apiTokenDaysMax: number;
  mutationsPerUserPerHour: number;
  maxJobSeconds: number;
  maxBuildSeconds: number;
  maxJobLogBytes: number;
  /** The maximum for one container. */
  maxResources: { cpus: number; memoryMb: number; pids: number };
  /** How much a container may write to its own file system. */
  maxContainerDiskBytes?: number;
  containerPolicy: ContainerPolicy;
  buildCgroupParent?: string;
  containersMax: number;
  /** How much one worker runs at once for one user. */
  runningPerUser: { containers: number; builds: number; heartbeats: number };
  userLimits: UserLimits;
}

/** Every problem of the settings, one sentence each. */
export class SettingsError extends Error {
  readonly problems: string[];

  constructor(problems: string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

export type Environment = Record<string, string | undefined>;

/**
 * Parses `env`, and warns about each variable whose name resembles a setting. An empty variable
 * counts as absent. `required` names the settings that the command needs. Throws a SettingsError
 * that lists every problem.
 */
export function parseSettings(env: Environment, required: readonly SettingName[] = []) {
  const problems = required.filter((name) => !env[name]).map(sentenceForMissing);

  function read<T>(name: SettingName, setting: Setting<T>): T | undefined {
    const text = env[name] || setting.default;
    if (text === undefined) return undefined;
    const result = setting.schema.safeParse(text);
    if (!result.success) {
      const wanted = result.error.issues[0]?.message ?? 'right';
      problems.push(sentenceFor(name, setting, text, wanted) + wrappingHint(setting, text));
    }
    return result.data;
  }
  /**
   * Returns the default for a wrong value. No caller sees it, because parsing throws at its end.
   */
  function need<T>(name: SettingName, setting: Setting<T> & { default: string }): T {
    return read(name, setting) ?? setting.schema.parse(setting.default);
  }

  function tls(part: TlsPart): TlsMaterial | undefined {
    const material = {
      ca: read(`${part}_TLS_CA`, SETTINGS[`${part}_TLS_CA`]),
      cert: read(`${part}_TLS_CERT`, SETTINGS[`${part}_TLS_CERT`]),
      key: read(`${part}_TLS_KEY`, SETTINGS[`${part}_TLS_KEY`]),
    };
    return tlsMaterial(part, material, problems);
  }

  function kafka(): Pick<Settings, 'kafkaTls' | 'kafkaSasl'> {
    const wanted = read('KAFKA_TLS', SETTINGS.KAFKA_TLS);
    const material = tls('KAFKA');
    if (wanted === false && material !== undefined) {
      problems.push(
        'KAFKA_TLS is false, but KAFKA_TLS_CA or KAFKA_TLS_CERT is set: set KAFKA_TLS to true, or leave them out.',
      );
    }
    const sasl = {
      mechanism: read('KAFKA_SASL_MECHANISM', SETTINGS.KAFKA_SASL_MECHANISM),
      username: read('KAFKA_SASL_USERNAME', SETTINGS.KAFKA_SASL_USERNAME),
      password: read('KAFKA_SASL_PASSWORD', SETTINGS.KAFKA_SASL_PASSWORD),
    };
    return { kafkaTls: wanted === true ? (material ?? {}) : material, kafkaSasl: kafkaSasl(sasl, problems) };
  }

  const settings: Settings = {
    port: need('PORT', SETTINGS.PORT),
    host: need('HOST', SETTINGS.HOST),
    publicUrl: read('PUBLIC_URL', SETTINGS.PUBLIC_URL),
    allowedOrigins: read('ALLOWED_ORIGINS', SETTINGS.ALLOWED_ORIGINS) ?? [],
    graphiql: need('GRAPHIQL', SETTINGS.GRAPHIQL),
    introspection: need('INTROSPECTION', SETTINGS.INTROSPECTION),
    trustProxy: need('TRUST_PROXY', SETTINGS.TRUST_PROXY),
    signUp: need('SIGN_UP', SETTINGS.SIGN_UP),
    connectionBounds: {
      connections: need('CONNECTIONS_MAX', SETTINGS.CONNECTIONS_MAX),
      connectionsPerAddress: need('CONNECTIONS_PER_ADDRESS_MAX', SETTINGS.CONNECTIONS_PER_ADDRESS_MAX),
      connectionsPerUser: need('CONNECTIONS_PER_USER_MAX', SETTINGS.CONNECTIONS_PER_USER_MAX),
      anonymous: need('ANONYMOUS_MAX', SETTINGS.ANONYMOUS_MAX),
      anonymousPerAddress: need('ANONYMOUS_PER_ADDRESS_MAX', SETTINGS.ANONYMOUS_PER_ADDRESS_MAX),
      webSockets: need('WEBSOCKETS_MAX', SETTINGS.WEBSOCKETS_MAX),
      webSocketsPerAddress: need('WEBSOCKETS_PER_ADDRESS_MAX', SETTINGS.WEBSOCKETS_PER_ADDRESS_MAX),
      webSocketsPerUser: need('WEBSOCKETS_PER_USER_MAX', SETTINGS.WEBSOCKETS_PER_USER_MAX),
      streams: need('STREAMS_MAX', SETTINGS.STREAMS_MAX),
      streamsPerAddress: need('STREAMS_PER_ADDRESS_MAX', SETTINGS.STREAMS_PER_ADDRESS_MAX),
      streamsPerUser: need('STREAMS_PER_USER_MAX', SETTINGS.STREAMS_PER_USER_MAX),
    },
    dataDir: need('DATA_DIR', SETTINGS.DATA_DIR),
    databaseUrl: read('DATABASE_URL', SETTINGS.DATABASE_URL),
    kafkaBrokers: read('KAFKA_BROKERS', SETTINGS.KAFKA_BROKERS),
    redisUrl: read('REDIS_URL', SETTINGS.REDIS_URL),
    dockerHost: read('DOCKER_HOST', SETTINGS.DOCKER_HOST),
    ...kafka(),
    databaseTls: tls('DATABASE'),
    redisTls: tls('REDIS'),
    dockerTls: tls('DOCKER'),
    kafkaTopicPrefix: need('KAFKA_TOPIC_PREFIX', SETTINGS.KAFKA_TOPIC_PREFIX),
    redisPrefix: need('REDIS_PREFIX', SETTINGS.REDIS_PREFIX),
    secretKey: read('SECRET_KEY', SETTINGS.SECRET_KEY),
    oldSecretKeys: read('SECRET_KEYS_OLD', SETTINGS.SECRET_KEYS_OLD) ?? [],
    logLevel: need('LOG_LEVEL', SETTINGS.LOG_LEVEL),
    logFormat: read('LOG_FORMAT', SETTINGS.LOG_FORMAT),
    demoImage: need('DEMO_IMAGE', SETTINGS.DEMO_IMAGE),
    alertWebhook: read('ALERT_WEBHOOK', SETTINGS.ALERT_WEBHOOK),
    heartbeatAllow: read('HEARTBEAT_ALLOW', SETTINGS.HEARTBEAT_ALLOW) ?? defaultAllow(env),
    connectivityTargets: read('CONNECTIVITY_TARGETS', SETTINGS.CONNECTIVITY_TARGETS) ?? [],
    alertAllow: read('ALERT_ALLOW', SETTINGS.ALERT_ALLOW) ?? defaultAllow(env),
    smtpUrl: read('SMTP_URL', SETTINGS.SMTP_URL),
    mailFrom: read('MAIL_FROM', SETTINGS.MAIL_FROM),
    registryAllow: read('REGISTRY_ALLOW', SETTINGS.REGISTRY_ALLOW) ?? defaultRegistries(env),
    localImages: read('LOCAL_IMAGES', SETTINGS.LOCAL_IMAGES) ?? defaultLocalImages(env),
    imageRetentionDays: need('IMAGE_RETENTION_DAYS', SETTINGS.IMAGE_RETENTION_DAYS),
    deletedRetentionDays: need('DELETED_RETENTION_DAYS', SETTINGS.DELETED_RETENTION_DAYS),
    logRetentionDays: need('LOG_RETENTION_DAYS', SETTINGS.LOG_RETENTION_DAYS),
    jobRetentionDays: need('JOB_RETENTION_DAYS', SETTINGS.JOB_RETENTION_DAYS),
    auditRetentionDays: need('AUDIT_RETENTION_DAYS', SETTINGS.AUDIT_RETENTION_DAYS),
    notificationRetentionDays: need('NOTIFICATION_RETENTION_DAYS', SETTINGS.NOTIFICATION_RETENTION_DAYS),
    apiTokenDaysMax: need('API_TOKEN_DAYS_MAX', SETTINGS.API_TOKEN_DAYS_MAX),
    mutationsPerUserPerHour: need('MUTATIONS_PER_USER_PER_HOUR', SETTINGS.MUTATIONS_PER_USER_PER_HOUR),
    maxJobSeconds: need('MAX_JOB_SECONDS', SETTINGS.MAX_JOB_SECONDS),
    maxBuildSeconds: need('MAX_BUILD_SECONDS', SETTINGS.MAX_BUILD_SECONDS),
    maxJobLogBytes: need('MAX_JOB_LOG_BYTES', SETTINGS.MAX_JOB_LOG_BYTES),
    maxResources: {
      cpus: need('MAX_CONTAINER_CPUS', SETTINGS.MAX_CONTAINER_CPUS),
      memoryMb: need('MAX_CONTAINER_MEMORY_MB', SETTINGS.MAX_CONTAINER_MEMORY_MB),
      pids: need('MAX_CONTAINER_PIDS', SETTINGS.MAX_CONTAINER_PIDS),
    },
    maxContainerDiskBytes: megabytes(read('MAX_CONTAINER_DISK_MB', SETTINGS.MAX_CONTAINER_DISK_MB)),
    containerPolicy: {
      networks: need('CONTAINER_NETWORKS', SETTINGS.CONTAINER_NETWORKS),
      sharedNetworks: read('SHARED_NETWORKS', SETTINGS.SHARED_NETWORKS) ?? [],
      capabilities: read('CONTAINER_CAPABILITIES', SETTINGS.CONTAINER_CAPABILITIES) ?? [],
      buildsAllowed: need('BUILDS_ALLOWED', SETTINGS.BUILDS_ALLOWED),
    },
    buildCgroupParent: read('BUILD_CGROUP_PARENT', SETTINGS.BUILD_CGROUP_PARENT),
    containersMax: need('CONTAINERS_MAX', SETTINGS.CONTAINERS_MAX),
    runningPerUser: {
      containers: need('RUNNING_CONTAINERS_PER_USER', SETTINGS.RUNNING_CONTAINERS_PER_USER),
      builds: need('RUNNING_BUILDS_PER_USER', SETTINGS.RUNNING_BUILDS_PER_USER),
      heartbeats: need('RUNNING_HEARTBEATS_PER_USER', SETTINGS.RUNNING_HEARTBEATS_PER_USER),
    },
    userLimits: {
      QUEUED_CONTAINERS_PER_USER: need('QUEUED_CONTAINERS_PER_USER', SETTINGS.QUEUED_CONTAINERS_PER_USER),
      QUEUED_HEARTBEATS_PER_USER: need('QUEUED_HEARTBEATS_PER_USER', SETTINGS.QUEUED_HEARTBEATS_PER_USER),
      QUEUED_BUILDS_PER_USER: need('QUEUED_BUILDS_PER_USER', SETTINGS.QUEUED_BUILDS_PER_USER),
      VOLUMES_PER_USER: need('VOLUMES_PER_USER', SETTINGS.VOLUMES_PER_USER),
      WORKFLOWS_PER_USER: need('WORKFLOWS_PER_USER', SETTINGS.WORKFLOWS_PER_USER),
      PAYLOAD_BYTES_PER_USER: need('PAYLOAD_BYTES_PER_USER', SETTINGS.PAYLOAD_BYTES_PER_USER),
      GENERATIONS_PER_WORKFLOW: need('GENERATIONS_PER_WORKFLOW', SETTINGS.GENERATIONS_PER_WORKFLOW),
    },
  };
  if ((settings.smtpUrl !== undefined && !env.MAIL_FROM) || (settings.mailFrom !== undefined && !env.SMTP_URL))
    problems.push('SMTP_URL and MAIL_FROM belong together: set both, or none for no alerts by e-mail.');
  problems.push(...unusedTls(settings));
  if (problems.length > 0) throw new SettingsError(problems);
  return { settings, warnings: misspeltIn(env) };
}

/** An embedded database means a personal machine, whose own services are worth checking too. */
function defaultAllow(env: Environment): NetworkPolicy {
  const policy = parseAllow(env.DATABASE_URL ? 'public,private' : 'public,private,loopback');
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

/** With an embedded database, the engine is personal. Elsewhere, services may trust its address. */
function defaultRegistries(env: Environment): RegistryPolicy {
  const policy = parseRegistryAllow(env.DATABASE_URL ? 'public' : 'public,private,loopback');
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

function defaultLocalImages(env: Environment): ImagePatterns {
  const patterns = parseImagePatterns(env.DATABASE_URL ? '' : '*');
  if (typeof patterns === 'string') throw new Error(patterns);
  return patterns;
}

const MB = 1024 * 1024;

function megabytes(count: number | undefined): number | undefined {
  return count === undefined ? undefined : count * MB;
}

function sentenceFor(name: SettingName, { secret, example }: Setting<unknown>, text: string, wanted: string): string {
  const given = secret ? `${name} is set, but` : `${name} is ${JSON.stringify(text)}:`;
  return `${given} it must be ${wanted.replace(/\.$/, '')}, for example ${name}=${example}`;
}

/** Files of an environment often keep the quotes and blanks that a shell would take away. */
function wrappingHint({ schema }: Setting<unknown>, text: string): string {
  const bare = text.trim().replace(/^(["'])([\s\S]*)\1$/, '$2');
  const isRight = bare !== text && bare !== '' && schema.safeParse(bare).success;
  return isRight ? '. Leave out the quotes or blanks around it.' : '';
}

function sentenceForMissing(name: SettingName): string {
  const { means, example } = SETTINGS[name];
  const [firstSentence] = means.split(/\.(?: |$)/);
  return `${name} is missing (${firstSentence}): set it, for example ${name}=${example}`;
}

/** Variables of other programs whose names resemble a setting. */
const OTHERS = ['POST', 'COST'];

function misspeltIn(env: Environment): string[] {
  const known = Object.keys(SETTINGS);
  return Object.keys(env).flatMap((name) => {
    if (known.includes(name) || OTHERS.includes(name)) return [];
    const meant = nearest(name.toUpperCase(), known, FEW_SLIPS);
    return meant === undefined ? [] : [`${name} is no setting and is not used: did you mean ${meant}?`];
  });
}
