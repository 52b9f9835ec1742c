import type { IncomingMessage } from 'node:http';
import type { Identity } from '../../db/accounts/tokens.ts';
import { REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { rateLimited } from '../errors.ts';
import { Buckets } from './buckets.ts';
import { FairSemaphore, tooManyRequests } from './fair-semaphore.ts';

/** The caller, as far as turns and limits are concerned. */
export interface Asker {
  /** The user, or the address of a caller who is not signed in. */
  key: string;
  isAnonymous: boolean;
  /** The user, if one is known. */
  userId?: string;
}

/**
 * Limits what one caller makes the process do and hold at the same time. Each user has limits of
 * their own; all callers who are not signed in share a small part of the process.
 */
export interface Admission {
  /** Counts a request of a caller who is not signed in. Throws RATE_LIMITED. */
  count(asker: Asker): void;
  /** Counts a ping of this address whose token nobody has. */
  countStranger(address: string): void;
  /** For how many seconds no more such pings of this address are served. */
  waitOfStranger(address: string): number;
  /**
   * Waits for a turn to parse and execute a message of `length` characters. Resolves with the
   * function that ends the turn. Rejects with RATE_LIMITED.
   */
  turn(asker: Asker, length: number): Promise<() => void>;
  /** Waits for a turn for an expensive operation. */
  expensiveTurn(asker: Asker): Promise<() => void>;
  /** Waits for a turn to hold a connection of the database for the length of an answer. */
  snapshotTurn(asker: Asker): Promise<() => void>;
  /**
   * Counts bytes that are held for the caller, until the returned function is called. Throws
   * RATE_LIMITED.
   */
  hold(asker: Asker, bytes: number): () => void;
}

/**
 * Identifies the caller. If the database is down, everyone counts as anonymous: otherwise any text
 * in the form of a token would get past the limits.
 */
export async function askerOf(identity: Promise<Identity | undefined>, address: string): Promise<Asker> {
  const key = addressKey(address);
  try {
    const viewer = await identity;
    return viewer ? { key: viewer.user.id, isAnonymous: false, userId: viewer.user.id } : { key, isAnonymous: true };
  } catch {
    return { key, isAnonymous: true }; // the failure is reported where the identity is needed
  }
}

export function createAdmission(): Admission {
  // A thousand subscriptions of one user may begin at once. What they hold meanwhile has a limit of
  // its own.
  const ofUsers = new FairSemaphore({ places: 64, perKey: 16, waiting: 8_192, waitingPerKey: 2_048 });
  const ofAnonymous = new FairSemaphore({
    places: 2,
    perKey: 1,
    waiting: 256,
    waitingPerKey: 100,
    restMsMin: ANONYMOUS_REST_MS,
  });
  const ofLarge = new FairSemaphore({
    places: 1,
    perKey: 1,
    waiting: 8,
    waitingPerKey: 1,
    restMsMin: ANONYMOUS_LARGE_REST_MS,
  });
  const ofExpensive = new FairSemaphore({ places: 2, perKey: 1, waiting: 1_024, waitingPerKey: 64, restMsMin: 0 });
  // The events of all subscriptions of a user may wait, and are limited by their number.
  const ofSnapshots = new FairSemaphore({
    places: SNAPSHOTS_AT_ONCE,
    perKey: SNAPSHOTS_PER_USER_AT_ONCE,
    waiting: 65_536,
    waitingPerKey: 16_384,
  });
  const held = new HeldBytes(HELD_BYTES_PER_USER_MAX);
  const heldByAddress = new HeldBytes(HELD_BYTES_PER_ADDRESS_MAX);
  const requests = new Buckets({
    atOnce: ANONYMOUS_REQUESTS_AT_ONCE_MAX,
    perSecond: ANONYMOUS_REQUESTS_PER_SECOND,
    keysMax: ADDRESSES_MAX,
  });
  const strangers = new Buckets({
    atOnce: UNKNOWN_PINGS_AT_ONCE_MAX,
    perSecond: UNKNOWN_PINGS_PER_SECOND,
    keysMax: ADDRESSES_MAX,
  });

  return {
    count({ key, isAnonymous }) {
      if (!isAnonymous) return;
      // Refused before its body is read.
      if (!requests.take(key) || ofAnonymous.isFull(key)) throw tooManyRequests();
    },
    countStranger: (address) => void strangers.take(address),
    waitOfStranger: (address) => strangers.waitSeconds(address),
    turn: ({ key, isAnonymous }, length) =>
      (isAnonymous ? (length > ANONYMOUS_LENGTH ? ofLarge : ofAnonymous) : ofUsers).acquire(key),
    expensiveTurn: ({ key, isAnonymous }) => ofExpensive.acquire(isAnonymous ? 'anonymous' : key),
    snapshotTurn: ({ key }) => ofSnapshots.acquire(key),
    hold({ key, isAnonymous }, bytes) {
      // Anonymous callers share no limit here: bytes that one declares and does not send would
      // keep out all others. Bytes that have arrived are limited by api/admission/connections.ts,
      // which cuts the connection that holds most.
      return isAnonymous ? heldByAddress.hold(key, bytes) : held.hold(key, bytes);
    },
  };
}

/** How many bytes the body of a request takes at most, by its headers. */
export function bodyBytes({ headers, method }: IncomingMessage): number {
  if (method === 'GET' || method === 'HEAD') return 0;
  const declared = Number(headers['content-length']);
  return Number.isSafeInteger(declared) && declared >= 0 ? Math.min(declared, REQUEST_BYTES_MAX) : REQUEST_BYTES_MAX;
}

/** Requests of one address at once: a page that loads sends some, and then hardly any. */
export const ANONYMOUS_REQUESTS_AT_ONCE_MAX = 300;
export const ANONYMOUS_REQUESTS_PER_SECOND = 20;
/** Pings of one address at once whose tokens nobody has: a script with an old URL sends some. */
export const UNKNOWN_PINGS_AT_ONCE_MAX = 60;
const UNKNOWN_PINGS_PER_SECOND = 0.1;
const ADDRESSES_MAX = 20_000;
const ANONYMOUS_REST_MS = 10;
/** A longer message than sign-in or introspection needs waits longer for its turn. */
const ANONYMOUS_LENGTH = 32 * 1024;
const ANONYMOUS_LARGE_REST_MS = 200;
export const HELD_BYTES_PER_USER_MAX = 16 * 1024 * 1024;
const HELD_BYTES_PER_ADDRESS_MAX = 4 * 1024 * 1024;

/** Half of the api's pool (bin/database.ts): the rest is for everything else. */
const SNAPSHOTS_AT_ONCE = 5;
const SNAPSHOTS_PER_USER_AT_ONCE = 2;

/** Counts held bytes by key, within a limit for each key. */
class HeldBytes {
  readonly #max: number;
  readonly #held = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Counts `bytes` until the returned function is called. Throws RATE_LIMITED if they do not fit.
   */
  hold(key: string, bytes: number): () => void {
    const held = this.#held.get(key) ?? 0;
    if (held + bytes > this.#max) {
      throw rateLimited(
        `Your open requests and subscriptions hold ${this.#max} bytes, which is the maximum: end some of them, or send shorter ones.`,
        { status: 429 },
      );
    }
    this.#held.set(key, held + bytes);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const left = (this.#held.get(key) ?? 0) - bytes;
      if (left > 0) this.#held.set(key, left);
      else this.#held.delete(key);
    };
  }
}
