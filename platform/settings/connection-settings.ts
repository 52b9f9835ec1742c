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
};
