import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphQLError } from 'graphql';
import { type Asker, askerOf, bodyBytes } from '../admission/admission.ts';
import type { Connections } from '../admission/connections.ts';
import { abandoned, type RequestWork } from '../admission/request-work.ts';
import type { Caller } from '../auth/caller.ts';
import { sessionCookie, setCookie } from '../auth/cookies.ts';
import type { Client, Services } from '../context.ts';
import { withoutHttp } from '../errors.ts';
import type { Transport, Turn } from '../graphql/transport.ts';
import { pathOf, retryAfter, sendJson } from './messages.ts';
import { onClosed, refuseFull, type Sender, takePlaceOfAsker } from './request-places.ts';

/**
 * Identifies the caller over HTTP and counts the request. Undefined if a limit was reached and the
 * request is answered.
 */
export async function httpTransport(
  request: IncomingMessage,
  response: ServerResponse,
  from: Sender,
  { services, connections, work }: { services: Services; connections: Connections; work: RequestWork },
): Promise<Transport | undefined> {
  const { identifier, admission } = services;
  const client: Client = httpClient(request, response, from, work);
  const { token } = from;
  const askedAt = performance.now();
  const identity = token === undefined ? Promise.resolve(undefined) : identifier.identify(token);
  const asker = await askerOf(identity, client.address);
  if (work.isAbandoned) return undefined;
  const full = takePlaceOfAsker(request, asker, from, { services, connections, work });
  if (full) {
    refuseFull(response, full, { graphql: pathOf(request) === '/graphql' });
    return undefined;
  }
  try {
    admission.count(asker);
    work.takes(admission.hold(asker, bodyBytes(request)));
  } catch (error) {
    refuse(request, response, error);
    return undefined;
  }
  const turn = turnOf(services, asker, work);
  client.endTurn = turn.end;
  return { client, token, identity, askedAt, asker, incoming: request, turn };
}

/**
 * Answers with the error, and leaves the rest of the body unread: reading it would cost as much as
 * the request.
 */
function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (!(error instanceof GraphQLError)) throw error;
  const { message, extensions } = withoutHttp(error);
  retryAfter(response, error);
  if (bodyBytes(request) > UNREAD_BYTES_MAX) response.setHeader('connection', 'close');
  sendJson(response, 429, pathOf(request) === '/graphql' ? { errors: [{ message, extensions }] } : { message });
}

const UNREAD_BYTES_MAX = 64 * 1024;

function turnOf({ admission }: Services, asker: Asker, work: RequestWork): Turn {
  let leave: (() => void) | undefined;
  return {
    begin: (length) =>
      work.run(async () => {
        leave = await admission.turn(asker, length);
        work.takes(leave);
        if (work.isAbandoned) throw abandoned(); // meanwhile the client has left
      }),
    end: () => leave?.(),
  };
}

function httpClient(
  request: IncomingMessage,
  response: ServerResponse,
  { address, secure }: Caller,
  work: RequestWork,
): Client {
  return {
    address,
    userAgent: request.headers['user-agent'],
    transport: 'HTTP',
    lastEventId: request.headersDistinct['last-event-id']?.[0] || undefined,
    setSession(token) {
      if (token === undefined && sessionCookie(request, secure) === undefined) return;
      if (!response.headersSent) response.setHeader('set-cookie', setCookie(token, { secure }));
    },
    onGone: (gone) => onClosed(response, gone),
    work,
  };
}
