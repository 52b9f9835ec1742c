import type { IncomingMessage, Server } from 'node:http';
import { CloseCode, handleProtocols } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { REQUEST_BYTES_MAX } from '../domain/limits.ts';
import { type Caller, callerOf } from './caller.ts';
import type { Services } from './context.ts';
import { sessionCookie } from './credentials.ts';
import type { Graphql } from './graphql.ts';
import { pathOf } from './path.ts';
import { SocketMessages } from './socket-messages.ts';
import { createSocketOperations, GOING_AWAY, type Peer } from './socket-operations.ts';
import { SocketPace } from './socket-pace.ts';
import { Turns } from './socket-turns.ts';
import { endSoon, refuseUpgrade } from './upgrade-refusal.ts';
import { foreignPage } from './web-refusal.ts';

/** graphql-transport-ws on the upgrades of `server`. `close` ends every socket with 1001. */
export function serveWebSockets(server: Server, graphql: Graphql, services: Services): { close(): Promise<void> } {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: REQUEST_BYTES_MAX, handleProtocols });
  const operations = createSocketOperations(graphql, services);

  function serve(socket: WebSocket, request: IncomingMessage, { address, secure, hostIsKnown }: Caller): void {
    const close = (code: number, reason: string) => socket.close(code, reason);
    const peer: Peer = {
      address,
      hostIsKnown,
      userAgent: request.headers['user-agent'],
      cookie: sessionCookie(request, secure),
      close,
      turns: new Turns(MESSAGES_AT_ONCE),
      messages: new SocketMessages(),
    };
    const pace = new SocketPace();
    const closed = operations.opened(
      {
        protocol: socket.protocol,
        close,
        send: (data) => send(socket, data),
        onMessage: (handle) =>
          socket.on('message', (data) => {
            const text = String(data);
            pause(socket, pace.count(text.length, peer.token === undefined));
            const short = peer.messages.shorten(text);
            if (short === undefined) return close(CloseCode.BadRequest, 'Message too long');
            handle(short).catch((error: unknown) => {
              services.log.error({ err: error }, 'A message on a WebSocket could not be handled.');
              socket.close(CloseCode.InternalServerError, 'Internal server error');
            });
          }),
      },
      peer,
    );
    const stopPings = keepAlive(socket);
    socket.on('error', (error) => services.log.debug({ err: error }, 'A WebSocket broke.')); // and is closed by ws
    socket.once('close', (code, reason) => {
      stopPings();
      closed(code, String(reason)).catch((error: unknown) =>
        services.log.error({ err: error }, 'A WebSocket did not end cleanly.'),
      );
    });
  }

  server.on('upgrade', (request, socket, head) => {
    if (pathOf(request) !== '/graphql')
      return refuseUpgrade(socket, 404, 'There is nothing here: /graphql is the endpoint of WebSockets.');
    const caller = callerOf(request, services.settings);
    const foreign = foreignPage(request, caller);
    if (foreign) return refuseUpgrade(socket, foreign.status, foreign.message);
    const upgraded = endSoon(socket); // the library refuses what is no WebSocket, and leaves the end of the connection to the client
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      upgraded();
      serve(webSocket, request, caller);
    });
  });
  server.on('connect', (_, socket) => refuseUpgrade(socket, 405, 'This is no proxy: CONNECT is not answered.'));

  return {
    close: () =>
      new Promise((resolve) => {
        const late = setTimeout(() => {
          for (const socket of sockets.clients) socket.terminate();
        }, CLOSE_WAIT_MS);
        for (const socket of sockets.clients) socket.close(GOING_AWAY, 'Going away');
        sockets.close(() => {
          clearTimeout(late);
          resolve();
        });
      }),
  };
}

const KEEP_ALIVE_MS = 12_000; // what is between us and the peer sees traffic
const PINGS_UNANSWERED_MAX = 25; // 5 minutes
const CLOSE_WAIT_MS = 2_000;
/**
 * Messages of its subscriptions that are made and under way at the same time, of up to 2 MB each; the others wait with what is packed. All
 * of 100 at once were more than may be buffered, however fast the client read.
 */
const MESSAGES_AT_ONCE = 4;
/** Only a socket that sends many large queries, and does not read, comes here. */
const BUFFERED_BYTES_MAX = 16 * 1024 * 1024;

/** Resolves when the message is with the system, so that an operation makes its next one no sooner. */
function send(socket: WebSocket, data: string): Promise<void> {
  if (socket.readyState !== socket.OPEN) return Promise.resolve();
  if (socket.bufferedAmount + data.length > BUFFERED_BYTES_MAX) {
    socket.terminate();
    return Promise.resolve();
  }
  return new Promise((resolve) => socket.send(data, () => resolve())); // an error is followed by the close, which ends everything
}

function pause(socket: WebSocket, ms: number): void {
  if (ms === 0 || socket.isPaused) return;
  socket.pause();
  setTimeout(() => socket.resume(), ms).unref();
}

/**
 * A ping waits behind the messages before it, so that a peer that does not read answers none: it loses nothing while it costs no more than
 * what is buffered (MESSAGES_AT_ONCE). One that is gone looks the same, and is kept for as long.
 */
function keepAlive(socket: WebSocket): () => void {
  let unanswered = 0;
  socket.on('pong', () => {
    unanswered = 0;
  });
  const timer = setInterval(() => {
    if (unanswered >= PINGS_UNANSWERED_MAX) return socket.terminate();
    unanswered += 1;
    socket.ping();
  }, KEEP_ALIVE_MS);
  return () => clearInterval(timer);
}
