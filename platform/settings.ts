import { z } from 'zod';
import { SIGN_UP_MODES } from '../domain/account-input.ts';
import { CONNECTION_BOUNDS } from '../domain/connection-bounds.ts';
import { parseImageReference } from '../domain/image-reference.ts';
import {
  API_TOKEN_DAYS_MAX,
  AUDIT_RETENTION_DAYS,
  CONTAINER_MEMORY_MB_MIN,
  CONTAINER_RESOURCES_MAX,
  DELETED_RETENTION_DAYS,
  ENGINE_LOG_BYTES_MAX,
  JOB_LOG_BYTES_MAX,
  JOB_RETENTION_DAYS,
  LOG_RETENTION_DAYS,
  RETENTION_DAYS_MIN,
  RUNNING_PER_USER,
  USER_LIMITS,
  type UserLimitName,
} from '../domain/limits.ts';
import { parseAllow } from '../domain/networks.ts';
import { CONTAINER_NETWORKS } from '../domain/payload.ts';
import { parseImagePatterns, parseRegistryAllow } from '../domain/registry-allow.ts';
import { parseTrustedProxies } from '../domain/trusted-proxies.ts';
import { parseOrigin } from '../domain/web-address.ts';
import { isSecretKey, parseSecretKey } from './secret-key.ts';
import { DATABASE_TLS, hasKnownTls, TLS_SETTINGS } from './tls-settings.ts';

/** One setting: how its text is read, and what a person should know of it. */
export interface Setting<T> {
  /** From the text of the environment to the value. Its messages complete the sentence "NAME must be ...". */
  schema: z.ZodType<T, string>;
  /** The text that stands in when none is given. Without one the setting is absent. */
  default?: string;
  /** What stands in for `default` in the table of docs/operate/settings.md where no fixed text can. */
  defaultMeans?: string;
  means: string;
  example: string;
  /** Never shown, not even when it is wrong: it is a secret, or may carry one. */
  secret?: boolean;
}

const setting = <T>(definition: Setting<T>): Setting<T> => definition;
const withDefault = <T>(definition: Setting<T> & { default: string }): Setting<T> & { default: string } => definition;

const DAYS_MAX = 36_500;
const USER_LIMIT_MAX = 9_999_999_999; // ten digits, as many as a whole number may have here
const COUNT_MAX = 1_000_000;
const PREFIX_LENGTH_MAX = 100;
/** A topic's name may have 249 characters in Kafka; ours need few of them. */
const prefix = z
  .string()
  .regex(/^[A-Za-z0-9._-]*$/, 'letters, digits, ".", "_" and "-" alone')
  .max(PREFIX_LENGTH_MAX, `at most ${PREFIX_LENGTH_MAX} characters long`);

const trueOrFalse = z.enum(['true', 'false'], 'true or false').transform((text) => text === 'true');

/** Every setting, in the order of the table in docs/operate/settings.md; a test compares the two both ways. */
export const SETTINGS = {
  PORT: withDefault({
    schema: wholeNumber(0, 65_535),
    default: '4000',
    means: 'Port of the api. 0 takes a free one, which the ready line tells.',
    example: '4000',
  }),
  HOST: withDefault({
    schema: z.string().regex(/^[A-Za-z0-9.:_-]+$/, 'an address or a host name'),
    default: '127.0.0.1',
    means: 'Address that the api listens on. 0.0.0.0 is every IPv4 address of the machine.',
    example: '0.0.0.0',
  }),
  PUBLIC_URL: setting({
    schema: z.string().transform((text, context) => {
      const origin = parseOrigin(withoutSlash(text));
      if (origin !== undefined) return origin;
      context.addIssue('an address over http or https without a path');
      return z.NEVER;
    }),
    defaultMeans: 'loopback names and the address that is listened on',
    means: 'Address under which browsers reach the api. Without a token, no other name of this server is answered.',
    example: 'https://chronoverse.example.com',
  }),
  ALLOWED_ORIGINS: setting({
    schema: z.string().transform((text, context) => {
      const origins = text.split(',').map((entry) => parseOrigin(withoutSlash(entry.trim())));
      const known = origins.filter((entry) => entry !== undefined);
      if (known.length === origins.length) return known;
      context.addIssue('origins such as https://app.example.com, with commas between; none stands for all');
      return z.NEVER;
    }),
    defaultMeans: 'none',
    means:
      'Origins of web applications at other addresses whose pages may use the API. Pages of any other are refused.',
    example: 'https://app.example.com,http://localhost:5173',
  }),
  GRAPHIQL: withDefault({
    schema: yesOrNo(),
    default: 'true',
    means: 'Whether browsers that open /graphql are given GraphiQL, to write and run operations in.',
    example: 'false',
  }),
  INTROSPECTION: withDefault({
    schema: yesOrNo(),
    default: 'true',
    means:
      'Whether the schema can be asked for. false also leaves suggestions out of errors. Completion in GraphiQL needs it.',
    example: 'false',
  }),
  TRUST_PROXY: withDefault({
    schema: z.string().transform((text, context) => {
      const proxies = parseTrustedProxies(text);
      if (typeof proxies !== 'string') return proxies;
      context.addIssue(`true, false, a number of proxies, or their networks with commas between. ${proxies}`);
      return z.NEVER;
    }),
    default: 'false',
    means:
      'Whose X-Forwarded-For and X-Forwarded-Proto are believed: networks of your proxies (CIDRs, loopback, private), or how many of them stand in a row before the api, whatever their addresses. true is 1, false is 0.',
    example: '10.20.0.0/16',
  }),
  SIGN_UP: withDefault({
    schema: z.enum(SIGN_UP_MODES, 'open, first or closed'),
    default: 'first',
    means:
      'Who may make an account: open is anybody; first is the first alone, who becomes the administrator; closed is nobody. chronoverse users create makes accounts whatever it says.',
    example: 'open',
  }),
  CONNECTIONS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.connections),
    means: 'How many connections one api process has open at once.',
    example: '20000',
  }),
  CONNECTIONS_PER_ADDRESS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.connectionsPerAddress),
    means:
      'The same of one address; an IPv6 one counts with its /64. Behind a proxy: requests under way and WebSockets of the address that it names.',
    example: '1000',
  }),
  CONNECTIONS_PER_USER_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.connectionsPerUser),
    means: 'How many requests of one user one api process has under way at once.',
    example: '200',
  }),
  ANONYMOUS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.anonymous),
    means:
      'How many requests without a valid token one api process has under way at once, and as many WebSockets whose connection_init had none.',
    example: '200',
  }),
  ANONYMOUS_PER_ADDRESS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.anonymousPerAddress),
    means: 'The same of one address.',
    example: '20',
  }),
  WEBSOCKETS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.webSockets),
    means: 'How many WebSockets one api process has open at once.',
    example: '15000',
  }),
  WEBSOCKETS_PER_ADDRESS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.webSocketsPerAddress),
    means: 'The same of one address.',
    example: '500',
  }),
  WEBSOCKETS_PER_USER_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.webSocketsPerUser),
    means: 'The same of one user.',
    example: '100',
  }),
  STREAMS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.streams),
    means: 'How many subscriptions and downloads one api process has open at once.',
    example: '50000',
  }),
  STREAMS_PER_ADDRESS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.streamsPerAddress),
    means: 'The same of one address.',
    example: '1000',
  }),
  STREAMS_PER_USER_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.streamsPerUser),
    means: 'The same of one user, over WebSockets and HTTP together.',
    example: '500',
  }),
  DATA_DIR: withDefault({
    schema: z.string(),
    default: '.chronoverse',
    means: 'Folder of the embedded PostgreSQL, the generated keys and the demo. Unused when none of them is needed.',
    example: '/var/lib/chronoverse',
  }),
  DATABASE_URL: setting({
    schema: url(['postgres', 'postgresql']).refine(hasKnownTls, DATABASE_TLS),
    defaultMeans: 'embedded PostgreSQL',
    means: 'PostgreSQL 15 or later; with ?sslmode=verify-full by TLS, with its certificate verified.',
    example: 'postgres://chronoverse:PASSWORD@127.0.0.1:5432/chronoverse',
    secret: true,
  }),
  KAFKA_BROKERS: setting({
    schema: z.string().transform((text, context) => {
      const brokers = text.split(',').map((broker) => broker.trim());
      if (brokers.every((broker) => /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/.test(broker) && isPort(broker)))
        return brokers;
      context.addIssue('host:port, or several of them with commas between');
      return z.NEVER;
    }),
    defaultMeans: 'in-process bus',
    means: 'Brokers to begin with, commas between them.',
    example: 'kafka-1:9092,kafka-2:9092',
  }),
  REDIS_URL: setting({
    schema: url(['redis', 'rediss']),
    defaultMeans: 'in-process cache',
    means: 'Redis 6 or later; rediss:// is TLS.',
    example: 'redis://127.0.0.1:6379/0',
    secret: true,
  }),
  DOCKER_HOST: setting({
    schema: url(['unix', 'tcp', 'http', 'https']).refine(isEngine, 'unix:///path/of/its/socket or tcp://host:port'),
    defaultMeans: 'unix:///var/run/docker.sock where it exists',
    means: 'Docker engine. Without one, builds of CONTAINER workflows fail and say so; HEARTBEAT works.',
    example: 'unix:///var/run/docker.sock',
  }),
  ...TLS_SETTINGS,
  KAFKA_TOPIC_PREFIX: withDefault({
    schema: prefix,
    default: '',
    means: 'In front of every topic and consumer group, so that installations can share a broker.',
    example: 'staging.',
  }),
  REDIS_PREFIX: withDefault({
    schema: z.string().max(PREFIX_LENGTH_MAX, `at most ${PREFIX_LENGTH_MAX} characters long`),
    default: '',
    means: 'In front of every key and channel, so that installations can share a Redis.',
    example: 'staging:',
  }),
  SECRET_KEY: setting({
    schema: z
      .string()
      .refine(isSecretKey, '32 bytes in hex (64 digits) or base64 (44 characters)')
      .transform(parseSecretKey),
    defaultMeans: 'generated into DATA_DIR with an embedded database, required otherwise',
    means: 'Encrypts secrets at rest; the same for every process of an installation.',
    example: '$(openssl rand -hex 32)',
    secret: true,
  }),
  SECRET_KEYS_OLD: setting({
    schema: z.string().transform((text, context) => {
      const keys = text.split(',').map((key) => key.trim());
      if (keys.every(isSecretKey)) return keys.map(parseSecretKey);
      context.addIssue('keys like SECRET_KEY, with commas between');
      return z.NEVER;
    }),
    defaultMeans: 'none',
    means: 'Former keys, that still open secrets until chronoverse rotate-secrets has encrypted them under SECRET_KEY.',
    example: '$(cat old.key)',
    secret: true,
  }),
  LOG_LEVEL: withDefault({
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'], 'trace, debug, info, warn, error or fatal'),
    default: 'info',
    means: 'What is logged. The ready line is logged at every level.',
    example: 'debug',
  }),
  LOG_FORMAT: setting({
    schema: z.enum(['pretty', 'json'], 'pretty or json'),
    defaultMeans: 'pretty on a terminal, else json',
    means: 'How the log looks.',
    example: 'json',
  }),
  DEMO_IMAGE: withDefault({
    schema: z
      .string()
      .refine((text) => parseImageReference(text).problem === undefined, 'an image reference like "alpine:3"'),
    default: 'alpine:3',
    means: "Image of the demo's container. One that is on the engine already is not pulled.",
    example: 'busybox:stable',
  }),
  HEARTBEAT_ALLOW: setting({
    schema: z.string().transform((text, context) => {
      const policy = parseAllow(text);
      if (typeof policy !== 'string') return policy;
      context.addIssue(`words (public, private, loopback) and networks with commas between. ${policy}`);
      return z.NEVER;
    }),
    defaultMeans: 'public,private,loopback with an embedded database, else public,private',
    means:
      'Networks that a HEARTBEAT may reach: these words and CIDRs. Link-local and metadata addresses only where a CIDR names them.',
    example: 'public,10.20.0.0/16',
  }),
  REGISTRY_ALLOW: setting({
    schema: z.string().transform((text, context) => {
      const policy = parseRegistryAllow(text);
      if (typeof policy !== 'string') return policy;
      context.addIssue(
        `words (public, private, loopback), networks and names of registries with commas between. ${policy}`,
      );
      return z.NEVER;
    }),
    defaultMeans: 'public,private,loopback with an embedded database, else public',
    means:
      'Registries that the engine may be sent to: names (with their port), and networks by the words and CIDRs of HEARTBEAT_ALLOW. A registry that is named is trusted wherever it is. Link-local and metadata addresses only where a CIDR names them.',
    example: 'public,registry.example:5000',
  }),
  LOCAL_IMAGES: setting({
    schema: z.string().transform((text, context) => {
      const patterns = parseImagePatterns(text);
      if (typeof patterns !== 'string') return patterns;
      context.addIssue(`patterns of images with commas between. ${patterns}`);
      return z.NEVER;
    }),
    defaultMeans: '* with an embedded database, else none',
    means:
      'Images on the engine that every user may use without their registry being asked: names with * for any text, commas between. One that a login has brought there is not among them.',
    example: 'alpine:*,registry.example/base/*',
  }),
  DELETED_RETENTION_DAYS: withDefault({
    schema: wholeNumber(0, DAYS_MAX),
    default: String(DELETED_RETENTION_DAYS),
    means: 'How many days the history of a deleted workflow stays readable by id. 0: it goes at once.',
    example: '30',
  }),
  LOG_RETENTION_DAYS: withDefault({
    schema: wholeNumber(RETENTION_DAYS_MIN, DAYS_MAX),
    default: String(LOG_RETENTION_DAYS),
    means:
      'How many days log lines are kept, counted from the end of their job or build; a workflow may ask for fewer.',
    example: '30',
  }),
  JOB_RETENTION_DAYS: withDefault({
    schema: wholeNumber(1, DAYS_MAX),
    default: String(JOB_RETENTION_DAYS),
    means: 'How many days jobs are kept, counted from their end. What counts in analytics stays.',
    example: '365',
  }),
  AUDIT_RETENTION_DAYS: withDefault({
    schema: wholeNumber(1, DAYS_MAX),
    default: String(AUDIT_RETENTION_DAYS),
    means: 'How many days audit events are kept: who did what, and what was refused.',
    example: '365',
  }),
  API_TOKEN_DAYS_MAX: withDefault({
    schema: wholeNumber(0, DAYS_MAX),
    default: String(API_TOKEN_DAYS_MAX),
    means:
      'How many days an API token is valid at most, from when it is made. 0: for ever, where nobody asks for less.',
    example: '90',
  }),
  MAX_JOB_SECONDS: withDefault({
    schema: wholeNumber(1, 31_536_000),
    default: '86400',
    means: 'The longest time-out that a CONTAINER workflow may ask for.',
    example: '86400',
  }),
  MAX_BUILD_SECONDS: withDefault({
    schema: wholeNumber(1, 86_400),
    default: '3600',
    means: 'How long a build may take, with the pulls of its images.',
    example: '1800',
  }),
  MAX_JOB_LOG_BYTES: withDefault({
    schema: wholeNumber(1_000, ENGINE_LOG_BYTES_MAX / 2),
    default: String(JOB_LOG_BYTES_MAX),
    means:
      'The most that is kept of what one attempt of a job, or of a build, prints: bytes before compression, with about 33 for each line. The log says where it was cut; the job goes on.',
    example: '104857600',
  }),
  MAX_CONTAINER_CPUS: withDefault({
    schema: decimal(0.1, 1_024),
    default: String(CONTAINER_RESOURCES_MAX.cpus),
    means: 'How many CPUs a container may ask for, and get. 1 is what one gets that asks for nothing.',
    example: '0.5',
  }),
  MAX_CONTAINER_MEMORY_MB: withDefault({
    schema: wholeNumber(CONTAINER_MEMORY_MB_MIN, 16_777_216),
    default: String(CONTAINER_RESOURCES_MAX.memoryMb),
    means: 'How much memory a container may ask for, and get. 512 is what one gets that asks for nothing.',
    example: '1024',
  }),
  MAX_CONTAINER_PIDS: withDefault({
    schema: wholeNumber(1, 1_000_000),
    default: String(CONTAINER_RESOURCES_MAX.pids),
    means: 'How many processes and threads a container may ask for, and have. 256 is for one that asks for nothing.',
    example: '512',
  }),
  MAX_CONTAINER_DISK_MB: setting({
    schema: wholeNumber(1, 16_777_216),
    defaultMeans: 'as much as the engine gives',
    means:
      'How much a container may write to its own file system, where the storage driver of the engine can bound it; elsewhere the log warns once.',
    example: '10240',
  }),
  CONTAINER_NETWORKS: withDefault({
    schema: z.string().transform((text, context) => {
      const names = text.split(',').map((name) => CONTAINER_NETWORKS.find((known) => known === name.trim()));
      const known = names.filter((name) => name !== undefined);
      if (known.length === names.length && new Set(known).size === known.length) return known;
      context.addIssue('BRIDGE, NONE, or both with a comma between, each once');
      return z.NEVER;
    }),
    default: 'BRIDGE,NONE',
    means:
      'Networks that a CONTAINER workflow may ask for; the first is for one that asks for none. BRIDGE is a network of its owner alone, with a way out. Builds have the same.',
    example: 'NONE,BRIDGE',
  }),
  BUILDS_ALLOWED: withDefault({
    schema: trueOrFalse,
    default: 'true',
    means: 'Whether CONTAINER workflows may build Dockerfiles. Builds are less confined than jobs.',
    example: 'false',
  }),
  BUILD_CGROUP_PARENT: setting({
    schema: z
      .string()
      .regex(
        /^(\/[A-Za-z0-9_.-]+)+$|^[A-Za-z0-9_.-]+\.slice$/,
        'a path like /chronoverse-builds, or a slice of systemd',
      ),
    defaultMeans: 'a group of each build, where the engine has cgroupfs of version 1; else none',
    means:
      'The cgroup on the host of the engine below which the steps of builds run, so that its bounds hold for them.',
    example: 'chronoverse-builds.slice',
  }),
  CONTAINERS_MAX: withDefault({
    schema: wholeNumber(1, 1_000),
    default: '16',
    means:
      'How many containers one workflow worker runs at once; more wait for their turn. One user alone gets three quarters of them.',
    example: '4',
  }),
  RUNNING_CONTAINERS_PER_USER: withDefault({
    schema: wholeNumber(1, 1_000),
    default: String(RUNNING_PER_USER.containers),
    means: 'How many containers of one user one workflow worker runs at once, at most. More wait for their turn.',
    example: '4',
  }),
  RUNNING_BUILDS_PER_USER: withDefault({
    schema: wholeNumber(1, 4),
    default: String(RUNNING_PER_USER.builds),
    means: 'How many builds of one user one workflow worker runs at once, of its 4. More wait for their turn.',
    example: '1',
  }),
  RUNNING_HEARTBEATS_PER_USER: withDefault({
    schema: wholeNumber(1, 4_000),
    default: String(RUNNING_PER_USER.heartbeats),
    means: 'How many checks of one user one execution worker runs at once, of its 4,000. More wait for their turn.',
    example: '500',
  }),
  QUEUED_CONTAINERS_PER_USER: userLimit({
    name: 'QUEUED_CONTAINERS_PER_USER',
    means: 'How many CONTAINER jobs that one user asked for (runWorkflow) may wait. One more is LIMIT_EXCEEDED.',
    example: '100',
  }),
  QUEUED_HEARTBEATS_PER_USER: userLimit({
    name: 'QUEUED_HEARTBEATS_PER_USER',
    means: 'How many HEARTBEAT jobs that one user asked for (runWorkflow) may wait. One more is LIMIT_EXCEEDED.',
    example: '100',
  }),
  QUEUED_BUILDS_PER_USER: userLimit({
    name: 'QUEUED_BUILDS_PER_USER',
    means: 'How many builds of one user may wait or run. One more is LIMIT_EXCEEDED.',
    example: '20',
  }),
  WORKFLOWS_PER_USER: userLimit({
    name: 'WORKFLOWS_PER_USER',
    means: 'How many workflows one user may have; deleted ones do not count. One more is LIMIT_EXCEEDED.',
    example: '100',
  }),
  VOLUMES_PER_USER: userLimit({
    name: 'VOLUMES_PER_USER',
    means:
      'How many volumes one user may have; those that an engine still has to remove count. One more is LIMIT_EXCEEDED.',
    example: '10',
  }),
  PAYLOAD_BYTES_PER_USER: userLimit({
    name: 'PAYLOAD_BYTES_PER_USER',
    means:
      'How many bytes the stored payloads of one user may have together; those of deleted workflows count until they are purged. More is LIMIT_EXCEEDED.',
    example: '1048576',
  }),
  GENERATIONS_PER_WORKFLOW: userLimit({
    name: 'GENERATIONS_PER_WORKFLOW',
    means:
      'How many generations of one payload are stored: the present one, and those that jobs which have not ended still need. One more is LIMIT_EXCEEDED.',
    example: '10',
  }),
};
export type SettingName = keyof typeof SETTINGS;

function userLimit({ name, ...rest }: { name: UserLimitName; means: string; example: string }) {
  return withDefault({ schema: wholeNumber(1, USER_LIMIT_MAX), default: String(USER_LIMITS[name]), ...rest });
}

function yesOrNo() {
  return z.enum(['true', 'false'], 'true or false').transform((text) => text === 'true');
}

function wholeNumber(min: number, max: number) {
  const wanted = `a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,10}$/, wanted)
    .transform(Number)
    .refine((value) => value >= min && value <= max, wanted);
}

function decimal(min: number, max: number) {
  const wanted = `a number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,10}(\.\d{1,3})?$/, wanted)
    .transform(Number)
    .refine((value) => value >= min && value <= max, wanted);
}

function withoutSlash(url: string): string {
  return url.replace(/\/$/, '');
}

function url(schemes: string[]) {
  const wanted = `a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`;
  return z
    .string()
    .refine((text) => URL.canParse(text) && schemes.includes(new URL(text).protocol.slice(0, -1)), wanted);
}

/** Of a text that ends in a colon and digits. */
function isPort(text: string): boolean {
  const port = Number(text.slice(text.lastIndexOf(':') + 1));
  return port >= 1 && port <= 65_535;
}

/** Whether a DOCKER_HOST names a socket's file or a host, and not only how to get there. */
function isEngine(text: string): boolean {
  if (!URL.canParse(text)) return true; // which is told already
  const { protocol, hostname, port } = new URL(text);
  return protocol === 'unix:' ? /^unix:\/\/\/.*[^/]$/.test(text) : hostname !== '' && port !== '0';
}
