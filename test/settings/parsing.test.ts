import { describe, expect, test } from 'vitest';
import { isAllowed } from '../../domain/network/networks.ts';
import { parseSettings, SettingsError } from '../../platform/settings/parse.ts';
import type { Setting } from '../../platform/settings/setting.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';

function problemsIn(env: Record<string, string>): string[] {
  try {
    parseSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('settings', () => {
  test('have the defaults of the documents', () => {
    expect(parseSettings({}).settings).toMatchObject({
      port: 4000,
      host: '127.0.0.1',
      dataDir: '.chronoverse',
      databaseUrl: undefined,
      logLevel: 'info',
      demoImage: 'alpine:3',
      imageRetentionDays: 30,
      deletedRetentionDays: 30,
      jobRetentionDays: 365,
      maxJobSeconds: 86_400,
      maxBuildSeconds: 3_600,
      maxJobLogBytes: 1_073_741_824,
      logRetentionDays: 30,
      maxResources: { cpus: 4, memoryMb: 4_096, pids: 4_096 },
    });
  });

  test('report their names, what is wrong and an example, all at once', () => {
    expect(problemsIn({ PORT: '99999', LOG_LEVEL: 'loud', KAFKA_BROKERS: 'kafka' })).toEqual([
      'PORT is "99999": it must be a whole number from 0 to 65535, for example PORT=4000',
      'KAFKA_BROKERS is "kafka": it must be host:port, or several of them with commas between, for example KAFKA_BROKERS=kafka-1:9092,kafka-2:9092',
      'LOG_LEVEL is "loud": it must be trace, debug, info, warn, error or fatal, for example LOG_LEVEL=debug',
    ]);
  });

  test.each([
    ['PORT', '-1'],
    ['PORT', '4000.5'],
    ['PORT', '0x10'],
    ['DATABASE_URL', 'mysql://127.0.0.1/x'],
    ['DATABASE_URL', 'not a url'],
    ['REDIS_URL', 'localhost:6379'],
    ['SHARED_NETWORKS', 'host'],
    ['SHARED_NETWORKS', 'a,a'],
    ['SHARED_NETWORKS', 'container:x'],
    ['CONTAINER_CAPABILITIES', 'CAP_CHOWN'],
    ['CONTAINER_CAPABILITIES', 'CHOWN,'],
    ['PORT', '65536'],
    ['PORT', ' 80'],
    ['PORT', '1e3'],
    ['KAFKA_BROKERS', 'kafka:65536'],
    ['KAFKA_BROKERS', 'kafka-1:9092,kafka-2:0'],
    ['REDIS_URL', 'redis://127.0.0.1:65536'],
    ['DOCKER_HOST', '/var/run/docker.sock'],
    ['DOCKER_HOST', 'unix://'],
    ['DOCKER_HOST', 'unix:///'],
    ['DOCKER_HOST', 'unix://docker.sock'],
    ['DOCKER_HOST', 'unix:///var/run/docker.sock/'],
    ['DOCKER_HOST', 'tcp://'],
    ['DOCKER_HOST', 'tcp://:2375'],
    ['DOCKER_HOST', 'tcp://127.0.0.1:65536'],
    ['DOCKER_HOST', 'tcp://127.0.0.1:0'],
    ['DEMO_IMAGE', 'Alpine:3'],
    ['DEMO_IMAGE', 'alpine:'],
    ['DEMO_IMAGE', 'https://hub.docker.com/_/alpine'],
    ['DEMO_IMAGE', 'alpine@sha256:12'],
    ['ALERT_WEBHOOK', '127.0.0.1:8080'],
    ['ALERT_WEBHOOK', 'ftp://127.0.0.1/'],
    ['PUBLIC_URL', 'chronoverse.example.com'],
    ['PUBLIC_URL', 'https://chronoverse.example.com/path'],
    ['PUBLIC_URL', 'https://user@chronoverse.example.com'],
    ['ALLOWED_ORIGINS', '*'],
    ['ALLOWED_ORIGINS', 'null'],
    ['ALLOWED_ORIGINS', 'https://a.example,'],
    ['TRUST_PROXY', 'public'],
    ['TRUST_PROXY', '11'],
    ['GRAPHIQL', 'yes'],
    ['INTROSPECTION', '0'],
    ['SECRET_KEY', 'abcd'],
    ['LOG_RETENTION_DAYS', '0'],
    ['MAX_JOB_LOG_BYTES', '999'],
    ['MAX_JOB_LOG_BYTES', '8589934593'],
    ['HEARTBEAT_ALLOW', 'pubic'],
    ['ALERT_ALLOW', 'pubic'],
    ['MAIL_FROM', 'nobody'],
    ['MAIL_FROM', 'A\r\nBcc: x@example.com <a@example.com>'],
    ['MAIL_FROM', 'a@example.com, b@example.com'],
    ['CONNECTIVITY_TARGETS', 'example.com'],
    ['CONNECTIVITY_TARGETS', '192.0.2.1:443,[2001:db8::1]'],
    ['CONNECTIVITY_TARGETS', Array.from({ length: 11 }, (_, n) => `192.0.2.${n}:443`).join()],
    ['REGISTRY_ALLOW', 'pubic'],
    ['REGISTRY_ALLOW', 'https://ghcr.io'],
    ['LOCAL_IMAGES', 'alpine:3@sha256:12'],
    ['KAFKA_TOPIC_PREFIX', 'a b'],
    ['MAX_JOB_SECONDS', '0'],
    ['LOG_FORMAT', 'xml'],
  ])('%s cannot be %s', (name, text) => {
    const problems = problemsIn({ [name]: text });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name} .*must be .*, for example ${name}=`));
  });

  test('read origins in their canonical form', () => {
    const env = {
      PUBLIC_URL: 'HTTPS://Example.com.:443/',
      ALLOWED_ORIGINS: 'https://a.example/, http://[0:0::1]:5173',
    };
    expect(parseSettings(env).settings).toMatchObject({
      publicUrl: 'https://example.com',
      allowedOrigins: ['https://a.example', 'http://[::1]:5173'],
    });
  });

  test.each(['unix:///run/user/1000/docker.sock', 'tcp://127.0.0.1', 'tcp://[::1]:2375', 'https://docker.example'])(
    'DOCKER_HOST can be %s',
    (text) => expect(problemsIn({ DOCKER_HOST: text })).toEqual([]),
  );

  test('are never repeated if they contain a secret', () => {
    const secret = 'hunter2hunter2';
    const problems = problemsIn({
      SECRET_KEY: secret,
      DATABASE_URL: `mysql://u:${secret}@h/d`,
      REDIS_URL: `http://:${secret}@h`,
    });
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain(secret);
  });

  test('accept their own examples', () => {
    const all: [string, Setting<unknown>][] = Object.entries(SETTINGS);
    // The other examples are shell commands.
    const plain = all.filter(([, { example }]) => !example.includes('$('));
    // Some settings require others.
    expect(problemsIn(Object.fromEntries(plain.map(([name, { example }]) => [name, example])))).toEqual([]);
  });

  test('accept a key in hex and in base64', () => {
    const key = Buffer.alloc(32, 7);
    for (const encoding of ['hex', 'base64'] as const) {
      expect(parseSettings({ SECRET_KEY: key.toString(encoding) }).settings.secretKey).toEqual(key);
    }
  });

  test('count as absent if they are empty', () => {
    expect(parseSettings({ PORT: '', DATABASE_URL: '' }).settings).toMatchObject({
      port: 4000,
      databaseUrl: undefined,
    });
  });

  test('let a HEARTBEAT reach loopback only with the embedded database', () => {
    const embedded = parseSettings({}).settings.heartbeatAllow;
    const shared = parseSettings({ DATABASE_URL: 'postgres://db/x' }).settings.heartbeatAllow;
    expect([isAllowed(embedded, '127.0.0.1'), isAllowed(shared, '127.0.0.1')]).toEqual([true, false]);
  });

  test('that a command needs are named if they are missing', () => {
    expect(() => parseSettings({}, ['KAFKA_BROKERS'])).toThrow(
      /^KAFKA_BROKERS is missing .* for example KAFKA_BROKERS=/,
    );
  });
});
