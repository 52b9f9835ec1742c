import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Kafka, logLevel, type SASLOptions } from 'kafkajs';
import type { Logger } from 'pino';
import type { TlsMaterial } from '../pem.ts';
import type { KafkaSasl } from '../settings/tls-settings.ts';
import './kafka-timers.ts';

const CONNECT_TIMEOUT_MS = 3_000;
/**
 * For requests that do not wait at the broker, as a join or a long poll does. A broker that answers
 * more slowly counts as away.
 */
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

export interface KafkaAddress {
  brokers: string[];
  clientId: string;
  /** Undefined if the connections do not use TLS. */
  tls?: TlsMaterial | undefined;
  sasl?: KafkaSasl | undefined;
}

export interface KafkaClient {
  kafka: Kafka;
  /**
   * Closes connections that the client forgot. It forgets some after an outage, and they would keep
   * the process alive.
   */
  destroy(): void;
}

/**
 * The client of a cluster. `retries` says how often a request is sent again before it fails: 5
 * retries take about 2 s.
 */
export function createKafkaClient(
  { brokers, clientId, tls, sasl }: KafkaAddress,
  log: Logger,
  retries: number,
): KafkaClient {
  const sockets = new Set<Socket>();
  const kafka = new Kafka({
    brokers: brokers.map(withoutColons),
    clientId,
    ...(sasl === undefined ? {} : { sasl: saslOptions(sasl) }),
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry: { retries, initialRetryTime: 100, maxRetryTime: 1_000, restartOnFailure: async () => false },
    // Small requests follow each other here. Waiting for an acknowledgement between them costs up
    // to 40 ms.
    socketFactory: ({ host: name, port, onConnect }) => {
      const host = withColons(name);
      const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
      const server = isIP(host) === 0 ? { servername: host } : {};
      const socket =
        tls === undefined ? connectTcp(options, onConnect) : connectTls({ ...options, ...server, ...tls }, onConnect);
      sockets.add(socket);
      // The client listens too, but not to a connection that it forgot.
      socket.on('error', () => {});
      return socket.once('close', () => sockets.delete(socket));
    },
    logLevel: log.isLevelEnabled('debug') ? logLevel.INFO : logLevel.NOTHING,
    // The bus itself logs an outage, once. The client's messages about each try help to investigate
    // one.
    logCreator:
      () =>
      ({ namespace, level, log: { message, timestamp: _, logger: __, ...details } }) =>
        log[level <= logLevel.WARN ? 'debug' : 'trace']({ ...details }, `kafkajs ${namespace}: ${message}`),
  });
  return {
    kafka,
    destroy() {
      // Without an error, the client would keep the timer of the connection.
      for (const socket of sockets) socket.destroy(new Error('The bus is closed.'));
    },
  };
}

/** The client takes a broker apart at its first colon. So an IPv6 address gets a name meanwhile. */
const IPV6_SUFFIX = '.ipv6-literal.invalid';

function withoutColons(broker: string): string {
  const [, address, port] = /^\[(.+)\]:(\d+)$/.exec(broker) ?? [];
  return address === undefined ? broker : `${address.replaceAll(':', '-')}${IPV6_SUFFIX}:${port}`;
}

function withColons(name: string): string {
  return name.endsWith(IPV6_SUFFIX) ? name.slice(0, -IPV6_SUFFIX.length).replaceAll('-', ':') : name;
}

function saslOptions({ mechanism, username, password }: KafkaSasl): SASLOptions {
  switch (mechanism) {
    case 'plain':
      return { mechanism, username, password };
    case 'scram-sha-256':
      return { mechanism, username, password };
    case 'scram-sha-512':
      return { mechanism, username, password };
  }
}
