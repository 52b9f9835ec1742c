import type { GraphQLError } from 'graphql';
import { CONNECTION_BOUNDS, type ConnectionBounds } from '../../domain/network/connection-bounds.ts';
import { rateLimited } from '../errors.ts';

/** The owner of a place. An address is a key of domain/network/address-key.ts. */
export interface PlaceOwner {
  address?: string;
  userId?: string;
}

/**
 * The limit that is reached. `isOwn`: it is the caller's own, so that ending something of theirs
 * helps.
 */
export interface Full {
  isOwn: boolean;
  message: string;
}

export type Reservation = { full: Full } | { full?: undefined; release: () => void };

interface Limit {
  max: number;
  setting: string;
}

/**
 * Counts what is open of one kind: in total, by address and by user, as far as there are limits. A
 * place counts in all of them or in none. An address may have the same share of the free places as
 * of all, so that those who have many feel scarcity long before the places run out.
 */
export class Places {
  readonly #what: string;
  readonly #limits: { inAll?: Limit; perAddress?: Limit; perUser?: Limit };
  #inAll = 0;
  readonly #ofAddress = new Map<string, number>();
  readonly #ofUser = new Map<string, number>();

  /** `what` is a plural that completes "You have 10 ... open". */
  constructor(what: string, limits: { inAll?: Limit; perAddress?: Limit; perUser?: Limit }) {
    this.#what = what;
    this.#limits = limits;
  }

  /**
   * Takes a place until `release`, which may be called again. Check and reservation are one step.
   */
  take({ address, userId }: PlaceOwner): Reservation {
    const { inAll, perAddress, perUser } = this.#limits;
    if (inAll && this.#inAll >= inAll.max) return { full: this.#full('This process has', inAll, false) };
    const countedAddress = perAddress && address;
    const share = inAll &&
      perAddress && { ...perAddress, max: (perAddress.max * (inAll.max - this.#inAll)) / inAll.max };
    if (isFull(this.#ofAddress, countedAddress, perAddress))
      return { full: this.#full('Your address has', perAddress, true) };
    if (inAll && isFull(this.#ofAddress, countedAddress, share)) return { full: this.#scarce(inAll) };
    const countedUser = perUser && userId;
    if (isFull(this.#ofUser, countedUser, perUser)) return { full: this.#full('You have', perUser, true) };
    this.#count(countedAddress, countedUser, 1);
    // Every socket and stream holds one of these, so it is small.
    let isTaken = true;
    const release = () => {
      if (isTaken) this.#count(countedAddress, countedUser, -1);
      isTaken = false;
    };
    return { release };
  }

  #count(address: string | undefined, userId: string | undefined, change: 1 | -1): void {
    this.#inAll += change;
    add(this.#ofAddress, address, change);
    add(this.#ofUser, userId, change);
  }

  #scarce({ max, setting }: Limit): Full {
    const message = `Your address has its share of the ${this.#what}, because most of those that this process allows are open (${max.toLocaleString('en')}, ${setting}): end one first.`;
    return { isOwn: true, message };
  }

  #full(subject: string, { max, setting }: Limit, isOwn: boolean): Full {
    const advice = isOwn ? 'end one first' : 'try again soon';
    const count = max.toLocaleString('en');
    return { isOwn, message: `${subject} ${count} ${this.#what} open, which is the maximum (${setting}): ${advice}.` };
  }
}

function isFull(counts: Map<string, number>, key: string | undefined, limit: Limit | undefined): limit is Limit {
  return limit !== undefined && key !== undefined && (counts.get(key) ?? 0) >= limit.max;
}

function add(counts: Map<string, number>, key: string | undefined, change: 1 | -1): void {
  if (key === undefined) return;
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

export type AllPlaces = ReturnType<typeof createPlaces>;

/** All limits of one process. */
export function createPlaces(given: Partial<ConnectionBounds> = {}) {
  const max = { ...CONNECTION_BOUNDS, ...given };
  const anonymous = {
    inAll: { max: max.anonymous, setting: 'ANONYMOUS_MAX' },
    perAddress: { max: max.anonymousPerAddress, setting: 'ANONYMOUS_PER_ADDRESS_MAX' },
  };
  return {
    connections: new Places('connections', {
      inAll: { max: max.connections, setting: 'CONNECTIONS_MAX' },
      perAddress: { max: max.connectionsPerAddress, setting: 'CONNECTIONS_PER_ADDRESS_MAX' },
    }),
    /**
     * For clients behind a proxy: requests under way and WebSockets, as if each had a connection.
     */
    clients: new Places('connections', {
      perAddress: { max: max.connectionsPerAddress, setting: 'CONNECTIONS_PER_ADDRESS_MAX' },
    }),
    requests: new Places('requests', { perUser: { max: max.connectionsPerUser, setting: 'CONNECTIONS_PER_USER_MAX' } }),
    anonymousRequests: new Places('requests without a valid token', anonymous),
    // Separate, because they last and must not take the places of people who sign in.
    anonymousSockets: new Places('WebSockets without a token', anonymous),
    webSockets: new Places('WebSockets', {
      inAll: { max: max.webSockets, setting: 'WEBSOCKETS_MAX' },
      perAddress: { max: max.webSocketsPerAddress, setting: 'WEBSOCKETS_PER_ADDRESS_MAX' },
    }),
    webSocketsOfUsers: new Places('WebSockets', {
      perUser: { max: max.webSocketsPerUser, setting: 'WEBSOCKETS_PER_USER_MAX' },
    }),
    streams: new Places('streams', {
      inAll: { max: max.streams, setting: 'STREAMS_MAX' },
      perAddress: { max: max.streamsPerAddress, setting: 'STREAMS_PER_ADDRESS_MAX' },
      perUser: { max: max.streamsPerUser, setting: 'STREAMS_PER_USER_MAX' },
    }),
  };
}

/** The HTTP status for a limit that is reached. */
export function statusOf({ isOwn }: Full): 429 | 503 {
  return isOwn ? 429 : 503;
}

/** When to try again for a place: it is free when a connection or a stream ends. */
export const FULL_RETRY_AFTER_SECONDS = 5;

/** The GraphQL error for it. */
export function failureOf(full: Full): GraphQLError {
  return rateLimited(full.message, { status: statusOf(full), retryAfterSeconds: FULL_RETRY_AFTER_SECONDS });
}
