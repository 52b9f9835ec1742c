import type { IncomingMessage, ServerResponse } from 'node:http';

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

export interface OneAtATime {
  handle: Handle;
  /** Whether a request of this connection is under way. */
  isBusy(socket: IncomingMessage['socket']): boolean;
}

/**
 * `handle`, for one request of a connection at a time. HTTP lets a client send the next ones before the answers come, and Node begins them all
 * at once: one connection would run hundreds of queries and downloads, of which only the first can be read.
 */
export function oneAtATime(handle: Handle): OneAtATime {
  const waiting = new WeakMap<IncomingMessage['socket'], (() => void)[]>(); // of connections that have a request under way
  function inTurn(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const run = () => {
      response.once('close', next);
      handle(request, response);
    };
    const next = () => {
      const following = socket.destroyed ? undefined : waiting.get(socket)?.shift();
      if (following) following();
      else waiting.delete(socket);
    };
    const behind = waiting.get(socket);
    if (!behind) {
      waiting.set(socket, []);
      run();
    } else if (behind.length < REQUESTS_WAITING_MAX) behind.push(run);
    else socket.destroy();
  }

  return { handle: inTurn, isBusy: (socket) => waiting.has(socket) };
}

/** Of a connection, read and not begun. What is beyond is no client's that waits for answers: it is cut. */
export const REQUESTS_WAITING_MAX = 100;
