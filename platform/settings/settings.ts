import { z } from 'zod';
import { isEmail, SIGN_UP_MODES } from '../../domain/account/account-input.ts';
import { parseImageReference } from '../../domain/images/image-reference.ts';
import { parseImagePatterns, parseRegistryAllow } from '../../domain/images/registry-allow.ts';
import {
  API_TOKEN_DAYS_MAX,
  AUDIT_RETENTION_DAYS,
  DELETED_RETENTION_DAYS,
  IMAGE_RETENTION_DAYS,
  JOB_RETENTION_DAYS,
  LOG_RETENTION_DAYS,
  MUTATIONS_PER_USER_PER_HOUR,
  NOTIFICATION_RETENTION_DAYS,
  RETENTION_DAYS_MIN,
} from '../../domain/limits.ts';
import { parseHostAndPort } from '../../domain/network/host-port.ts';
import { parseAllow } from '../../domain/network/networks.ts';
import { parseTrustedProxies } from '../../domain/network/trusted-proxies.ts';
import { parseOrigin } from '../../domain/network/web-address.ts';
import { isSecretKey, parseSecretKey } from '../secret-key.ts';
import { CONNECTION_SETTINGS } from './connection-settings.ts';
import { JOB_SETTINGS } from './job-settings.ts';
import { setting, trueOrFalse, wholeNumber, withDefault } from './setting.ts';
import { TLS_SETTINGS } from './tls-settings.ts';
import { databaseUrl, engineUrl, redisUrl, smtpUrl, webUrl } from './urls.ts';

const DAYS_MAX = 36_500;
const PREFIX_LENGTH_MAX = 100;
const CONNECTIVITY_TARGETS_MAX = 10;
/** Kafka allows 249 characters in the name of a topic, and Chronoverse needs some of them. */
const prefix = z
  .string()
  .regex(/^[A-Za-z0-9._-]*$/, 'letters, digits, ".", "_" and "-" alone')
  .max(PREFIX_LENGTH_MAX, `at most ${PREFIX_LENGTH_MAX} characters long`);

/** Every setting, in the order of docs/operate/settings.md. A test compares the two. */
export const SETTINGS = {
  PORT: withDefault({
    schema: wholeNumber(0, 65_535),
    default: '4000',
    means: "The api's port. With 0 it takes a free one, which the ready line names.",
    example: '4000',
  }),
  HOST: withDefault({
    schema: z.string().regex(/^[A-Za-z0-9.:_-]+$/, 'an address or a host name'),
    default: '127.0.0.1',
    means: 'The address on which the api listens. 0.0.0.0 means every IPv4 address of the machine.',
    example: '0.0.0.0',
  }),
  PUBLIC_URL: setting({
    schema: z.string().transform((text, context) => {
      const origin = parseOrigin(withoutSlash(text));
      if (origin !== undefined) return origin;
      context.addIssue('an address over http or https without a path');
      return z.NEVER;
    }),
    defaultMeans: 'loopback names and the listening address',
    means: 'The address under which browsers reach the api. Without a token, the api answers under no other name.',
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
      'Origins of web applications at other addresses whose pages may use the api. Pages of other origins are refused.',
    example: 'https://app.example.com,http://localhost:5173',
  }),
  GRAPHIQL: withDefault({
    schema: trueOrFalse(),
    default: 'true',
    means: 'Whether a browser that opens /graphql gets GraphiQL, in which to write and run operations.',
    example: 'false',
  }),
  INTROSPECTION: withDefault({
    schema: trueOrFalse(),
    default: 'true',
    means:
      'Whether clients can query the schema. false also removes suggestions from errors. Completion in GraphiQL needs it.',
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
      'Whose X-Forwarded-For and X-Forwarded-Proto the api trusts: networks of your proxies (CIDRs, loopback, private), or how many proxies stand in front of the api, whatever their addresses. true is 1, false is 0.',
    example: '10.20.0.0/16',
  }),
  SIGN_UP: withDefault({
    schema: z.enum(SIGN_UP_MODES, 'open, first or closed'),
    default: 'first',
    means:
      'Who may create an account: open is anybody, first is the first person only, who becomes the administrator, closed is nobody. chronoverse users create works in every mode.',
    example: 'open',
  }),
  ...CONNECTION_SETTINGS,
  DATA_DIR: withDefault({
    schema: z.string().refine(isFolder, 'the path of a folder, as it is: without quotes, ~ or $ that a shell replaces'),
    default: '.chronoverse',
    means: 'The folder of the embedded PostgreSQL, the generated keys and the demo. Unused if none of them is needed.',
    example: '/var/lib/chronoverse',
  }),
  DATABASE_URL: setting({
    schema: databaseUrl(),
    defaultMeans: 'embedded PostgreSQL',
    means: 'PostgreSQL 15 or later. ?sslmode=verify-full uses TLS and verifies the certificate.',
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
    means: 'The first brokers to connect to, separated by commas.',
    example: 'kafka-1:9092,kafka-2:9092',
  }),
  REDIS_URL: setting({
    schema: redisUrl(),
    defaultMeans: 'in-process cache',
    means: 'Redis 6 or later. rediss:// uses TLS.',
    example: 'redis://127.0.0.1:6379/0',
    secret: true,
  }),
  DOCKER_HOST: setting({
    schema: engineUrl(),
    defaultMeans: 'unix:///var/run/docker.sock if it exists',
    means: 'The Docker engine. Without one, builds and jobs of CONTAINER workflows wait; HEARTBEAT works.',
    example: 'unix:///var/run/docker.sock',
  }),
  ...TLS_SETTINGS,
  KAFKA_TOPIC_PREFIX: withDefault({
    schema: prefix,
    default: '',
    means: 'Stands in front of every topic and consumer group, so that installations can share a broker.',
    example: 'staging.',
  }),
  REDIS_PREFIX: withDefault({
    schema: z.string().max(PREFIX_LENGTH_MAX, `at most ${PREFIX_LENGTH_MAX} characters long`),
    default: '',
    means: 'Stands in front of every key and channel, so that installations can share a Redis.',
    example: 'staging:',
  }),
  SECRET_KEY: setting({
    schema: z
      .string()
      .refine(isSecretKey, '32 bytes in hex (64 digits) or base64 (44 characters)')
      .transform(parseSecretKey),
    defaultMeans: 'generated into DATA_DIR with an embedded database, otherwise required',
    means: 'Encrypts secrets at rest. Give every process of an installation the same one.',
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
    means:
      'Former keys, separated by commas. They still decrypt secrets until chronoverse rotate-secrets has encrypted these under SECRET_KEY.',
    example: '$(cat old.key)',
    secret: true,
  }),
  LOG_LEVEL: withDefault({
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'], 'trace, debug, info, warn, error or fatal'),
    default: 'info',
    means: 'The least severe level that is logged. The ready line is logged at every level.',
    example: 'debug',
  }),
  LOG_FORMAT: setting({
    schema: z.enum(['pretty', 'json'], 'pretty or json'),
    defaultMeans: 'pretty on a terminal, else json',
    means: 'The format of the log.',
    example: 'json',
  }),
  DEMO_IMAGE: withDefault({
    schema: z
      .string()
      .refine((text) => parseImageReference(text).problem === undefined, 'an image reference like "alpine:3"'),
    default: 'alpine:3',
    means: "The image of the demo's container. An image that is on the engine already is not pulled.",
    example: 'busybox:stable',
  }),
  ALERT_WEBHOOK: setting({
    schema: webUrl(),
    defaultMeans: 'none: the demo shows no alerts',
    means: 'A URL of yours to which the demo sends an alert and the end of its incident.',
    example: 'http://127.0.0.1:8080/',
    secret: true,
  }),
  HEARTBEAT_ALLOW: setting({
    schema: networks(),
    defaultMeans: 'public,private,loopback with an embedded database, else public,private',
    means:
      'Networks that a HEARTBEAT may reach: public, private, loopback and CIDRs. Link-local and metadata addresses need a CIDR.',
    example: 'public,10.20.0.0/16',
  }),
  CONNECTIVITY_TARGETS: setting({
    schema: z.string().transform((text, context) => {
      const targets = text.split(',').map((one) => parseHostAndPort(one.trim()));
      const known = targets.filter((one) => one !== undefined);
      if (known.length === targets.length && known.length <= CONNECTIVITY_TARGETS_MAX) return known;
      context.addIssue(`at most ${CONNECTIVITY_TARGETS_MAX} names or addresses, each with a port, with commas between`);
      return z.NEVER;
    }),
    defaultMeans: 'none: the worker decides by its gateway and by its other checks',
    means:
      'Services outside that accept TCP connections. When a HEARTBEAT reaches nothing and none of them accepts either, the fault is the network of the worker, not of the workflow. HEARTBEAT_ALLOW does not concern them.',
    example: '1.1.1.1:443,9.9.9.9:443,gateway.example:22',
  }),
  ALERT_ALLOW: setting({
    schema: networks(),
    defaultMeans: 'public,private,loopback with an embedded database, else public,private',
    means:
      'Networks that alert channels may reach, in the words of HEARTBEAT_ALLOW. The server of SMTP_URL is always reached.',
    example: 'public,10.20.0.0/16',
  }),
  SMTP_URL: setting({
    schema: smtpUrl(),
    defaultMeans: 'none: there are no alerts by e-mail',
    means:
      'The server that takes e-mail. smtps:// uses TLS from the start; smtp:// uses it where the server offers it, and with ?requireTLS=true always.',
    example: 'smtp://USER:PASSWORD@mail.example.com:587?requireTLS=true',
    secret: true,
  }),
  MAIL_FROM: setting({
    schema: z
      .string()
      .transform((text) => text.trim())
      .refine(isSender, 'an address, or a name and an address in angle brackets'),
    defaultMeans: 'none: there are no alerts by e-mail',
    means: 'The sender of e-mail, as the server of SMTP_URL accepts it.',
    example: 'Chronoverse <alerts@example.com>',
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
      'Registries that the engine may contact: names (with their port), and networks by the words and CIDRs of HEARTBEAT_ALLOW. A named registry is trusted wherever it is. Link-local and metadata addresses need a CIDR.',
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
      'Images on the engine that every user may use without asking their registry: names, with * for any text, separated by commas. An image that came with a login is excluded.',
    example: 'alpine:*,registry.example/base/*',
  }),
  IMAGE_RETENTION_DAYS: withDefault({
    schema: wholeNumber(0, DAYS_MAX),
    default: String(IMAGE_RETENTION_DAYS),
    means:
      'How many days an image that a workflow has pulled stays on the engine after its last use, once no workflow needs it. With 0 it stays forever.',
    example: '7',
  }),
  DELETED_RETENTION_DAYS: withDefault({
    schema: wholeNumber(0, DAYS_MAX),
    default: String(DELETED_RETENTION_DAYS),
    means:
      'How many days the history of a deleted workflow stays readable by id. With 0 the next sweep removes it, within seconds.',
    example: '30',
  }),
  LOG_RETENTION_DAYS: withDefault({
    schema: wholeNumber(RETENTION_DAYS_MIN, DAYS_MAX),
    default: String(LOG_RETENTION_DAYS),
    means: 'How many days log lines are kept after the end of their job or build. A workflow can ask for fewer.',
    example: '30',
  }),
  JOB_RETENTION_DAYS: withDefault({
    schema: wholeNumber(1, DAYS_MAX),
    default: String(JOB_RETENTION_DAYS),
    means: 'How many days jobs are kept after their end. Analytics still count them.',
    example: '365',
  }),
  AUDIT_RETENTION_DAYS: withDefault({
    schema: wholeNumber(1, DAYS_MAX),
    default: String(AUDIT_RETENTION_DAYS),
    means: 'How many days audit events are kept: who did what, and what was refused.',
    example: '365',
  }),
  NOTIFICATION_RETENTION_DAYS: withDefault({
    schema: wholeNumber(1, DAYS_MAX),
    default: String(NOTIFICATION_RETENTION_DAYS),
    means: 'How many days notifications are kept, read or not.',
    example: '30',
  }),
  API_TOKEN_DAYS_MAX: withDefault({
    schema: wholeNumber(0, DAYS_MAX),
    default: String(API_TOKEN_DAYS_MAX),
    means: 'How many days an API token is valid at most. With 0 it is valid forever, unless its owner asks for less.',
    example: '90',
  }),
  MUTATIONS_PER_USER_PER_HOUR: withDefault({
    schema: wholeNumber(1, 1_000_000_000),
    default: String(MUTATIONS_PER_USER_PER_HOUR),
    means:
      'How many mutations one user may call in an hour. More are RATE_LIMITED, except those that end tokens and sessions.',
    example: '100000',
  }),
  ...JOB_SETTINGS,
};
export type SettingName = keyof typeof SETTINGS;

/** Networks that users may reach. */
function networks() {
  return z.string().transform((text, context) => {
    const policy = parseAllow(text);
    if (typeof policy !== 'string') return policy;
    context.addIssue(`words (public, private, loopback) and networks with commas between. ${policy}`);
    return z.NEVER;
  });
}

function withoutSlash(url: string): string {
  return url.replace(/\/$/, '');
}

/** Whether it is one address, alone or behind a name. */
function isSender(text: string): boolean {
  const [, name = '', address = text] = /^([^<>\p{Cc}]*)<([^<>]*)>$/u.exec(text) ?? [];
  return name.length <= PREFIX_LENGTH_MAX && isEmail(address);
}

/** Whether it is a path, and not what only a shell would turn into one. */
function isFolder(text: string): boolean {
  return text === text.trim() && !/^(["'~]|\$[({A-Z])/.test(text);
}

/** Whether the digits behind the last colon are a port. */
function isPort(text: string): boolean {
  const port = Number(text.slice(text.lastIndexOf(':') + 1));
  return port >= 1 && port <= 65_535;
}
