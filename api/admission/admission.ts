import type { IncomingMessage } from 'node:http';
import { LRUCache } from 'lru-cache';
import type { Identity } from '../../db/accounts/tokens.ts';
import { REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { failure } from '../errors.ts';
import { FairTurns, tooManyRequests } from './fair-semaphore.ts';

/** Who asks, as far as turns and bounds are concerned. */
export interface Asker {
  /** The user, or the address of a caller who is not signed in. */
  key: string;
  isAnonymous: boolean;
  /** The user, where one is known. */
  userId?: string;
}

/**
 * Bounds on what one caller makes the process do and hold at the same time. A caller who is signed in shares with nobody but themselves; all
 * callers who are not share a small part of the process.
 */
export interface Admission {
  /** Counts a request of a caller who is not signed in. Throws RATE_LIMITED. */
  count(asker: Asker): void;
  /** A turn to parse and execute what came in `length` characters, with what ends it. Rejects with RATE_LIMITED. */
  turn(asker: Asker, length: number): Promise<() => void>;
  /** A turn for an operation of a high cost. */
  expensiveTurn(asker: Asker): Promise<() => void>;
  /** Counts what is held for the caller until what is returned is called. Throws RATE_LIMITED. */
  hold(asker: Asker, bytes: number): () => void;
}

/** Who cannot be looked up is a stranger until they can: else any text in the form of a token would pass the bounds while the database is away. */
export async function askerOf(identity: Promise<Identity | undefined>, address: string): Promise<Asker> {
  const key = addressKey(address);
  try {
    const viewer = await identity;
    return viewer ? { key: viewer.user.id, isAnonymous: false, userId: viewer.user.id } : { key, isAnonymous: true };
  } catch {
    return { key, isAnonymous: true }; // what failed is told where the identity is needed
  }
}

export function createAdmission(): Admission {
  // A thousand subscribers of one user may begin at once; what they hold meanwhile is bounded by itself.
  const ofUsers = new FairTurns({ atOnce: 64, perKey: 16, waiting: 8_192, waitingPerKey: 2_048 });
  const ofAnonymous = new FairTurns({
    atOnce: 2,
    perKey: 1,
    waiting: 256,
    waitingPerKey: 100,
    restMsMin: ANONYMOUS_REST_MS,
  });
  const ofLarge = new FairTurns({
    atOnce: 1,
    perKey: 1,
    waiting: 8,
    waitingPerKey: 1,
    restMsMin: ANONYMOUS_LARGE_REST_MS,
  });
  const ofExpensive = new FairTurns({ atOnce: 2, perKey: 1, waiting: 1_024, waitingPerKey: 64, restMsMin: 0 });
  const held = new HeldBytes(HELD_BYTES_PER_USER_MAX);
  const heldByAddress = new HeldBytes(HELD_BYTES_PER_ADDRESS_MAX);
  const buckets = new LRUCache<string, { left: number; at: number }>({ max: ADDRESSES_MAX });

  return {
    count({ key, isAnonymous }) {
      if (!isAnonymous) return;
      const now = performance.now();
      const bucket = buckets.get(key) ?? { left: ANONYMOUS_REQUESTS_AT_ONCE_MAX, at: now };
      const refilled = bucket.left + ((now - bucket.at) / 1_000) * ANONYMOUS_REQUESTS_PER_SECOND;
      const left = Math.min(ANONYMOUS_REQUESTS_AT_ONCE_MAX, refilled);
      buckets.set(key, { left: Math.max(0, left - 1), at: now });
      if (left < 1 || ofAnonymous.isFull(key)) throw tooManyRequests(); // before its body is read
    },
    turn: ({ key, isAnonymous }, length) =>
      (isAnonymous ? (length > ANONYMOUS_LENGTH ? ofLarge : ofAnonymous) : ofUsers).take(key),
    expensiveTurn: ({ key, isAnonymous }) => ofExpensive.take(isAnonymous ? 'anonymous' : key),
    hold({ key, isAnonymous }, bytes) {
      // Strangers have no bound in common here: what one announces, and does not send, would keep all others out. What has come is bounded by
      // api/admission/connections.ts, which cuts the one that holds most.
      return isAnonymous ? heldByAddress.hold(key, bytes) : held.hold(key, bytes);
    },
  };
}

/** How many bytes a request's body takes at most, as far as its head tells. */
export function bodyBytes({ headers, method }: IncomingMessage): number {
  if (method === 'GET' || method === 'HEAD') return 0;
  const told = Number(headers['content-length']);
  return Number.isSafeInteger(told) && told >= 0 ? Math.min(told, REQUEST_BYTES_MAX) : REQUEST_BYTES_MAX;
}

/** Of one address: a page that loads sends some at once, and then hardly any. */
export const ANONYMOUS_REQUESTS_AT_ONCE_MAX = 300;
export const ANONYMOUS_REQUESTS_PER_SECOND = 20;
const ADDRESSES_MAX = 20_000;
const ANONYMOUS_REST_MS = 10;
/** What is longer than signing in or a look at the schema needs waits longer for its turn. */
const ANONYMOUS_LENGTH = 32 * 1024;
const ANONYMOUS_LARGE_REST_MS = 200;
export const HELD_BYTES_PER_USER_MAX = 16 * 1024 * 1024;
const HELD_BYTES_PER_ADDRESS_MAX = 4 * 1024 * 1024;

/** How many bytes are held for whom, within a bound for each key. */
class HeldBytes {
  readonly #max: number;
  readonly #held = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts `bytes` until what is returned is called. Throws RATE_LIMITED where they do not fit. */
  hold(key: string, bytes: number): () => void {
    const held = this.#held.get(key) ?? 0;
    if (held + bytes > this.#max) {
      throw failure(
        'RATE_LIMITED',
        `Your open requests and subscriptions hold ${this.#max} bytes, which is all that they may: end some, or send shorter ones.`,
        { http: { status: 429 } },
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
