import { CONNECTION_BOUNDS } from '../../domain/network/connection-bounds.ts';
import { wholeNumber, withDefault } from './setting.ts';

const COUNT_MAX = 1_000_000;

/** How many connections, WebSockets and streams one api process has open at once. */
export const CONNECTION_SETTINGS = {
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
      'How many connections one address has open; an IPv6 /64 counts as one address. Behind a proxy: running requests and WebSockets of the address that it names.',
    example: '1000',
  }),
  CONNECTIONS_PER_USER_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.connectionsPerUser),
    means: 'How many requests of one user one api process runs at once.',
    example: '200',
  }),
  ANONYMOUS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.anonymous),
    means:
      'How many requests without a valid token one api process runs at once. As many WebSockets without a token in connection_init may be open besides.',
    example: '200',
  }),
  ANONYMOUS_PER_ADDRESS_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.anonymousPerAddress),
    means: 'How many requests without a valid token of one address one api process runs at once.',
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
    means: 'How many WebSockets one address has open on one api process.',
    example: '500',
  }),
  WEBSOCKETS_PER_USER_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.webSocketsPerUser),
    means: 'How many WebSockets one user has open on one api process.',
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
    means: 'How many subscriptions and downloads one address has open on one api process.',
    example: '1000',
  }),
  STREAMS_PER_USER_MAX: withDefault({
    schema: wholeNumber(1, COUNT_MAX),
    default: String(CONNECTION_BOUNDS.streamsPerUser),
    means: 'How many subscriptions and downloads one user has, over WebSockets and HTTP together.',
    example: '500',
  }),
};
