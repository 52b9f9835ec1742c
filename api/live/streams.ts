import type { Logger } from 'pino';
import type { Identity } from '../../db/accounts/tokens.ts';
import { findValidTokens } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import { FULL_RETRY_AFTER_SECONDS, failureOf, type Places } from '../admission/places.ts';
import { rateLimited } from '../errors.ts';

export type StreamEnd = 'TOKEN' | 'SHUTDOWN';

/**
 * Tracks the sockets and streams that are open under a token. A query every few seconds finds the
 * tokens that are no longer valid.
 */
export interface Streams {
  /** Calls `end` at most once: when the token is no longer valid, or the process shuts down. */
  open(tokenId: string | undefined, end: (reason: StreamEnd) => void): () => void;
  /**
   * The same for a stream on its own HTTP connection, which are limited for each user. Throws
   * RATE_LIMITED.
   */
  openOverHttp(who: Viewer, end: (reason: StreamEnd) => void): () => void;
  /** Counts a stream on a WebSocket, which ends with the socket. Throws RATE_LIMITED. */
  openOnSocket(who: Viewer): () => void;
  /** Ends everything that is open. */
  close(): void;
}

/** The user and the address of a stream. */
export interface Viewer {
  viewer: Identity | undefined;
  address: string;
}

export function createStreams(db: Db, log: Logger, places: Places): Streams {
  const open = new Map<(reason: StreamEnd) => void, string | undefined>();
  const counts = new Map<string, number>(); // over HTTP, by user

  async function endRevoked(): Promise<void> {
    const ids = [...new Set(open.values())].filter((id) => id !== undefined);
    if (ids.length === 0) return;
    const valid = await findValidTokens(db, ids);
    const asked = new Set(ids);
    for (const [end, tokenId] of open) {
      if (tokenId === undefined || !asked.has(tokenId) || valid.has(tokenId)) continue;
      open.delete(end);
      end('TOKEN');
    }
  }

  const stopChecking = startRepeating(
    { log, what: 'Checking the tokens of open streams', everyMs: CHECK_MS, maxMs: CHECK_MS, waitsFirst: true },
    endRevoked,
  );

  function add(tokenId: string | undefined, end: (reason: StreamEnd) => void): () => void {
    const entry = (reason: StreamEnd) => end(reason);
    open.set(entry, tokenId);
    return () => open.delete(entry);
  }

  function take({ viewer, address }: Viewer): () => void {
    const place = places.take({ address: addressKey(address), userId: viewer?.user.id });
    if (place.full) throw failureOf(place.full);
    return place.release;
  }

  /**
   * Limits streams on their own connections: an unread one costs more than one of many on a socket.
   */
  function takeOverHttp({ user: { id } }: Identity): () => void {
    const count = counts.get(id) ?? 0;
    if (count >= STREAMS_PER_USER_MAX)
      throw rateLimited(
        `You have ${count} streams and downloads open here, which is the maximum: end one first, or subscribe over a WebSocket, which takes many subscriptions.`,
        { status: 429, retryAfterSeconds: FULL_RETRY_AFTER_SECONDS },
      );
    counts.set(id, count + 1);
    return () => {
      const left = (counts.get(id) ?? 0) - 1;
      if (left > 0) counts.set(id, left);
      else counts.delete(id);
    };
  }

  return {
    open: add,
    openOverHttp(who, end) {
      const release = take(who);
      let releaseOwn = () => {};
      try {
        if (who.viewer) releaseOwn = takeOverHttp(who.viewer);
      } catch (error) {
        release();
        throw error;
      }
      const remove = add(who.viewer?.tokenId, end);
      let isOpen = true;
      return () => {
        if (!isOpen) return;
        isOpen = false;
        remove();
        releaseOwn();
        release();
      };
    },
    openOnSocket: take,
    close() {
      void stopChecking(); // a query under way ends by itself
      for (const end of [...open.keys()]) {
        open.delete(end);
        end('SHUTDOWN');
      }
    },
  };
}

/**
 * Subscriptions over SSE and downloads of one user on one process. An unread one costs up to 2 MB.
 */
export const STREAMS_PER_USER_MAX = 200;
const CHECK_MS = 2_000; // streams must end within 5 s after their token
