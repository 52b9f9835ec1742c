import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { addressKey } from '../../domain/network/address-key.ts';
import type { ConnectionTimes } from '../settings.ts';
import type { Full, Places } from './places.ts';

/** Every TCP connection of the server, from its first moment on. */
export interface Connections {
  /**
   * The limit that the connection is over, if any. The caller answers with it, and the connection
   * ends soon.
   */
  refusalOf(socket: Socket): Full | undefined;
  /**
   * Says who owns the bytes that are held for this connection: the key of an address or of a user.
   */
  belongsTo(socket: Socket, owner: string): void;
  /**
   * Says that everything received so far was whole messages. With `bytes`: that many of it were,
   * between the parts of an incomplete one.
   */
  isWhole(socket: Socket, bytes?: number): void;
  close(): void;
}

interface Watched {
  owner: string;
  /** How many of the bytes read belong to whole messages. */
  whole: number;
  /** How many of the bytes written the client has taken. */
  taken: number;
  /**
   * When the client last took a piece or had nothing to take; and when there was last no incomplete
   * message.
   */
  tookAt: number;
  wholeAt: number;
}

/**
 * Watches every connection: handles its errors, counts it, and ends it if its client neither reads
 * nor leaves, or if too many bytes are held for it. `isBusy` says whether a request is under way,
 * `isProxy` whether the peer is a proxy, whose connection belongs to no single client.
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
    // Set first; 'close' follows.
    socket.on('error', (error) => log.debug({ err: error }, 'A connection broke.'));
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

  // Node emits 'timeout' when no byte went either way for `server.timeout`, and after an answer
  // when no request follows for keepAliveTimeout.
  server.timeout = times.unreadMs;
  server.on('timeout', (socket: Socket) => {
    // Otherwise we have nothing to send.
    if (!isBusy(socket) || socket.writableLength > 0) socket.destroy();
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

  /** Cuts the stalled connections that hold most, until `bytes` are free. Returns how many are. */
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

/** Counts the body of a request as held until it is complete. */
export function countsBody(connections: Connections, request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request; // the request itself drops it at its end
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

/** Bytes that are written and not taken, and bytes of an incomplete message. */
function heldBytes(socket: Socket, { whole }: Watched): number {
  return socket.writableLength + Math.max(0, socket.bytesRead - whole);
}

function lastMoved(socket: Socket, { tookAt, wholeAt }: Watched): number {
  return socket.writableLength > 0 ? tookAt : wholeAt;
}

const TIMES: ConnectionTimes = { unreadMs: 60_000, pieceMs: 300_000, stalledMs: 5_000 };
const SWEEP_MS = 500;
/** Connections over a limit that get an answer at the same time. Others are cut without one. */
const REFUSALS_AT_ONCE_MAX = 256;
/** In total: written and not taken, or received and incomplete. */
const HELD_BYTES_MAX = 256 * 1024 * 1024;
/** Of one user, or of one address if no user is known. */
export const HELD_BYTES_PER_OWNER_MAX = 64 * 1024 * 1024;

/**
 * Destroys `socket`, whose client is refused, after REFUSED_MS_MAX, unless the returned function is
 * called before.
 */
export function endSoon(socket: Duplex): () => void {
  const timer = setTimeout(() => socket.destroy(), REFUSED_MS_MAX);
  const stop = () => {
    clearTimeout(timer);
    // Otherwise it would hold the timer as long as an accepted WebSocket lasts.
    socket.off('close', stop);
  };
  socket.once('close', stop);
  return stop;
}

const REFUSED_MS_MAX = 2_000;
