import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKafkaBus } from '../../platform/bus/kafka.ts';
import type { KafkaAddress } from '../../platform/bus/kafka-client.ts';
import { type Authority, fileIn, makeAuthority } from '../support/certificates.ts';
import { requirePart } from '../support/parts.ts';
import { steadyPort } from '../support/ports.ts';
import { hasCommand, type OwnServer, ownBrokerOf } from '../support/servers.ts';
import { until } from '../support/time.ts';

const [PASSWORD, USER] = ['the password of ann', 'ann'];

// This file starts its own broker. A run without Kafka may lack Java and the jars.
const isMissing =
  requirePart('kafka', 'TLS and SASL at a Kafka broker') === undefined ||
  !(await hasCommand('openssl', 'TLS to Kafka'));
describe.skipIf(isMissing)('a Kafka broker reached by TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  let broker: OwnServer;
  let ports: { client: number; sasl: number };
  beforeAll(async () => {
    [authority, stranger] = [await makeAuthority(), await makeAuthority('Another authority')];
    ports = { client: await steadyPort(), sasl: await steadyPort() };
    const dir = await mkdtemp(join(tmpdir(), 'chronoverse-broker-'));
    const { cert, key } = authority.issue('broker', ['IP:127.0.0.1']);
    const keystore = await fileIn(authority, 'broker-keystore.pem', `${key}${cert}`);
    const [port, controllerPort] = [await steadyPort(), await steadyPort()];
    const module = (name: string) => `org.apache.kafka.common.security.${name} required`;
    const listeners = [
      `PLAINTEXT://127.0.0.1:${port}`,
      `MUTUAL://127.0.0.1:${ports.client}`,
      `SIGNED://127.0.0.1:${ports.sasl}`,
    ];
    broker = await ownBrokerOf({
      dir,
      port,
      controllerPort,
      clusterId: randomBytes(16).toString('base64url'),
      properties: [
        `listeners=${listeners.join(',')},CONTROLLER://127.0.0.1:${controllerPort}`,
        `advertised.listeners=${listeners.join(',')}`,
        'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MUTUAL:SSL,SIGNED:SASL_SSL',
        'listener.name.mutual.ssl.client.auth=required',
        'ssl.keystore.type=PEM',
        `ssl.keystore.location=${keystore}`,
        'ssl.truststore.type=PEM',
        `ssl.truststore.location=${authority.caFile}`,
        'sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
        `listener.name.signed.plain.sasl.jaas.config=${module('plain.PlainLoginModule')} user_${USER}="${PASSWORD}";`,
        `listener.name.signed.scram-sha-256.sasl.jaas.config=${module('scram.ScramLoginModule')};`,
        `listener.name.signed.scram-sha-512.sasl.jaas.config=${module('scram.ScramLoginModule')};`,
      ],
      scramUsers: ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map((name) => `${name}=[name=${USER},password=${PASSWORD}]`),
    });
    await broker.start();
  });
  afterAll(async () => {
    await broker?.close();
    await Promise.all([authority?.close(), stranger?.close()]);
  });

  /**
   * The log of a process with these settings, and whether a message that it publishes comes back to
   * it.
   */
  async function tryBus(port: number, options: Pick<KafkaAddress, 'tls' | 'sasl'>) {
    const logged: string[] = [];
    const log = pino(
      { level: 'warn' },
      { write: (line: string) => void logged.push(String(JSON.parse(line).err?.message)) },
    );
    const topicPrefix = `tls-${randomBytes(4).toString('hex')}.`;
    const bus = await createKafkaBus({
      brokers: [`127.0.0.1:${port}`],
      clientId: 'test',
      topicPrefix,
      log,
      ...options,
    });
    try {
      if (!(await bus.isUp())) return await until('it says why', async () => logged.length > 0 && logged);
      const arrived = new Promise<string>((resolve) => {
        void bus.consume({
          topic: 'workflows',
          group: 'test',
          concurrency: 1,
          onBatch: async (messages) => resolve(messages.map(String).join()),
        });
      });
      await bus.publish('workflows', [{ value: Buffer.from('over TLS') }]);
      return await arrived;
    } finally {
      await bus.close();
    }
  }

  test('carries messages for a client whose certificate it knows', async () => {
    const { cert, key } = authority.issue('client', ['DNS:client.test']);
    expect(await tryBus(ports.client, { tls: { ca: authority.ca, cert, key } })).toBe('over TLS');
  });

  test.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
    'carries messages for a user who signs in by %s',
    async (mechanism) => {
      const sasl = { mechanism, username: USER, password: PASSWORD };
      expect(await tryBus(ports.sasl, { tls: { ca: authority.ca }, sasl })).toBe('over TLS');
    },
  );

  test('is not used, or refuses us, if one side does not trust the other: a message says what to set', async () => {
    const sasl = { mechanism: 'plain', username: USER, password: PASSWORD } as const;
    const wrong = { mechanism: 'scram-sha-512', username: USER, password: 'not hers' } as const;
    const { cert, key } = stranger.issue('client', ['DNS:client.test']);
    const cases: [number, Pick<KafkaAddress, 'tls' | 'sasl'>, RegExp][] = [
      [
        ports.sasl,
        { tls: {}, sasl },
        /^Kafka at 127\.0\.0\.1:\d+ cannot be used\. Its .*certificate.* Set KAFKA_TLS_CA to/,
      ],
      [ports.sasl, { tls: { ca: stranger.ca }, sasl }, /Set KAFKA_TLS_CA to/],
      [ports.client, { tls: { ca: authority.ca } }, /KAFKA_TLS_CERT and KAFKA_TLS_KEY/],
      [ports.client, { tls: { ca: authority.ca, cert, key } }, /KAFKA_TLS_CERT and KAFKA_TLS_KEY/],
      [
        ports.sasl,
        { tls: { ca: authority.ca }, sasl: { ...sasl, password: 'not hers' } },
        /refuses our user, password or mechanism/,
      ],
      [ports.sasl, { tls: { ca: authority.ca }, sasl: wrong }, /check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME/],
      [ports.sasl, { tls: { ca: authority.ca } }, /set KAFKA_SASL_USERNAME/],
      [ports.client, {}, /set KAFKA_TLS/],
    ];
    const said = await Promise.all(cases.map(async ([port, options]) => (await tryBus(port, options))[0]));
    for (const [index, [, , expected]] of cases.entries()) expect(said[index]).toMatch(expected);
    expect(said.join()).not.toMatch(/not hers|password of ann/);
  });
});
