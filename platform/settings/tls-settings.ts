import { z } from 'zod';
import { certificateProblem, isKeyOf, privateKeyProblem, type TlsMaterial } from '../pem.ts';
import { parseDatabaseUrl } from '../postgres/address.ts';
import { trueOrFalse } from './setting.ts';

/** The parts that support TLS, by the prefix of their settings. */
export const TLS_PARTS = {
  DATABASE: 'PostgreSQL',
  KAFKA: 'Kafka',
  REDIS: 'Redis',
  DOCKER: 'the Docker engine',
} as const;
export type TlsPart = keyof typeof TLS_PARTS;

function certificates(wanted: string) {
  return pem(wanted, certificateProblem);
}

function privateKey() {
  return pem('a private key in PEM form, without a passphrase', privateKeyProblem);
}

function pem(wanted: string, problemOf: (text: string) => string | undefined) {
  return z.string().transform((text, context) => {
    const problem = problemOf(text);
    if (problem === undefined) return text;
    context.addIssue(`${wanted} (${problem})`);
    return z.NEVER;
  });
}

const AUTHORITIES = 'the certificates of authorities in PEM form';
const OWN = 'a certificate in PEM form';

function settingsOf<Part extends TlsPart>(part: Part) {
  const title = TLS_PARTS[part];
  const key = part.toLowerCase();
  return {
    ca: {
      schema: certificates(AUTHORITIES),
      defaultMeans: 'the authorities that Node trusts',
      means: `Certificates of the authorities that sign the certificate of ${title}, in PEM form. Give the file in ${part}_TLS_CA_FILE.`,
      example: '"$(cat ca.pem)"',
    },
    cert: {
      schema: certificates(OWN),
      defaultMeans: 'none',
      means: `A client certificate for ${title}, in PEM form, if it asks for one. Give the file in ${part}_TLS_CERT_FILE.`,
      example: `"$(cat ${key}-client.pem)"`,
    },
    key: {
      schema: privateKey(),
      defaultMeans: 'none',
      means: `The private key of ${part}_TLS_CERT, in PEM form. Give the file in ${part}_TLS_KEY_FILE.`,
      example: `"$(cat ${key}-client.key)"`,
      secret: true,
    },
  };
}

const database = settingsOf('DATABASE');
const kafka = settingsOf('KAFKA');
const redis = settingsOf('REDIS');
const docker = settingsOf('DOCKER');

/** TLS settings of the parts, and authentication at Kafka. */
export const TLS_SETTINGS = {
  DATABASE_TLS_CA: database.ca,
  DATABASE_TLS_CERT: database.cert,
  DATABASE_TLS_KEY: database.key,
  KAFKA_TLS: {
    schema: trueOrFalse(),
    defaultMeans: 'true if KAFKA_TLS_CA or KAFKA_TLS_CERT is set, else false',
    means: 'Whether connections to the brokers use TLS. Their certificates are always verified.',
    example: 'true',
  },
  KAFKA_TLS_CA: kafka.ca,
  KAFKA_TLS_CERT: kafka.cert,
  KAFKA_TLS_KEY: kafka.key,
  KAFKA_SASL_MECHANISM: {
    schema: z.enum(['plain', 'scram-sha-256', 'scram-sha-512'], 'plain, scram-sha-256 or scram-sha-512'),
    defaultMeans: 'scram-sha-512 if KAFKA_SASL_USERNAME is set, else none',
    means: 'How the brokers check user and password. plain sends the password unprotected: use it with TLS only.',
    example: 'scram-sha-256',
  },
  KAFKA_SASL_USERNAME: {
    schema: z.string(),
    defaultMeans: 'none',
    means: 'The user to sign in with at the brokers.',
    example: 'chronoverse',
  },
  KAFKA_SASL_PASSWORD: {
    schema: z.string(),
    defaultMeans: 'none',
    means: 'The password of KAFKA_SASL_USERNAME.',
    example: 'PASSWORD',
    secret: true,
  },
  REDIS_TLS_CA: redis.ca,
  REDIS_TLS_CERT: redis.cert,
  REDIS_TLS_KEY: redis.key,
  DOCKER_TLS_CA: docker.ca,
  DOCKER_TLS_CERT: docker.cert,
  DOCKER_TLS_KEY: docker.key,
};

export interface KafkaSasl {
  mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  username: string;
  password: string;
}

/** The TLS material of one part. Undefined if none is set. Adds contradictions to `problems`. */
export function tlsMaterial(
  part: TlsPart,
  { ca, cert, key }: { [Name in keyof TlsMaterial]: string | undefined },
  problems: string[],
): TlsMaterial | undefined {
  const [certName, keyName] = [`${part}_TLS_CERT`, `${part}_TLS_KEY`];
  if (cert !== undefined && key === undefined)
    problems.push(`${certName} is set without its private key: set ${keyName} too.`);
  if (key !== undefined && cert === undefined)
    problems.push(`${keyName} is set without its certificate: set ${certName} too.`);
  if (cert !== undefined && key !== undefined && !isKeyOf(key, cert)) {
    problems.push(
      `${keyName} is not the private key of the first certificate in ${certName}: give the two that belong together.`,
    );
  }
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** How to sign in at Kafka. Undefined if not set. Adds contradictions to `problems`. */
export function kafkaSasl(
  { mechanism, username, password }: { [Name in keyof KafkaSasl]: KafkaSasl[Name] | undefined },
  problems: string[],
): KafkaSasl | undefined {
  if (username !== undefined && password !== undefined) {
    return { mechanism: mechanism ?? 'scram-sha-512', username, password };
  }
  const isSet = mechanism !== undefined || username !== undefined || password !== undefined;
  const missing = username === undefined ? 'KAFKA_SASL_USERNAME' : 'KAFKA_SASL_PASSWORD';
  if (isSet)
    problems.push(`${missing} is missing: signing in at Kafka needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD.`);
  return undefined;
}

/**
 * Finds certificates for a connection without TLS, which would otherwise go unencrypted unnoticed.
 */
export function unusedTls(given: {
  databaseUrl?: string | undefined;
  databaseTls?: TlsMaterial | undefined;
  redisUrl?: string | undefined;
  redisTls?: TlsMaterial | undefined;
  dockerHost?: string | undefined;
  dockerTls?: TlsMaterial | undefined;
}): string[] {
  const { databaseUrl, databaseTls, redisUrl, redisTls, dockerHost, dockerTls } = given;
  const address = databaseUrl === undefined ? undefined : parseDatabaseUrl(databaseUrl);
  const mode = typeof address === 'object' ? address.sslmode : 'disable';
  const problems: string[] = [];
  if (databaseTls && mode !== undefined && ['disable', 'allow', 'prefer'].includes(mode))
    problems.push(
      'DATABASE_TLS_CA or DATABASE_TLS_CERT is set, but DATABASE_URL asks for no verified TLS: give it ?sslmode=verify-full.',
    );
  if (redisTls && !redisUrl?.startsWith('rediss:'))
    problems.push('REDIS_TLS_CA or REDIS_TLS_CERT is set, but REDIS_URL is not TLS: begin it with rediss://.');
  if (dockerTls && !/^(tcp|https):/.test(dockerHost ?? ''))
    problems.push(
      'DOCKER_TLS_CA or DOCKER_TLS_CERT is set, but DOCKER_HOST is not reached by TLS: begin it with tcp:// or https://.',
    );
  return problems;
}
