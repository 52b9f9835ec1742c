import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { addressKey } from '../../domain/network/address-key.ts';
import type { ConnectionTimes } from '../settings.ts';
import type { Full, Places } from './places.ts';

/** Every TCP connection of the server, from its first moment on. */
export interface Connections {
  /** Why the connection is over a bound. The caller answers with that, and the connection ends soon. */
  refusalOf(socket: Socket): Full | undefined;
  /** Whose bytes the ones that are held for this connection are: a key of its address or its user. */
  belongsTo(socket: Socket, owner: string): void;
  /** All that has come so far was whole messages; or `bytes` more of it, where those came between the parts of one that is not whole yet. */
  isWhole(socket: Socket, bytes?: number): void;
  close(): void;
}

interface Watched {
  owner: string;
  /** How many of the bytes that were read are of messages that were whole. */
  whole: number;
  /** How many of the bytes that were written the client has taken. */
  taken: number;
  /** When the client last took a piece, or had nothing to take; and when there was last nothing of a message that is not whole. */
  tookAt: number;
  wholeAt: number;
}

/**
 * Hears the errors of every connection, counts it, and ends it where its client neither reads nor leaves, or holds too many bytes here.
 * `isBusy` tells whether a request is under way; `isProxy` whether its peer stands for many clients, so that the connection itself is nobody's.
 */
export function watchConnections(
  server: Server,
  options: {
    places: Places;
    log: Logger;
    isBusy(socket: Socket): boolean;
    isProxy(socket: Socket): boolean;
    times?: Partial<ConnectionTimes>;
  },
): Connections {
  const { places, log, isBusy, isProxy } = options;
  const times = { ...TIMES, ...options.times };
  const watched = new Map<Socket, Watched>();
  const refused = new Map<Socket, Full>();

  server.on('connection', (socket: Socket) => {
    socket.on('error', (error) => log.debug({ err: error }, 'A connection broke.')); // before all else; its 'close' follows
    const address = addressKey(socket.remoteAddress);
    const place = places.take(isProxy(socket) ? {} : { address });
    if (place.full) {
      if (refused.size >= REFUSALS_AT_ONCE_MAX) return void socket.destroy();
      refused.set(socket, place.full);
      socket.once('close', () => refused.delete(socket));
      endSoon(socket);
      return;
    }
    const now = performance.now();
    watched.set(socket, { owner: address, whole: 0, taken: 0, tookAt: now, wholeAt: now });
    socket.once('close', () => {
      place.release();
      watched.delete(socket);
    });
  });

  // Node calls when no byte has gone either way for `server.timeout`, and after an answer when no request follows for keepAliveTimeout.
  server.timeout = times.unreadMs;
  server.on('timeout', (socket: Socket) => {
    if (!isBusy(socket) || socket.writableLength > 0) socket.destroy(); // else it is we who have nothing to send
  });

  const timer = setInterval(() => sweep(performance.now()), SWEEP_MS);
  timer.unref();

  function sweep(now: number): void {
    const held = new Map<string, number>();
    let inAll = 0;
    for (const [socket, connection] of watched) {
      note(socket, connection, now);
      if (socket.writableLength > 0 && now - connection.tookAt > times.pieceMs) socket.destroy();
      const bytes = heldBytes(socket, connection);
      if (bytes === 0) continue;
      inAll += bytes;
      held.set(connection.owner, (held.get(connection.owner) ?? 0) + bytes);
    }
    for (const [owner, bytes] of held)
      if (bytes > HELD_BYTES_PER_OWNER_MAX) inAll -= free(bytes - HELD_BYTES_PER_OWNER_MAX, now, owner);
    if (inAll > HELD_BYTES_MAX) free(inAll - HELD_BYTES_MAX, now);
  }

  /** Cuts what holds most and does not move, until `bytes` are free. Gives how many are. */
  function free(bytes: number, now: number, owner?: string): number {
    const stalled = [...watched]
      .filter(([, connection]) => owner === undefined || connection.owner === owner)
      .filter(([socket, connection]) => now - lastMoved(socket, connection) > times.stalledMs)
      .map(([socket, connection]) => ({ socket, bytes: heldBytes(socket, connection) }))
      .sort((one, other) => other.bytes - one.bytes);
    let freed = 0;
    for (const { socket, bytes: own } of stalled) {
      if (freed >= bytes || own === 0) break;
      socket.destroy();
      freed += own;
    }
    if (freed > 0) log.warn({ owner, freed }, 'Connections that do not move held too many bytes: the largest are cut.');
    return freed;
  }

  return {
    refusalOf: (socket) => refused.get(socket),
    belongsTo(socket, owner) {
      const connection = watched.get(socket);
      if (connection) connection.owner = owner;
    },
    isWhole(socket, bytes = socket.bytesRead) {
      const connection = watched.get(socket);
      if (connection) connection.whole = Math.min(socket.bytesRead, connection.whole + bytes);
    },
    close: () => clearInterval(timer),
  };
}

/** Of requests: a body counts as held until it is whole. */
export function countsBody(connections: Connections, request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request; // which the request itself forgets at its end
  const whole = () => connections.isWhole(socket);
  request.once('end', whole);
  response.once('close', whole);
}

function note(socket: Socket, connection: Watched, now: number): void {
  const { bytesRead, writableLength } = socket;
  if (bytesRead <= connection.whole) connection.wholeAt = now;
  const taken = writableLength === 0 ? connection.taken : socket.bytesWritten - writableLength;
  if (writableLength === 0 || taken !== connection.taken) connection.tookAt = now;
  connection.taken = taken;
}

/** What is written and not taken, and what has come of a message that is not whole yet. */
function heldBytes(socket: Socket, { whole }: Watched): number {
  return socket.writableLength + Math.max(0, socket.bytesRead - whole);
}

function lastMoved(socket: Socket, { tookAt, wholeAt }: Watched): number {
  return socket.writableLength > 0 ? tookAt : wholeAt;
}

const TIMES: ConnectionTimes = { unreadMs: 60_000, pieceMs: 300_000, stalledMs: 5_000 };
const SWEEP_MS = 500;
/** Connections beyond a bound that are told so at the same time; more are cut without a word. */
const REFUSALS_AT_ONCE_MAX = 256;
/** Together: written and not taken, or come and not whole. */
const HELD_BYTES_MAX = 256 * 1024 * 1024;
/** Of one user, or of one address where no user is known. */
export const HELD_BYTES_PER_OWNER_MAX = 64 * 1024 * 1024;

/** Destroys `socket`, whose client is refused, after REFUSED_MS_MAX, unless the function that it gives is called before. */
export function endSoon(socket: Duplex): () => void {
  const timer = setTimeout(() => socket.destroy(), REFUSED_MS_MAX);
  const stop = () => {
    clearTimeout(timer);
    socket.off('close', stop); // which would hold the timer for as long as an accepted WebSocket lasts
  };
  socket.once('close', stop);
  return stop;
}

const REFUSED_MS_MAX = 2_000;
