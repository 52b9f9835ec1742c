import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { CloseCode, handleProtocols } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import type { Connections } from '../admission/connections.ts';
import { statusOf } from '../admission/places.ts';
import { type Caller, callerOf } from '../auth/caller.ts';
import { sessionCookie } from '../auth/cookies.ts';
import { foreignPage } from '../auth/csrf.ts';
import type { Services } from '../context.ts';
import type { Graphql } from '../graphql/yoga.ts';
import { endSoon, refuseUpgrade } from '../http/connection-end.ts';
import { pathOf } from '../http/path.ts';
import { SocketMessages } from './messages.ts';
import { createSocketOperations, GOING_AWAY, type Peer } from './operations.ts';
import { SocketPace } from './pace.ts';
import { Turns } from './serializer.ts';

export interface WebSocketParts {
  graphql: Graphql;
  services: Services;
  connections: Connections;
  /** Whether a request of the connection is under way. */
  isBusy(socket: Socket): boolean;
}

/** graphql-transport-ws on the upgrades of `server`. `close` ends every socket with 1001. */
export function serveWebSockets(
  server: Server,
  { graphql, services, connections, isBusy }: WebSocketParts,
): { close(): Promise<void> } {
  const { settings, places, log } = services;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: REQUEST_BYTES_MAX,
    handleProtocols,
    autoPong: false,
  });
  const operations = createSocketOperations(graphql, services);

  function serve(socket: WebSocket, raw: Socket, request: IncomingMessage, caller: Caller): void {
    const close = (code: number, reason: string) => socket.close(code, reason);
    const releases: (() => void)[] = [];
    const onGone = (release: () => void) => {
      if (socket.readyState === socket.CLOSED) release();
      else releases.push(release);
    };
    const belongsTo = (userId: string) => connections.belongsTo(raw, `user ${userId}`);
    const { address, hostIsKnown, secure } = caller;
    const peer: Peer = {
      address,
      hostIsKnown,
      userAgent: request.headers['user-agent'],
      cookie: sessionCookie(request, secure),
      close,
      onGone,
      belongsTo,
      turns: new Turns(MESSAGES_AT_ONCE),
      messages: new SocketMessages(),
      underWay: 0,
      streams: new Set(),
    };
    const pace = new SocketPace();
    const closed = operations.opened(
      {
        protocol: socket.protocol,
        close,
        send: sender(socket),
        onMessage: (handle) =>
          socket.on('message', (data) => {
            connections.isWhole(raw);
            if (socket.readyState !== socket.OPEN) return; // we have closed it: what still comes is not begun
            const text = String(data);
            pause(socket, pace.count(text.length, peer.token === undefined));
            const short = peer.messages.shorten(text);
            if (short === undefined) return close(CloseCode.BadRequest, 'Message too long');
            handle(short).catch((error: unknown) => {
              log.error({ err: error }, 'A message on a WebSocket could not be handled.');
              socket.close(CloseCode.InternalServerError, 'Internal server error');
            });
          }),
      },
      peer,
    );
    answerPings(socket, (bytes) => connections.isWhole(raw, bytes));
    releases.push(keepAlive(socket));
    socket.on('error', (error) => log.debug({ err: error }, 'A WebSocket broke.')); // and is closed by ws
    socket.once('close', (code, reason) => {
      for (const release of releases) release();
      for (const stream of peer.streams) stream.end();
      closed(code, String(reason)).catch((error: unknown) =>
        log.error({ err: error }, 'A WebSocket did not end cleanly.'),
      );
    });
  }

  server.on('upgrade', (request, raw: Socket, head) => {
    if (isBusy(raw)) return raw.destroy(); // it came before the answer to a request, which now could not end
    const full = connections.refusalOf(raw);
    if (full) return refuseUpgrade(raw, statusOf(full), full.message);
    if (pathOf(request) !== '/graphql')
      return refuseUpgrade(raw, 404, 'There is nothing here: /graphql is the endpoint of WebSockets.');
    const caller = callerOf(request, settings);
    const foreign = foreignPage(request, caller);
    if (foreign) return refuseUpgrade(raw, foreign.status, foreign.message);
    const address = addressKey(caller.address);
    for (const kind of [...(caller.isProxied ? [places.clients] : []), places.webSockets]) {
      const place = kind.take({ address });
      if (place.full) return refuseUpgrade(raw, statusOf(place.full), place.full.message);
      raw.once('close', place.release);
    }
    connections.belongsTo(raw, address);
    const upgraded = endSoon(raw); // the library refuses what is no WebSocket, and leaves the end of the connection to the client
    sockets.handleUpgrade(request, raw, head, (socket) => {
      upgraded();
      connections.isWhole(raw);
      serve(socket, raw, request, caller);
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
/** Many small messages cost more than their bytes. 100 operations have one or two each. */
const MESSAGES_PENDING_MAX = 1_000;
/** Of a ping or a pong, with the mask that clients put on. */
const CONTROL_HEADER_BYTES = 6;

/** What it gives resolves when the message is with the system, so that an operation makes its next one no sooner. */
function sender(socket: WebSocket): (data: string) => Promise<void> {
  let pending = 0;
  return async (data) => {
    if (socket.readyState !== socket.OPEN) return;
    if (pending >= MESSAGES_PENDING_MAX || socket.bufferedAmount + data.length > BUFFERED_BYTES_MAX)
      return socket.terminate();
    pending += 1;
    await new Promise<void>((resolve) => socket.send(data, () => resolve())); // an error is followed by the close, which ends everything
    pending -= 1;
  };
}

/** One pong at a time, to the latest ping, as the protocol allows: a client that pings and does not read would fill the memory. */
function answerPings(socket: WebSocket, count: (bytes: number) => void): void {
  let isSending = false;
  let latest: Buffer | undefined;
  const pong = (data: Buffer) => {
    isSending = true;
    socket.pong(data, false, () => {
      isSending = false;
      const next = latest;
      latest = undefined;
      if (next && socket.readyState === socket.OPEN) pong(next);
    });
  };
  socket.on('ping', (data) => {
    count(CONTROL_HEADER_BYTES + data.length);
    if (socket.readyState !== socket.OPEN) return;
    if (isSending) latest = data;
    else pong(data);
  });
  socket.on('pong', (data) => count(CONTROL_HEADER_BYTES + data.length));
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
  let isClosing = false;
  socket.on('pong', () => {
    unanswered = 0;
  });
  const timer = setInterval(() => {
    if (unanswered >= PINGS_UNANSWERED_MAX || isClosing) return socket.terminate();
    isClosing = socket.readyState !== socket.OPEN; // its client has until the next time to do its part
    if (isClosing) return;
    unanswered += 1;
    socket.ping();
  }, KEEP_ALIVE_MS);
  return () => clearInterval(timer);
}
