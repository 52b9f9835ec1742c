import type { IncomingMessage, ServerResponse } from 'node:http';
import { readUrl } from '../../domain/network/read-url.ts';
import type { Connections } from '../admission/connections.ts';
import { RequestWork } from '../admission/request-work.ts';
import { callerOf } from '../auth/caller.ts';
import { bearerToken, sessionCookie } from '../auth/cookies.ts';
import { embedded, foreignPage, unknownName, type WebRefusal } from '../auth/csrf.ts';
import { isToken } from '../auth/tokens.ts';
import type { Services } from '../context.ts';
import type { Graphql } from '../graphql/yoga.ts';
import type { Graphiql } from './graphiql.ts';
import { health } from './health.ts';
import { downloadLog, logIdOf } from './log-download.ts';
import { pathOf, sendJson } from './messages.ts';
import { isPingPath, servePing } from './ping.ts';
import { refuseFull, takePlaces } from './request-places.ts';
import { SCHEMA_PATH, serveSchema } from './schema-text.ts';
import { httpTransport } from './transport.ts';

export interface Answering {
  graphql: Graphql;
  graphiql: Graphiql;
  services: Services;
  connections: Connections;
}

/**
 * Answers one request: refuses callers who may not ask at all, then serves the page, the log or the
 * operation at its path.
 */
export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { graphql, graphiql, services, connections }: Answering,
): Promise<void> {
  const path = pathOf(request);
  const { host = [] } = request.headersDistinct;
  if (host.length > 1 || readUrl(`http://${host[0] ?? 'localhost'}${path}`) === undefined) {
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
  const token = bearerToken(request.headers.authorization) ?? sessionCookie(request, caller.secure);
  // A request with a token counts like others, because the token is looked up.
  if (path === '/health' && !isToken(token)) return health(response, services);
  // The token in its path, which no page can have, stands for the host name.
  const isPing = isPingPath(path);
  const misdirected = isPing ? undefined : unknownName(request, caller);
  if (misdirected) return refuse(misdirected);
  const work = new RequestWork(response);
  const full = takePlaces(request, { ...caller, token: isPing ? undefined : token }, { services, connections, work });
  if (full) return refuseFull(response, full, { graphql: path === '/graphql' });
  if (isPing) {
    const linked = embedded(caller);
    if (linked) return refuse(linked);
    return work.run(() => servePing(request, response, path, { address: caller.address, services, work }));
  }
  if (path === '/') return redirect(response);
  if (path === SCHEMA_PATH) return serveSchema(request, response, services.settings);
  // The page holds no data, so links on other sites may lead to it.
  if (await graphiql.serve(request, response)) return;
  const logId = logIdOf(path);
  if (path !== '/graphql' && path !== '/health' && logId === undefined) {
    return sendJson(response, 404, {
      message: 'Nothing is at this path: the endpoint is /graphql, and the schema is at /schema.graphql.',
    });
  }
  const unnamed = embedded(caller);
  if (unnamed) return refuse(unnamed);
  const transport = await httpTransport(request, response, { ...caller, token }, { services, connections, work });
  if (!transport) return; // refused
  if (path === '/health') return health(response, services, transport.identity);
  if (logId !== undefined) {
    return work.run(() => downloadLog(request, response, logId, transport, services, graphql));
  }
  response.appendHeader('vary', 'Accept-Encoding');
  return graphql.handle(request, response, transport);
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

/** Lets a page of an allowed origin read the answer, with credentials. */
function allowOrigin(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('access-control-allow-origin', request.headers.origin ?? '');
  response.setHeader('access-control-allow-credentials', 'true');
  response.setHeader('access-control-expose-headers', EXPOSED);
}

/** Whether this is the preflight request of a browser. */
function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}

/**
 * Answers a preflight. A page of an allowed origin may send any header; clients add some for
 * tracing.
 */
function answerPreflight({ headers }: IncomingMessage, response: ServerResponse): void {
  response.appendHeader('vary', 'Access-Control-Request-Headers');
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, HEAD, POST',
    'access-control-allow-headers': headers['access-control-request-headers'] ?? 'Authorization, Content-Type',
    'access-control-max-age': String(PREFLIGHT_KEPT_SECONDS),
  });
  response.end();
}

const EXPOSED = 'Log-Cursor, Content-Disposition, Retry-After';
// Browsers keep it no longer, and each request is judged again.
const PREFLIGHT_KEPT_SECONDS = 7_200;
