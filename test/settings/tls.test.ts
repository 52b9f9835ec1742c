import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSettings, SettingsError } from '../../platform/settings/parse.ts';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts';
import { hasCommand } from '../support/servers.ts';

function problemsIn(env: Record<string, string>): string[] {
  try {
    parseSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('TLS to PostgreSQL', () => {
  test.each(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])('takes sslmode=%s', (mode) => {
    expect(problemsIn({ DATABASE_URL: `postgres://a:b@db/c?sslmode=${mode}` })).toEqual([]);
  });

  test.each(['sslmode=verify', 'sslmode=', 'sslmode=verify-full&sslrootcert=/ca.pem', 'sslkey=/key.pem'])(
    'refuses %s',
    (query) => {
      expect(problemsIn({ DATABASE_URL: `postgres://a:secret@db/c?${query}` })).toEqual([
        expect.stringMatching(
          /^DATABASE_URL is set, but it must be a URL whose sslmode is one of disable, .* DATABASE_TLS_CA/,
        ),
      ]);
    },
  );
});

describe('signing in at Kafka', () => {
  test('needs a user and a password, and uses scram-sha-512 unless another mechanism is named', () => {
    const user = { KAFKA_SASL_USERNAME: 'ann', KAFKA_SASL_PASSWORD: 'pass word' };
    expect(parseSettings(user).settings.kafkaSasl).toEqual({
      mechanism: 'scram-sha-512',
      username: 'ann',
      password: 'pass word',
    });
    expect(parseSettings({ ...user, KAFKA_SASL_MECHANISM: 'plain' }).settings.kafkaSasl?.mechanism).toBe('plain');
    expect(parseSettings({}).settings).toMatchObject({ kafkaSasl: undefined, kafkaTls: undefined });
    const needs = 'signing in at Kafka needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD.';
    expect(problemsIn({ KAFKA_SASL_USERNAME: 'ann' })).toEqual([`KAFKA_SASL_PASSWORD is missing: ${needs}`]);
    expect(problemsIn({ KAFKA_SASL_PASSWORD: 'x' })).toEqual([`KAFKA_SASL_USERNAME is missing: ${needs}`]);
    expect(problemsIn({ KAFKA_SASL_MECHANISM: 'plain' })).toEqual([`KAFKA_SASL_USERNAME is missing: ${needs}`]);
    expect(problemsIn({ ...user, KAFKA_SASL_MECHANISM: 'gssapi' })).toEqual([
      'KAFKA_SASL_MECHANISM is "gssapi": it must be plain, scram-sha-256 or scram-sha-512, for example KAFKA_SASL_MECHANISM=scram-sha-256',
    ]);
  });
});

/** The addresses of parts that use TLS. */
const REACHED = {
  DATABASE_URL: 'postgres://a:b@db/c?sslmode=verify-full',
  REDIS_URL: 'rediss://redis:6379',
  DOCKER_HOST: 'tcp://engine:2376',
};

const isMissing = !(await hasCommand('openssl', 'settings with certificates'));
describe.skipIf(isMissing)('certificates in settings', () => {
  let authority: Authority;
  let own: Certificate;
  let other: Certificate;
  beforeAll(async () => {
    authority = await makeAuthority();
    [own, other] = [authority.issue('own', ['DNS:own.test']), authority.issue('other', ['DNS:other.test'])];
  });
  afterAll(() => authority?.close());

  test.each(['DATABASE', 'KAFKA', 'REDIS', 'DOCKER'])(
    'of %s are taken as PEM text, several authorities too',
    (part) => {
      const { settings } = parseSettings({
        ...REACHED,
        [`${part}_TLS_CA`]: `${authority.ca}${other.cert}`,
        [`${part}_TLS_CERT`]: own.cert,
        [`${part}_TLS_KEY`]: own.key,
      });
      const name = `${part.toLowerCase()}Tls`;
      expect(settings).toMatchObject({ [name]: { ca: `${authority.ca}${other.cert}`, cert: own.cert, key: own.key } });
    },
  );

  test.each([
    ['DATABASE', { DATABASE_URL: 'postgres://a:b@db/c?sslmode=disable' }],
    ['DATABASE', { DATABASE_URL: 'postgres://a:b@db/c?sslmode=prefer' }],
    ['REDIS', { REDIS_URL: 'redis://redis:6379' }],
    ['DOCKER', { DOCKER_HOST: 'unix:///var/run/docker.sock' }],
    ['DOCKER', { DOCKER_HOST: 'http://engine:2375' }],
    ['DOCKER', {}],
  ])('of %s are refused where the connection is not TLS: %j', (part, env) => {
    expect(problemsIn({ ...env, [`${part}_TLS_CA`]: authority.ca })).toEqual([
      expect.stringMatching(new RegExp(`^${part}_TLS_CA or ${part}_TLS_CERT is set, but`)),
    ]);
  });

  test("that are invalid, lack their key or have another certificate's key are refused, and no key is shown", () => {
    expect(problemsIn({ ...REACHED, REDIS_TLS_CA: '/etc/ssl/ca.pem' })).toEqual([
      expect.stringMatching(
        /^REDIS_TLS_CA is "\/etc\/ssl\/ca\.pem": it must be .*it holds no "-----BEGIN CERTIFICATE-----"/,
      ),
    ]);
    expect(problemsIn({ ...REACHED, REDIS_TLS_CA: own.cert.replace('MII', 'MIJ') })).toEqual([
      expect.stringContaining('cannot be read'),
    ]);
    expect(problemsIn({ ...REACHED, DOCKER_TLS_CERT: own.cert })).toEqual([
      'DOCKER_TLS_CERT is set without its private key: set DOCKER_TLS_KEY too.',
    ]);
    expect(problemsIn({ ...REACHED, DOCKER_TLS_KEY: own.key })).toEqual([
      'DOCKER_TLS_KEY is set without its certificate: set DOCKER_TLS_CERT too.',
    ]);
    const mixed = problemsIn({ KAFKA_TLS_CERT: own.cert, KAFKA_TLS_KEY: other.key });
    expect(mixed).toEqual([
      expect.stringMatching(/^KAFKA_TLS_KEY is not the private key of the first certificate in KAFKA_TLS_CERT/),
    ]);
    const broken = problemsIn({ KAFKA_TLS_CERT: own.cert, KAFKA_TLS_KEY: own.key.slice(0, 80) });
    expect(broken.join()).toMatch(/KAFKA_TLS_KEY is set, but it must be a private key/);
    expect([...mixed, ...broken].join()).not.toContain(own.key.slice(30, 70));
    expect(problemsIn({ KAFKA_TLS: 'false', KAFKA_TLS_CA: authority.ca })).toEqual([
      expect.stringMatching(/^KAFKA_TLS is false, but/),
    ]);
    expect(parseSettings({ KAFKA_TLS: 'true' }).settings.kafkaTls).toEqual({});
  });
});
