import type { IncomingMessage, ServerResponse } from 'node:http';

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

export interface RequestSerializer {
  handle: Handle;
  /** Whether a request of this connection is under way. */
  isBusy(socket: IncomingMessage['socket']): boolean;
  /** Whether a part of an answer has been sent to that request. */
  isAnswered(socket: IncomingMessage['socket']): boolean;
}

/**
 * Runs `handle` for one request of each connection at a time. HTTP lets a client send more requests
 * before the first answer, and Node begins them all at once: one connection would run hundreds of
 * queries and downloads, and could read only the first.
 */
export function serializeRequests(handle: Handle): RequestSerializer {
  // By connections that have a request under way.
  const waiting = new WeakMap<IncomingMessage['socket'], (() => void)[]>();
  const underWay = new WeakMap<IncomingMessage['socket'], ServerResponse>();
  function inTurn(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const run = () => {
      response.once('close', next);
      underWay.set(socket, response);
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

  return {
    handle: inTurn,
    isBusy: (socket) => waiting.has(socket),
    isAnswered: (socket) => waiting.has(socket) && underWay.get(socket)?.headersSent !== false,
  };
}

/**
 * Requests of one connection that wait. A client that sends more does not wait for answers: it is
 * disconnected.
 */
export const REQUESTS_WAITING_MAX = 100;
