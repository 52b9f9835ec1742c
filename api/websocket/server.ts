import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { handleProtocols } from 'graphql-ws';
import { WebSocketServer } from 'ws';
import { REQUEST_BYTES_MAX } from '../../domain/limits.ts';
import { addressKey } from '../../domain/network/address-key.ts';
import { settledBefore } from '../../platform/async/deadline.ts';
import { type Connections, endSoon } from '../admission/connections.ts';
import { statusOf } from '../admission/places.ts';
import { callerOf } from '../auth/caller.ts';
import { foreignPage } from '../auth/csrf.ts';
import type { Services } from '../context.ts';
import type { Graphql } from '../graphql/yoga.ts';
import { pathOf } from '../http/messages.ts';
import { answerRaw } from '../http/raw-answer.ts';
import { createSocketOperations, GOING_AWAY } from './operations.ts';
import { serveSocket } from './socket.ts';

export interface WebSocketParts {
  graphql: Graphql;
  services: Services;
  connections: Connections;
  /** Whether a request of the connection is under way. */
  isBusy(socket: Socket): boolean;
}

/**
 * Serves graphql-transport-ws on the upgrades of `server`. `close` closes every socket with 1001.
 */
export function serveWebSockets(
  server: Server,
  { graphql, services, connections, isBusy }: WebSocketParts,
): { close(deadline: AbortSignal): Promise<void> } {
  const { settings, places } = services;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: REQUEST_BYTES_MAX,
    handleProtocols,
    autoPong: false,
  });
  const operations = createSocketOperations(graphql, services);

  server.on('upgrade', (request, raw: Socket, head) => {
    // A request on this connection could not be answered any more.
    if (isBusy(raw)) return raw.destroy();
    const full = connections.refusalOf(raw);
    if (full) return answerRaw(raw, statusOf(full), full.message);
    if (pathOf(request) !== '/graphql')
      return answerRaw(raw, 404, 'Nothing is at this path: the endpoint of WebSockets is /graphql.');
    const caller = callerOf(request, settings);
    const foreign = foreignPage(request, caller);
    if (foreign) return answerRaw(raw, foreign.status, foreign.message);
    const address = addressKey(caller.address);
    for (const kind of [...(caller.isProxied ? [places.clients] : []), places.webSockets]) {
      const place = kind.take({ address });
      if (place.full) return answerRaw(raw, statusOf(place.full), place.full.message);
      raw.once('close', place.release);
    }
    connections.belongsTo(raw, address);
    // If this is no WebSocket, the library refuses it and leaves the connection to the client.
    const upgraded = endSoon(raw);
    sockets.handleUpgrade(request, raw, head, (socket) => {
      upgraded();
      connections.isWhole(raw);
      serveSocket(socket, raw, request, caller, { operations, connections, log: services.log });
    });
  });
  server.on('connect', (_, socket) =>
    answerRaw(socket, 405, 'This server is not a proxy: it does not answer CONNECT.'),
  );

  return {
    async close(deadline) {
      const closed = new Promise<void>((resolve) => sockets.close(() => resolve()));
      for (const socket of sockets.clients) socket.close(GOING_AWAY, 'Going away');
      if (await settledBefore(closed, AbortSignal.any([deadline, AbortSignal.timeout(CLOSE_WAIT_MS)]))) return;
      for (const socket of sockets.clients) socket.terminate();
      await closed;
    },
  };
}

/** A client that has not answered the close by then does not answer it at all. */
const CLOSE_WAIT_MS = 2_000;
