import type { Logger } from 'pino';
import type { Identity } from '../../db/accounts/tokens.ts';
import { findValidTokens } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import { failureOf, type Places } from '../admission/places.ts';
import { failure } from '../errors.ts';

export type StreamEnd = 'TOKEN' | 'SHUTDOWN';

/** What is open under a token: sockets and streams. One query now and then finds the tokens that are valid no more. */
export interface Streams {
  /** `end` is called once at most: when the token is not valid any more, or the process goes down. */
  open(tokenId: string | undefined, end: (reason: StreamEnd) => void): () => void;
  /** The same for a stream that has a connection of its own over HTTP, of which a user may have so many. Throws RATE_LIMITED. */
  openOverHttp(who: Viewer, end: (reason: StreamEnd) => void): () => void;
  /** Counts a stream of a WebSocket, which ends with that. Throws RATE_LIMITED. */
  openOnSocket(who: Viewer): () => void;
  /** Ends all that is open. */
  close(): void;
}

/** Whose stream it is, and the key of the address that it goes to. */
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

  /** Those of a connection of their own: an unread one costs more than one of many on a socket. */
  function takeOverHttp({ user: { id } }: Identity): () => void {
    const count = counts.get(id) ?? 0;
    if (count >= STREAMS_PER_USER_MAX)
      throw failure(
        'RATE_LIMITED',
        `You have ${count} streams and downloads open here, which is the most: end one first, or subscribe over a WebSocket, which takes many subscriptions.`,
        { http: { status: 429 } },
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
      void stopChecking(); // a query that is under way ends by itself
      for (const end of [...open.keys()]) {
        open.delete(end);
        end('SHUTDOWN');
      }
    },
  };
}

/** Of subscriptions over SSE and downloads on one process. One that is not read costs up to 2 MB. */
export const STREAMS_PER_USER_MAX = 200;
const CHECK_MS = 2_000; // the contract allows 5 s from the end of a token to the end of what is open under it
