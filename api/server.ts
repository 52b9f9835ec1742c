import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defaultDeadline, settledBefore } from '../platform/async/deadline.ts';
import { SharedWork } from '../platform/async/shared-work.ts';
import { createAdmission } from './admission/admission.ts';
import { countsBody, watchConnections } from './admission/connections.ts';
import { createPlaces } from './admission/places.ts';
import { createRefusals } from './auth/audit-refusals.ts';
import { isProxy } from './auth/caller.ts';
import { createPasswords } from './auth/passwords.ts';
import { createPingTokens } from './auth/ping-token.ts';
import { createIdentifier } from './auth/tokens.ts';
import type { Services } from './context.ts';
import { createGraphql } from './graphql/yoga.ts';
import { createGraphiql, noGraphiql } from './http/graphiql.ts';
import { sendJson } from './http/messages.ts';
import { answerMalformed } from './http/raw-answer.ts';
import { answer } from './http/router.ts';
import { serializeRequests } from './http/serializer.ts';
import { createChanges } from './live/changes.ts';
import { createStreams } from './live/streams.ts';
import { createLogFeed } from './logs/feed.ts';
import { Tails } from './logs/tails.ts';
import type { ApiSettings } from './settings.ts';
import { serveWebSockets } from './websocket/server.ts';

export interface ApiParts extends Pick<Services, 'db' | 'bus' | 'cache' | 'log' | 'sealer'> {
  docker?: Services['docker'];
  settings: ApiSettings;
}

export interface Api {
  /** The URL of the GraphQL endpoint for clients on this machine. */
  url: string;
  /** Accepts no new work, ends streams and sockets, and lets requests finish until the deadline. */
  close(deadline?: AbortSignal): Promise<void>;
}

/**
 * Starts the GraphQL server. Rejects with the system's error (EADDRINUSE, for example) when it
 * cannot listen.
 */
export async function startApi({ docker, ...parts }: ApiParts): Promise<Api> {
  const { db, log, settings } = parts;
  const places = createPlaces(settings.bounds);
  const { handle, isBusy, isAnswered } = serializeRequests((request, response) => {
    countsBody(connections, request, response);
    answer(request, response, { graphql, graphiql, services, connections }).catch((error: unknown) => {
      log.error({ err: error }, 'A request could not be answered.');
      if (response.headersSent) response.destroy();
      else
        sendJson(response, 500, {
          errors: [{ message: 'Something failed on our side.', extensions: { code: 'INTERNAL_SERVER_ERROR' } }],
        });
    });
  });
  const server = createServer(SERVER_TIMES);
  const connections = watchConnections(server, {
    places: places.connections,
    log,
    isBusy,
    isProxy: (socket) => isProxy(socket, settings),
    times: settings.times,
  });
  await listen(server, settings);

  const services: Services = {
    ...parts,
    pool: db,
    docker,
    identifier: createIdentifier(db, log),
    pingTokens: createPingTokens(db),
    passwords: createPasswords(),
    changes: createChanges(parts),
    logFeed: createLogFeed(parts),
    refusals: createRefusals(db, log),
    streams: createStreams(db, log, places.streams),
    tails: new Tails(),
    frames: new SharedWork(),
    places,
    admission: createAdmission(),
  };
  const graphql = createGraphql(services);
  const graphiql = settings.graphiql === false ? noGraphiql : createGraphiql();
  const webSockets = serveWebSockets(server, { graphql, services, connections, isBusy });
  server.on('request', handle);
  answerMalformed(server, isAnswered);

  return {
    url: urlOf(server, settings.host),
    async close(deadline = defaultDeadline()) {
      const closed = new Promise((resolve) => server.close(resolve));
      services.streams.close();
      await webSockets.close(deadline);
      server.closeIdleConnections();
      if (!(await settledBefore(closed, deadline))) server.closeAllConnections();
      connections.close();
      services.changes.close();
      const last = [closed, services.logFeed.close(deadline), graphql.yoga.dispose(), services.refusals.close()];
      await settledBefore(Promise.all(last), deadline);
    },
  };
}

/** For the headers of a request, for the whole request, and between two requests. */
const SERVER_TIMES = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
};

function listen(server: Server, { port, host }: ApiSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  const reachable = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}/graphql`;
}
