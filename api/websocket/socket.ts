import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { CloseCode } from 'graphql-ws';
import type { Logger } from 'pino';
import type { WebSocket } from 'ws';
import { Semaphore } from '../../platform/async/semaphore.ts';
import type { Connections } from '../admission/connections.ts';
import type { Caller } from '../auth/caller.ts';
import { bearerToken, sessionCookie } from '../auth/cookies.ts';
import { SocketMessages } from './messages.ts';
import type { createSocketOperations, Peer } from './operations.ts';
import { Outlet } from './outlet.ts';
import { ReusedIds } from './reused-ids.ts';

export interface SocketParts {
  operations: ReturnType<typeof createSocketOperations>;
  connections: Connections;
  log: Logger;
}

/**
 * Serves one WebSocket until it closes: its protocol, its rate and its pings. `raw` is its
 * connection.
 */
export function serveSocket(
  socket: WebSocket,
  raw: Socket,
  request: IncomingMessage,
  caller: Caller,
  { operations, connections, log }: SocketParts,
): void {
  const close = (code: number, reason: string) => socket.close(code, reason);
  const releases: (() => void)[] = [];
  const onGone = (release: () => void) => {
    if (socket.readyState === socket.CLOSED) release();
    else releases.push(release);
  };
  const belongsTo = (userId: string) => connections.belongsTo(raw, `user ${userId}`);
  const { address, hostIsKnown, secure } = caller;
  const outlet = new Outlet(socket, raw);
  const peer: Peer = {
    address,
    hostIsKnown,
    userAgent: request.headers['user-agent'],
    upgradeToken: bearerToken(request.headers.authorization),
    cookie: sessionCookie(request, secure),
    close,
    onGone,
    belongsTo,
    semaphore: new Semaphore(MESSAGES_AT_ONCE),
    sinkOf: (id) => outlet.sinkOf(id),
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
      onMessage: (handle) => {
        const ids = new ReusedIds({
          handle: (text) =>
            handle(text).catch((error: unknown) => {
              log.error({ err: error }, 'A message on a WebSocket could not be handled.');
              socket.close(CloseCode.InternalServerError, 'Internal server error');
            }),
          drop: ({ payload }) => void (payload && peer.messages.take(payload)),
          refuse: (id) =>
            close(
              CloseCode.SubscriberAlreadyExists,
              `Subscriber for ${id.slice(0, ID_SHOWN_LENGTH_MAX)} already exists`,
            ),
        });
        socket.on('message', (data) => {
          connections.isWhole(raw);
          if (socket.readyState !== socket.OPEN) return; // we have closed it, so nothing new begins
          const text = String(data);
          pause(socket, pace.count(text.length, peer.token === undefined));
          const short = peer.messages.shorten(text);
          if (short === undefined) return close(CloseCode.BadRequest, 'A message of this kind or length is not taken');
          ids.take(short);
        });
      },
    },
    peer,
  );
  answerPings(socket, (bytes) => connections.isWhole(raw, bytes));
  releases.push(keepAlive(socket));
  // And is closed by ws.
  socket.on('error', (error) => log.debug({ err: error }, 'A WebSocket broke.'));
  socket.once('close', (code, reason) => {
    for (const release of releases) release();
    for (const stream of peer.streams) stream.end();
    closed(code, String(reason)).catch((error: unknown) =>
      log.error({ err: error }, 'A WebSocket did not end cleanly.'),
    );
  });
}

/** The reason of a close has 123 bytes at most. */
const ID_SHOWN_LENGTH_MAX = 20;
const KEEP_ALIVE_MS = 12_000; // proxies in between see traffic
const PINGS_UNANSWERED_MAX = 25; // 5 minutes
/**
 * How many messages of its subscriptions are made and sent at the same time, of up to 2 MB each.
 * All 100 at once were more than the socket may buffer, however fast the client read.
 */
const MESSAGES_AT_ONCE = 4;
/** Only a socket that sends many large queries and does not read reaches this. */
const BUFFERED_BYTES_MAX = 16 * 1024 * 1024;
/** Many small messages cost more than their bytes. 100 operations have one or two each. */
const MESSAGES_PENDING_MAX = 1_000;
/** The header of a ping or a pong, with the mask that clients add. */
const CONTROL_HEADER_BYTES = 6;

/**
 * Sends messages. Each promise resolves when the system has the message, so that an operation makes
 * its next one no sooner.
 */
function sender(socket: WebSocket): (data: string) => Promise<void> {
  let pending = 0;
  return async (data) => {
    if (socket.readyState !== socket.OPEN) return;
    if (pending >= MESSAGES_PENDING_MAX || socket.bufferedAmount + data.length > BUFFERED_BYTES_MAX)
      return socket.terminate();
    pending += 1;
    // An error is followed by 'close', which ends everything.
    await new Promise<void>((resolve) => socket.send(data, () => resolve()));
    pending -= 1;
  };
}

/**
 * Sends one pong at a time, to the latest ping, as the protocol allows: pongs to a client that
 * pings and does not read would fill the memory.
 */
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
 * Pings the peer, and closes the socket after PINGS_UNANSWERED_MAX pings without a pong. A ping
 * waits behind the messages before it, so a peer that does not read answers none: it loses nothing
 * while it costs no more than what is buffered (MESSAGES_AT_ONCE). A peer that is gone looks the
 * same, and is kept as long.
 */
function keepAlive(socket: WebSocket): () => void {
  let unanswered = 0;
  let isClosing = false;
  socket.on('pong', () => {
    unanswered = 0;
  });
  const timer = setInterval(() => {
    if (unanswered >= PINGS_UNANSWERED_MAX || isClosing) return socket.terminate();
    // The client has until the next ping to close it too.
    isClosing = socket.readyState !== socket.OPEN;
    if (isClosing) return;
    unanswered += 1;
    socket.ping();
  }, KEEP_ALIVE_MS);
  return () => clearInterval(timer);
}

/** Limits how fast a socket is read. To its client the connection looks slow. */
class SocketPace {
  #left: number | undefined;
  #at = performance.now();

  /** Counts a message. Returns for how many milliseconds to pause reading. */
  count(length: number, isAnonymous: boolean): number {
    const { perSecond, atOnce } = isAnonymous ? ANONYMOUS : SIGNED_IN;
    const now = performance.now();
    this.#left = Math.min(atOnce, (this.#left ?? atOnce) + ((now - this.#at) / 1_000) * perSecond);
    this.#at = now;
    this.#left -= 1 + length / LENGTH_OF_ONE;
    return this.#left >= 0 ? 0 : Math.min(PAUSE_MS_MAX, (-this.#left / perSecond) * 1_000);
  }
}

const SIGNED_IN = { perSecond: 200, atOnce: 400 };
const ANONYMOUS = { perSecond: 10, atOnce: 40 };
/** A message counts as one more for this many characters. */
const LENGTH_OF_ONE = 16 * 1024;
const PAUSE_MS_MAX = 5_000; // short enough to read pings and pongs before the peer counts as gone
