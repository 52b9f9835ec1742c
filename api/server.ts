import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdmission } from './admission/admission.ts';
import { type Connections, countsBody, watchConnections } from './admission/connections.ts';
import { createPlaces } from './admission/places.ts';
import { refuseFull, takePlaces } from './admission/request-places.ts';
import { RequestWork } from './admission/request-work.ts';
import { createRefusals } from './auth/audit-refusals.ts';
import { callerOf, isProxy } from './auth/caller.ts';
import { bearerToken, sessionCookie } from './auth/cookies.ts';
import { embedded, foreignPage, unknownName, type WebRefusal } from './auth/csrf.ts';
import { createPasswords } from './auth/passwords.ts';
import { createIdentifier } from './auth/tokens.ts';
import type { Services } from './context.ts';
import { createGraphql, type Graphql } from './graphql/yoga.ts';
import { allowOrigin, answerPreflight, isPreflight } from './http/cors.ts';
import { downloadLog, logIdOf } from './http/log-download.ts';
import { pathOf } from './http/path.ts';
import { sendJson } from './http/send-json.ts';
import { oneAtATime } from './http/serializer.ts';
import { httpTransport } from './http/transport.ts';
import { createChanges } from './live/changes.ts';
import { createStreams } from './live/streams.ts';
import { createLogFeed } from './logs/feed.ts';
import { systemStatus } from './schema/system.ts';
import type { ApiSettings } from './settings.ts';
import { serveWebSockets } from './websocket/server.ts';

export interface ApiParts extends Pick<Services, 'db' | 'bus' | 'cache' | 'log' | 'sealer'> {
  docker?: Services['docker'];
  settings: ApiSettings;
}

export interface Api {
  /** Of the GraphQL endpoint, as a client on this machine reaches it. */
  url: string;
  /** Takes no new work, ends streams and sockets, lets requests finish within a bound. */
  close(): Promise<void>;
}

/** Starts the GraphQL server. Rejects with the system's error (EADDRINUSE, for example) when it cannot listen. */
export async function startApi({ docker, ...parts }: ApiParts): Promise<Api> {
  const { db, log, settings } = parts;
  const places = createPlaces(settings.bounds);
  const { handle, isBusy } = oneAtATime((request, response) => {
    countsBody(connections, request, response);
    answer(request, response, { graphql, services, connections }).catch((error: unknown) => {
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
    docker,
    identifier: createIdentifier(db, log),
    passwords: createPasswords(),
    changes: createChanges(parts),
    logFeed: createLogFeed(parts),
    refusals: createRefusals(db, log),
    streams: createStreams(db, log, places.streams),
    places,
    admission: createAdmission(),
  };
  const graphql = createGraphql(services);
  const webSockets = serveWebSockets(server, { graphql, services, connections, isBusy });
  server.on('request', handle);

  return {
    url: urlOf(server, settings.host),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      services.streams.close();
      await webSockets.close();
      server.closeIdleConnections();
      const late = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      await closed;
      clearTimeout(late);
      connections.close();
      services.changes.close();
      await services.logFeed.close();
      await graphql.yoga.dispose();
      await services.refusals.close();
    },
  };
}

const DRAIN_MS = 5_000;
/** For the headers of a request, for all of it, and between two of them. */
const SERVER_TIMES = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
};

interface Answering {
  graphql: Graphql;
  services: Services;
  connections: Connections;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { graphql, services, connections }: Answering,
): Promise<void> {
  const path = pathOf(request);
  const { host = [] } = request.headersDistinct;
  if (host.length > 1 || !URL.canParse(`http://${host[0] ?? 'localhost'}${path}`)) {
    return sendJson(response, 400, { message: 'The Host header or the path is malformed.' });
  }
  const caller = callerOf(request, services.settings);
  for (const [name, value] of SAFETY_HEADERS) response.setHeader(name, value);
  if (caller.secure) response.setHeader('strict-transport-security', `max-age=${HSTS_SECONDS}`);
  const refuse = ({ status, message }: WebRefusal) => {
    const errors = [{ message, extensions: { code: 'FORBIDDEN' } }];
    sendJson(response, status, path === '/graphql' ? { errors } : { message });
  };
  const foreign = foreignPage(request, caller);
  if (foreign) return refuse(foreign);
  if (caller.origin === 'ALLOWED') {
    allowOrigin(request, response);
    if (isPreflight(request)) return answerPreflight(request, response);
  }
  if (path === '/health') return health(response, services);
  const misdirected = unknownName(request, caller);
  if (misdirected) return refuse(misdirected);
  const token = bearerToken(request.headers.authorization) ?? sessionCookie(request, caller.secure);
  const work = new RequestWork(response);
  const full = takePlaces(request, { ...caller, token }, { services, connections, work });
  if (full) return refuseFull(response, full, { graphql: path === '/graphql' });
  if (path === '/') return redirect(response);
  if (await graphql.graphiql.serve(request, response)) return; // holds no data, so that a link on another site may lead to it
  const logId = logIdOf(path);
  if (path !== '/graphql' && logId === undefined) {
    return sendJson(response, 404, { message: 'There is nothing here: /graphql is the endpoint.' });
  }
  const unnamed = embedded(caller);
  if (unnamed) return refuse(unnamed);
  const transport = await httpTransport(request, response, { ...caller, token }, { services, connections, work });
  if (!transport) return; // refused
  if (logId !== undefined) {
    return work.run(() => downloadLog(request, response, logId, transport, services, graphql));
  }
  await graphql.yoga.handle(request, response, transport);
}

/** For load balancers and everybody: whether it works, and nothing of what or who is behind. The parts are asked once a second at most. */
async function health(response: ServerResponse, services: Services): Promise<void> {
  const { database, bus, cache } = await systemStatus(services);
  const works = [database, bus, cache].every((part) => part !== 'DOWN');
  sendJson(response, works ? 200 : 503, { status: works ? 'UP' : 'DOWN' });
}

const SAFETY_HEADERS: [string, string][] = [
  ['cache-control', 'private, no-store'],
  ['x-content-type-options', 'nosniff'],
  ['x-frame-options', 'DENY'],
  ['referrer-policy', 'same-origin'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['vary', 'Origin'],
];
const HSTS_SECONDS = 31_536_000;

function redirect(response: ServerResponse): void {
  response.writeHead(302, { location: '/graphql' }).end();
}

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
