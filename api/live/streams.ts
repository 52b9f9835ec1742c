import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import type { Identity } from '../../db/tokens.ts';
import { findValidTokens } from '../../db/tokens.ts';
import { failure } from '../errors.ts';

export type StreamEnd = 'TOKEN' | 'SHUTDOWN';

/** What is open under a token: sockets and streams. One query now and then finds the tokens that are valid no more. */
export interface Streams {
  /** `end` is called once at most: when the token is not valid any more, or the process goes down. */
  open(tokenId: string | undefined, end: (reason: StreamEnd) => void): () => void;
  /** The same for what has a connection of its own over HTTP, of which a user may have so many. Throws RATE_LIMITED. */
  openOverHttp(viewer: Identity, end: (reason: StreamEnd) => void): () => void;
  /** Ends all that is open. */
  close(): void;
}

export function createStreams(db: Db, log: Logger): Streams {
  const open = new Map<(reason: StreamEnd) => void, string | undefined>();
  const counts = new Map<string, number>(); // over HTTP, by user
  let checking = false;

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

  const timer = setInterval(() => {
    if (checking) return;
    checking = true;
    endRevoked()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'The tokens of open streams could not be checked; they are again soon.'),
      )
      .finally(() => {
        checking = false;
      });
  }, CHECK_MS);
  timer.unref();

  function add(tokenId: string | undefined, end: (reason: StreamEnd) => void): () => void {
    const entry = (reason: StreamEnd) => end(reason);
    open.set(entry, tokenId);
    return () => open.delete(entry);
  }

  return {
    open: add,
    openOverHttp({ tokenId, user: { id } }, end) {
      const count = counts.get(id) ?? 0;
      if (count >= STREAMS_PER_USER_MAX)
        throw failure(
          'RATE_LIMITED',
          `You have ${count} streams and downloads open here, which is the most: end one first, or subscribe over a WebSocket, which takes many subscriptions.`,
          { http: { status: 429 } },
        );
      counts.set(id, count + 1);
      const remove = add(tokenId, end);
      let isOpen = true;
      return () => {
        if (!isOpen) return;
        isOpen = false;
        remove();
        const left = (counts.get(id) ?? 0) - 1;
        if (left > 0) counts.set(id, left);
        else counts.delete(id);
      };
    },
    close() {
      clearInterval(timer);
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
